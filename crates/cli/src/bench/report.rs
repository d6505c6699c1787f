//! What a bench found, as a table and as JSON.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::run::Measured;
use crate::{failure::Failure, output};

/// Prints the table.
pub fn print(measured: &Measured, elapsed: Duration) -> Result<(), Failure> {
    let rows = parts(measured)
        .into_iter()
        .map(|(name, histogram)| {
            let ms = |quantile: f64| format!("{:.2}", histogram.value_at_quantile(quantile) as f64 / 1000.0);
            let rate = format!("{:.0}", histogram.len() as f64 / elapsed.as_secs_f64());
            vec![name.to_owned(), rate, ms(0.5), ms(0.99), ms(0.999)]
        })
        .collect();
    let header = ["", "OPS/S", "P50 MS", "P99 MS", "P99.9 MS"];
    output::print_table(&output::table(&header, &header[1..], rows))?;
    let total: u64 = measured.errors.values().sum();
    output::line(format!("errors: {total}"))?;
    for (code, count) in &measured.errors {
        output::line(format!("  {code}: {count}"))?;
    }
    if let Some(example) = &measured.example {
        output::line(format!("  for example: {example}"))?;
    }
    Ok(())
}

/// The document; `settings` goes into it, so that a figure can be told from another.
pub fn document(measured: &Measured, elapsed: Duration, settings: Value) -> Value {
    let mut document = json!({
        "settings": settings, "seconds": elapsed.as_secs_f64(),
        "errors": measured.errors.values().sum::<u64>(), "errors_by_code": measured.errors,
    });
    for (name, histogram) in parts(measured) {
        document[name] = json!({
            "operations": histogram.len(),
            "ops_per_s": histogram.len() as f64 / elapsed.as_secs_f64(),
            "p50_us": histogram.value_at_quantile(0.5),
            "p99_us": histogram.value_at_quantile(0.99),
            "p999_us": histogram.value_at_quantile(0.999),
            "max_us": histogram.max(),
        });
    }
    document
}

fn parts(measured: &Measured) -> [(&'static str, Histogram<u64>); 3] {
    let mut all = measured.reads.clone();
    all.add(&measured.writes).expect("same bounds");
    [("reads", measured.reads.clone()), ("writes", measured.writes.clone()), ("all", all)]
}
