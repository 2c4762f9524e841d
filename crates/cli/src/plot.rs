//! Plots of HTML pages: series of points in one frame, with labels, an optional dashed line, and a legend above it.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::anyhow;
use maud::{Markup, PreEscaped, html};
use plotters::prelude::{
    ChartBuilder, Circle, Color, DashedLineSeries, IntoDrawingArea, IntoFont, LineSeries, RGBColor,
    SVGBackend, WHITE,
};

use crate::page::{INK, REFERENCE};

/// Colours of series, in order.
const COLOURS: [RGBColor; 8] = [
    RGBColor(37, 99, 235),
    RGBColor(220, 80, 40),
    RGBColor(22, 140, 90),
    RGBColor(150, 80, 190),
    RGBColor(200, 150, 20),
    RGBColor(20, 150, 170),
    RGBColor(200, 60, 120),
    RGBColor(90, 100, 120),
];

/// Points by the name of their series.
pub(crate) type Series = BTreeMap<String, Vec<(f64, f64)>>;

/// The range of an axis that shows these values with some room on both sides; 0 to 1 where there are none.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let ends = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    let (low, high) = if ends.0 <= ends.1 { ends } else { (0.0, 1.0) };
    let room = ((high - low) * 0.08).max(1e-3);
    low - room..high + room
}

/// A frame and how points are drawn in it.
pub(crate) struct Plot<'a> {
    /// Pixels from top to bottom.
    pub(crate) height: u32,
    /// What the axes show.
    pub(crate) labels: [&'a str; 2],
    pub(crate) x: Range<f64>,
    pub(crate) y: Range<f64>,
    /// From where to where a dashed line goes.
    pub(crate) dashed: Option<[(f64, f64); 2]>,
    /// Width of the lines that join points; none: they are not joined.
    pub(crate) line: Option<u32>,
    pub(crate) radius: i32,
}

impl Plot<'_> {
    /// The plot; its legend is above the frame, where it hides no points.
    pub(crate) fn figure(&self, series: &Series) -> anyhow::Result<Markup> {
        let mut svg = String::new();
        self.draw(series, &mut svg)
            .map_err(|e| anyhow!("a plot could not be drawn: {e}"))?;
        Ok(html! {
            figure {
                ul.legend {
                    @for (name, colour) in series.keys().zip(COLOURS.iter().cycle()) {
                        li { span style=(format!("color:rgb({},{},{})", colour.0, colour.1, colour.2)) { "●" } " " (name) }
                    }
                }
                (PreEscaped(svg))
            }
        })
    }

    fn draw(&self, series: &Series, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(svg, (820, self.height)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let font = || ("sans-serif", 15).into_font().color(&INK);
        chart
            .configure_mesh()
            .x_desc(self.labels[0])
            .y_desc(self.labels[1])
            .label_style(font())
            .light_line_style(WHITE)
            .draw()?;
        if let Some(line) = self.dashed {
            chart.draw_series(DashedLineSeries::new(line, 6, 5, REFERENCE.stroke_width(2)))?;
        }
        for (points, colour) in series.values().zip(COLOURS.iter().cycle()) {
            let points = points.iter().copied();
            let circle = |p, style| Circle::new(p, self.radius, style);
            if let Some(width) = self.line {
                let line = LineSeries::new(points.clone(), colour.stroke_width(width));
                chart.draw_series(line)?;
                chart.draw_series(points.map(|p| circle(p, colour.filled())))?;
            } else {
                // Points that lie on each other show through.
                chart.draw_series(points.map(|p| circle(p, colour.mix(0.7).filled())))?;
            }
        }
        area.present()?;
        drop(chart);
        Ok(())
    }
}
