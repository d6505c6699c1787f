//! Plots, as SVG: throughput against latency, and latency by quantile.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use plotters::{
    coord::{
        Shift,
        ranged1d::{Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    prelude::*,
};

use crate::{medians::medians, rows::Row, workload::tally::quantile_ms};

const SIZE: (u32, u32) = (900, 560);
const TITLE: (&str, u32) = ("sans-serif", 20);
const TEXT: (&str, u32) = ("sans-serif", 14);
/// Told from each other also by those who see no red or green (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(120, 120, 120),
];
/// Steps of a curve over its quantiles.
const STEPS: u32 = 200;

/// A name and its points.
type Curve = (String, Vec<(f64, f64)>);

/// One line for each store and mix, from few clients to many: how far it gets, and what its slowest hundredth waits.
///
/// # Errors
/// The file can't be written.
pub fn throughput(path: &Path, rows: &[Row]) -> Result<()> {
    let mut curves: Vec<Curve> = Vec::new();
    for median in medians(rows) {
        let row = &median.row;
        let name = format!("{}, {} B, {} % reads", row.label(), row.value_bytes, row.read_percent);
        let point = (row.ops_per_s, row.p99_ms);
        match curves.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push(point),
            None => curves.push((name, vec![point])),
        }
    }
    let most = curves.iter().flat_map(|(_, points)| points).map(|point| point.0).fold(1.0, f64::max);
    let axis: RangedCoordf64 = (0.0..most * 1.05).into();
    draw(path, "Throughput against latency", ("operations a second", "p99, ms"), axis, &curves, |x| format!("{x:.0}"))
}

/// One line for each histogram, up to the quantile that its number of requests still says something about.
///
/// # Errors
/// The file can't be written.
pub fn quantiles(path: &Path, title: &str, histograms: &[(String, Histogram<u64>)]) -> Result<()> {
    let curves: Vec<Curve> = histograms.iter().map(|(name, histogram)| (name.clone(), nines(histogram))).collect();
    let most = curves.iter().flat_map(|(_, points)| points).map(|point| point.0).fold(1.0, f64::max);
    let axis: RangedCoordf64 = (0.0..most).into();
    draw(path, title, ("quantile", "latency, ms"), axis, &curves, quantile_name)
}

/// 1: 90 %, 2: 99 %, 3: 99.9 %; nothing between them.
fn quantile_name(nines: f64) -> String {
    let percent = 100.0 - 100.0 * 10f64.powf(-nines);
    let digits = (nines - 2.0).max(0.0) as usize;
    if nines.fract() == 0.0 { format!("{percent:.digits$} %") } else { String::new() }
}

/// Against how many nines the quantile has: 99 % at 2, 99.9 % at 3.
fn nines(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let most = (histogram.len() as f64).log10();
    let at = |step: u32| most * f64::from(step) / f64::from(STEPS);
    (0..=STEPS).map(at).map(|nines| (nines, quantile_ms(histogram, 1.0 - 10f64.powf(-nines)))).collect()
}

/// Decades that hold all values.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let values: Vec<f64> = values.filter(|value| *value > 0.0).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    if values.is_empty() {
        return 0.1..10.0;
    }
    let (from, to) = (10f64.powf(least.log10().floor()), 10f64.powf(most.log10().ceil()));
    if from < to { from..to } else { from..to * 10.0 }
}

fn draw<X>(
    path: &Path,
    title: &str,
    (across, up): (&str, &str),
    axis: X,
    curves: &[Curve],
    name: impl Fn(f64) -> String,
) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let drawn = chart(&area, title, (across, up), axis, curves, name);
        drawn.and_then(|()| Ok(area.present()?)).map_err(|error| anyhow!("the plot {title:?}: {error}"))?;
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, svg).with_context(|| format!("{} can't be written", path.display()))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn chart<X>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    (across, up): (&str, &str),
    axis: X,
    curves: &[Curve],
    name: impl Fn(f64) -> String,
) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    area.fill(&WHITE)?;
    let latencies = decades(curves.iter().flat_map(|(_, points)| points).map(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(title, TITLE)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(axis, latencies.log_scale())?;
    chart
        .configure_mesh()
        .x_desc(across)
        .y_desc(up)
        .label_style(TEXT)
        .light_line_style(WHITE)
        .x_label_formatter(&|x| name(*x))
        .y_label_formatter(&|ms| format!("{ms}"))
        .draw()?;
    for (number, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        let line = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        line.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3)));
        if points.len() < 10 {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK)
        .label_font(TEXT)
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{medians::tests::rows, workload::tally::latencies};

    #[test]
    fn plots_are_drawn_and_name_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plots/throughput.svg");
        throughput(&path, &rows()).unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        for part in ["<svg", "dynamo fsync, 1024 B, 50 % reads", "cassandra periodic", "operations a second", "p99, ms"]
        {
            assert!(svg.contains(part), "{part} is not in it");
        }
        let mut histogram = latencies();
        (1..=10_000).for_each(|us| histogram.record(us).unwrap());
        quantiles(&path, "Latency", &[("dynamo at 80 %".to_owned(), histogram)]).unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        for part in ["dynamo at 80 %", "99 %", "99.9 %", "latency, ms"] {
            assert!(svg.contains(part), "{part} is not in it");
        }
    }

    #[test]
    fn nothing_to_draw_is_an_empty_plot_and_no_panic() {
        let path = tempfile::tempdir().unwrap().path().join("empty.svg");
        throughput(&path, &[]).unwrap();
        quantiles(&path, "Latency", &[("nobody".to_owned(), latencies())]).unwrap();
    }

    #[test]
    fn a_curve_ends_where_its_requests_say_nothing_more() {
        let mut histogram = latencies();
        (1..=1000).for_each(|ms| histogram.record(ms * 1000).unwrap());
        let points = nines(&histogram);
        let (last, slowest) = points[points.len() - 1];
        assert!((last - 3.0).abs() < 1e-9 && slowest >= 998.0, "{last} {slowest}");
        assert_eq!(points[0].0, 0.0);
        assert_eq!([0.0, 1.0, 2.0, 2.5, 5.0].map(quantile_name), ["0 %", "90 %", "99 %", "", "99.999 %"]);
        assert_eq!((decades([0.5, 20.0].into_iter()), decades([10.0].into_iter())), (0.1..100.0, 10.0..100.0));
    }
}
