//! HTML pages with plots, complete in one file.

use anyhow::anyhow;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Circle, Color, DashedLineSeries, IntoDrawingArea,
    IntoFont, LineSeries, RGBColor, SVGBackend, Text, WHITE,
};

use crate::output::thousands;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1d2430}\
h1{font-size:1.6rem}table{border-collapse:collapse;margin:1rem 0;width:100%}\
td,th{padding:.35rem .7rem;text-align:right;border-bottom:1px solid #d8dde6}td:first-child,th:first-child{text-align:left}\
figure{margin:1.5rem 0}.legend{list-style:none;display:flex;flex-wrap:wrap;gap:0 1.2rem;margin:0;padding:0;font-size:.9rem}svg{width:100%;height:auto}footer{color:#667085;font-size:.85rem}";
pub(crate) const INK: RGBColor = RGBColor(29, 36, 48);
const LINE: RGBColor = RGBColor(37, 99, 235);
pub(crate) const REFERENCE: RGBColor = RGBColor(120, 130, 145);

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Accuracy against rate of one network.
pub(crate) struct Curve {
    pub(crate) weights: u64,
    pub(crate) images: u64,
    pub(crate) original: Point,
    pub(crate) points: Vec<Point>,
}

/// One file.
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) bits_per_weight: f64,
    pub(crate) times_smaller: f64,
    pub(crate) top1_percent: f64,
    pub(crate) agreement_percent: Option<f64>,
}

/// The page of `tqz demo`.
pub(crate) fn demo_page(curve: &Curve) -> anyhow::Result<String> {
    let plot = plot(curve)?;
    let rows = std::iter::once(&curve.original).chain(&curve.points);
    Ok(page(
        "tqz demo",
        html! {
                h1 { "A small network, made smaller" }
                p {
                    "A residual network of " (thousands(curve.weights)) " weights for ten classes of drawn pictures, compressed to three "
                    "sizes without retraining. Every size is that of a whole file that was decoded again and scored on "
                    (curve.images) " test images that the compression never saw."
                }
                figure { (PreEscaped(plot)) }
                table {
                    tr { th { "network" } th { "bytes" } th { "bits/weight" } th { "smaller" } th { "top-1" } th { "same answer" } }
                    @for point in rows { (row(point)) }
                }
        },
    ))
}

/// A whole page around its contents.
pub(crate) fn page(title: &str, contents: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (contents)
                footer { "tqz " (env!("CARGO_PKG_VERSION")) }
            }
        }
    };
    page.into_string()
}

fn row(point: &Point) -> Markup {
    html! {
        tr {
            td { (point.name) }
            td { (thousands(point.bytes)) }
            td { (format!("{:.2}", point.bits_per_weight)) }
            td { (format!("{:.1} ×", point.times_smaller)) }
            td { (format!("{:.1} %", point.top1_percent)) }
            td { (point.agreement_percent.map_or(String::from("–"), |a| format!("{a:.1} %"))) }
        }
    }
}

/// Top-1 against bits per weight, as SVG.
fn plot(curve: &Curve) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw(curve, &mut svg).map_err(|e| anyhow!("the plot could not be drawn: {e}"))?;
    Ok(svg)
}

fn draw(curve: &Curve, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, (820, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let (widest, floor) = ranges(curve);
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..widest, floor..101.0)?;
    chart
        .configure_mesh()
        .x_desc("bits per weight (whole file)")
        .y_desc("top-1 %")
        .label_style(("sans-serif", 15).into_font().color(&INK))
        .x_label_formatter(&|bits| format!("{bits:.1}"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    draw_original(curve, widest, &mut chart)?;
    draw_points(curve, widest, &mut chart)?;
    area.present()?;
    drop(chart);
    Ok(())
}

/// Right end of the axis of bits, lower end of the axis of accuracy.
fn ranges(curve: &Curve) -> (f64, f64) {
    let points = curve.points.iter();
    let widest = points.map(|p| p.bits_per_weight).fold(1.0, f64::max) * 1.15;
    let full = curve.original.top1_percent;
    let points = curve.points.iter();
    let lowest = points.map(|p| p.top1_percent).fold(full, f64::min);
    (widest, (((lowest - 3.0) / 5.0).floor() * 5.0).max(0.0))
}

/// The original's accuracy as a dashed line.
fn draw_original(
    curve: &Curve,
    widest: f64,
    chart: &mut Chart<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let full = curve.original.top1_percent;
    chart.draw_series(DashedLineSeries::new(
        [(0.0, full), (widest, full)],
        6,
        5,
        REFERENCE.stroke_width(2),
    ))?;
    let label = ("sans-serif", 15).into_font().color(&REFERENCE);
    chart.draw_series([Text::new(
        format!("full precision {full:.1} %"),
        (widest * 0.02, full + 1.2),
        label,
    )])?;
    Ok(())
}

/// The files, joined by a line, each with its size and accuracy.
fn draw_points(
    curve: &Curve,
    widest: f64,
    chart: &mut Chart<'_>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut sorted: Vec<(f64, f64)> = curve
        .points
        .iter()
        .map(|p| (p.bits_per_weight, p.top1_percent))
        .collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    chart.draw_series(LineSeries::new(
        sorted.iter().copied(),
        LINE.stroke_width(3),
    ))?;
    chart.draw_series(sorted.iter().map(|&p| Circle::new(p, 5, LINE.filled())))?;
    let label = ("sans-serif", 15).into_font().color(&INK);
    chart.draw_series(curve.points.iter().map(|p| {
        let text = format!("{:.0} kB, {:.1} %", p.bytes as f64 / 1000.0, p.top1_percent);
        Text::new(
            text,
            (p.bits_per_weight + widest * 0.012, p.top1_percent - 2.2),
            label.clone(),
        )
    }))?;
    Ok(())
}
