//! Plots, as SVG: throughput against latency, and latency by quantile.

use std::{fs, ops::Range, path::Path};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use plotters::{
    coord::{
        Shift,
        combinators::LogCoord,
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

/// A line of a plot.
#[derive(Debug, Clone)]
pub struct Curve {
    /// As the legend has it.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    /// Which of the colours.
    pub colour: usize,
    /// What others have published, beside what was measured here.
    pub dashed: bool,
}

/// What stands around the curves.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    /// Above them.
    pub title: &'a str,
    /// What the numbers below are.
    pub across: &'a str,
    /// What the numbers at the left are.
    pub up: &'a str,
    /// Where no curve is in its way.
    pub legend: SeriesLabelPosition,
}

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
        match curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve { name, points: vec![point], colour: curves.len(), dashed: false }),
        }
    }
    let frame = Frame {
        title: "Throughput against latency",
        across: "operations a second",
        up: "p99, ms",
        legend: SeriesLabelPosition::UpperLeft,
    };
    logarithmic(path, frame, 1.05 * furthest(&curves), &curves, |x| format!("{x:.0}"))
}

/// One line for each histogram, up to the quantile that its number of requests still says something about.
///
/// # Errors
/// The file can't be written.
pub fn quantiles(path: &Path, title: &str, histograms: &[(String, Histogram<u64>)]) -> Result<()> {
    let curve = |(colour, (name, histogram)): (usize, &(String, Histogram<u64>))| Curve {
        name: name.clone(),
        points: nines(histogram),
        colour,
        dashed: false,
    };
    let curves: Vec<Curve> = histograms.iter().enumerate().map(curve).collect();
    let frame = Frame { title, across: "quantile", up: "latency, ms", legend: SeriesLabelPosition::UpperLeft };
    logarithmic(path, frame, furthest(&curves), &curves, quantile_name)
}

/// Upwards in decades, over whatever goes from 0 to `across`.
///
/// # Errors
/// The file can't be written.
pub fn logarithmic(
    path: &Path,
    frame: Frame<'_>,
    across: f64,
    curves: &[Curve],
    name: impl Fn(f64) -> String,
) -> Result<()> {
    let axis: RangedCoordf64 = (0.0..across).into();
    let up: LogCoord<f64> =
        decades(curves.iter().flat_map(|curve| &curve.points).map(|point| point.1)).log_scale().into();
    draw(path, frame, (axis, up), curves, (name, |ms| format!("{ms}")))
}

/// Upwards in equal steps from 0 to `up`, over whatever goes from 0 to `across`.
///
/// # Errors
/// The file can't be written.
pub fn linear(
    path: &Path,
    frame: Frame<'_>,
    (across, up): (f64, f64),
    curves: &[Curve],
    name: impl Fn(f64) -> String,
) -> Result<()> {
    let (axis, up): (RangedCoordf64, RangedCoordf64) = ((0.0..across).into(), (0.0..up).into());
    draw(path, frame, (axis, up), curves, (name, |number| format!("{number}")))
}

/// How far to the right they go.
pub fn furthest(curves: &[Curve]) -> f64 {
    curves.iter().flat_map(|curve| &curve.points).map(|point| point.0).fold(1.0, f64::max)
}

/// 1: 90 %, 2: 99 %, 3: 99.9 %; nothing between them.
pub fn quantile_name(nines: f64) -> String {
    let percent = 100.0 - 100.0 * 10f64.powf(-nines);
    let digits = (nines - 2.0).max(0.0) as usize;
    if nines.fract() == 0.0 { format!("{percent:.digits$} %") } else { String::new() }
}

/// Against how many nines the quantile has: 99 % at 2, 99.9 % at 3.
pub fn nines(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
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

fn draw<Y>(
    path: &Path,
    frame: Frame<'_>,
    axes: (RangedCoordf64, Y),
    curves: &[Curve],
    names: (impl Fn(f64) -> String, impl Fn(f64) -> String),
) -> Result<()>
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let drawn = chart(&area, frame.clone(), axes, curves, names);
        drawn.and_then(|()| Ok(area.present()?)).map_err(|error| anyhow!("the plot {:?}: {error}", frame.title))?;
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, svg).with_context(|| format!("{} can't be written", path.display()))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn chart<Y>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    frame: Frame<'_>,
    axes: (RangedCoordf64, Y),
    curves: &[Curve],
    (across, up): (impl Fn(f64) -> String, impl Fn(f64) -> String),
) -> Drawn
where
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .caption(frame.title, TITLE)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(axes.0, axes.1)?;
    chart
        .configure_mesh()
        .x_desc(frame.across)
        .y_desc(frame.up)
        .label_style(TEXT)
        .light_line_style(WHITE)
        .x_label_formatter(&|x| across(*x))
        .y_label_formatter(&|y| up(*y))
        .draw()?;
    for curve in curves {
        let colour = COLOURS[curve.colour % COLOURS.len()];
        let points = || curve.points.iter().copied();
        let line = match curve.dashed {
            true => chart.draw_series(DashedLineSeries::new(points(), 6, 5, colour.stroke_width(1)))?,
            false => chart.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?,
        };
        let width = if curve.dashed { 1 } else { 3 };
        line.label(&curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(width)));
        if curve.points.len() < 10 {
            chart.draw_series(points().map(|point| Circle::new(point, 4, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(frame.legend)
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
