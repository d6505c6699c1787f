//! `dynamo bench`: how fast a cluster serves this client.

use std::{sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use dynamo_client::Routing;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    args,
    bench::{
        report,
        run::Bench,
        workload::{Chooser, Distribution, Values, key_size_min},
    },
    failure::Failure,
    output,
};

const EXAMPLES: &str = "\
Examples:
  dynamo bench
  dynamo bench --read-percent 95 --distribution zipfian --duration 1m
  dynamo bench --routing server --endpoint 127.0.0.1:7400 -o json

Closed loop: each of --concurrency workers sends its next request when the last is answered. With --rate, open loop:
requests come by the clock, and what one waits because all workers are busy counts as its latency. Writes pass the newest \
context that the bench has seen of the key. Keys are numbers in decimal; they are written once before (--no-preload \
leaves that out), and stay after.";

/// Measures operations per second and latencies
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// How many keys
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=50_000_000))]
    keys: u32,
    /// Bytes of a key
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    key_size: u16,
    /// Bytes of a value; values do not compress
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(..=64 << 20))]
    value_size: u32,
    /// How many of a hundred requests are reads
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(..=100))]
    read_percent: u32,
    /// Requests under way at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    /// Requests a second that come by the clock, whether or not earlier ones are answered [default: as many as are answered]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000), value_name = "PER_SECOND")]
    rate: Option<u32>,
    /// How long to measure (30s, 2m, 500ms)
    #[arg(long, default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// How long to run before that
    #[arg(long, default_value = "5s", value_parser = duration)]
    warmup: Duration,
    /// Which key next
    #[arg(long, value_enum, default_value_t)]
    distribution: Distribution,
    /// Do not write the keys before
    #[arg(long)]
    no_preload: bool,
    /// Straight to a coordinator of the key, or through the endpoints given (§6.4)
    #[arg(long, value_enum, default_value = "coordinator")]
    routing: Route,
    #[command(flatten)]
    bucket: args::Bucket,
    /// How many replicas have to answer a read [default: the bucket's R]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    r: Option<u32>,
    /// How many replicas have to hold a write [default: the bucket's W]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    w: Option<u32>,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Route {
    /// Straight to a home replica of the key
    Coordinator,
    /// Through the endpoints given
    Server,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let (keys, key_size) = (self.keys as usize, usize::from(self.key_size));
        if key_size < key_size_min(keys) {
            return Err(Failure::usage(format!(
                "--key-size {key_size} is too small for {keys} keys: at least {}",
                key_size_min(keys)
            )));
        }
        let routing = match self.routing {
            Route::Coordinator => Routing::Coordinator,
            Route::Server => Routing::Server,
        };
        let client = self.endpoint.connect_with(routing).await?;
        client.describe_bucket(&self.bucket.bucket).await?;
        let values = Values::new(self.value_size as usize);
        let chooser = Chooser::new(self.distribution, keys);
        let bucket = self.bucket.bucket.clone();
        let mut bench =
            Bench::new(client, bucket, (self.r, self.w), (keys, key_size), values, chooser, self.read_percent);
        bench.rate = self.rate;
        let bench = Arc::new(bench);
        self.preload(&bench).await?;
        // Draws on a terminal only.
        let bar = ProgressBar::new_spinner().with_message(format!("measuring for {:?}", self.warmup + self.duration));
        bar.enable_steady_tick(Duration::from_millis(120));
        let (measured, elapsed) = bench.run(self.concurrency.into(), self.warmup, self.duration).await;
        bar.finish_and_clear();
        if self.output.json() {
            output::document(&report::document(&measured, elapsed, self.settings()))?;
        } else {
            report::print(&measured, elapsed)?;
        }
        if measured.reads.is_empty() && measured.writes.is_empty() {
            return Err(Failure::unavailable("no request succeeded"));
        }
        Ok(())
    }

    async fn preload(&self, bench: &Arc<Bench>) -> Result<(), Failure> {
        if self.no_preload {
            return Ok(());
        }
        let style = ProgressStyle::with_template("writing keys {bar:30} {pos}/{len} {per_sec}, {eta} left")
            .expect("the template is valid");
        let bar = ProgressBar::new(bench.keys as u64).with_style(style);
        let counted = bar.clone();
        let ended = bench.preload(self.concurrency.into(), move || counted.inc(1)).await;
        bar.finish_and_clear();
        Ok(ended?)
    }

    fn settings(&self) -> serde_json::Value {
        json!({
            "keys": self.keys,
            "key_size": self.key_size,
            "value_size": self.value_size,
            "read_percent": self.read_percent,
            "concurrency": self.concurrency,
            "rate": self.rate,
            "warmup_s": self.warmup.as_secs_f64(),
            "distribution": self.distribution.name(),
            "routing": if self.routing == Route::Server { "server" } else { "coordinator" },
            "bucket": self.bucket.bucket,
            "r": self.r,
            "w": self.w,
        })
    }
}

/// `30s`, `2m`, `1.5h`, `500ms`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("no unit {unit:?}: ms, s, m or h")),
    };
    let number: f64 = digits.parse().map_err(|_| "expected a number and a unit, like 30s".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("1.5m").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("7").unwrap(), Duration::from_secs(7));
        for bad in ["", "s", "3 parsecs", "-1s", "NaN", "infs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
