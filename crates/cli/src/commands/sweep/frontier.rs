//! Accuracy × size × multiply–accumulates: which files of a network no other beats in all three, and a plot of accuracy against
//! multiply–accumulates, a line a size.

use maud::Markup;

use crate::commands::sweep::page::{ACCURACY, distance};
use crate::commands::sweep::rows::Row;
use crate::plot::{Plot, Series, range};

/// Whether no other file of the network is at least as close to the original, as small and as cheap to run, and better in one of them.
pub(super) fn has(rows: &[&Row], row: &Row) -> bool {
    let of = |row: &Row| {
        let macs = row.macs_percent.unwrap_or(100.0);
        [distance(row), row.file_bytes as f64, macs]
    };
    let own = of(row);
    let beats = |other: &[f64; 3]| {
        let mut both = other.iter().zip(&own);
        both.all(|(other, own)| other <= own) && *other != own
    };
    !rows.iter().any(|other| beats(&of(other)))
}

/// Accuracy against multiply–accumulates, a line for each size asked for and way of coding; none where no limit was asked for.
pub(super) fn plot(rows: &[&Row]) -> anyhow::Result<Option<Markup>> {
    let limited = |row: &&&Row| row.macs_limit.is_some();
    if !rows.iter().any(|row| limited(&row)) {
        return Ok(None);
    }
    let series = series(rows);
    let reference = rows.first().and_then(|row| (ACCURACY.reference)(row));
    let points = || series.values().flatten();
    let least = points().map(|p| p.0).fold(100.0, f64::min);
    let left = (least - 5.0).max(0.0);
    let plot = Plot {
        height: 380,
        labels: [
            "multiply–accumulates, % of the dense network's",
            ACCURACY.name,
        ],
        x: left..102.0,
        y: range(points().map(|p| p.1).chain(reference)),
        dashed: reference.map(|value| [(left, value), (102.0, value)]),
        line: Some(2),
        radius: 4,
    };
    plot.figure(&series).map(Some)
}

/// Points by size and way of coding, those without a limit among them.
fn series(rows: &[&Row]) -> Series {
    let mut series = Series::new();
    for row in rows {
        let known = row.macs_percent.zip((ACCURACY.of)(row));
        if let Some(point) = known.filter(|p| p.1.is_finite()) {
            let name = format!("{} b, {} {}", row.asked_bpw, row.transform, row.preset);
            series.entry(name).or_default().push(point);
        }
    }
    for points in series.values_mut() {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::sweep::rows::tests::row;

    #[test]
    fn a_file_is_on_the_frontier_unless_another_is_better_in_all_three() {
        let made = |mse: f64, bytes: u64, macs: f64| Row {
            mse,
            file_bytes: bytes,
            macs_percent: Some(macs),
            ..row()
        };
        let rows = [
            made(0.1, 100, 50.0),
            made(0.1, 100, 60.0),
            made(0.05, 120, 60.0),
            made(0.2, 90, 80.0),
        ];
        let all: Vec<&Row> = rows.iter().collect();
        let found: Vec<bool> = rows.iter().map(|row| has(&all, row)).collect();
        assert_eq!(found, [true, false, true, true]);
        assert!(
            plot(&all).expect("draws").is_none(),
            "no limit was asked for"
        );
        let limited = Row {
            macs_limit: Some(0.5),
            top1_percent: Some(80.0),
            ..made(0.1, 100, 50.0)
        };
        assert!(plot(&[&limited]).expect("draws").is_some());
    }
}
