//! What the experiments that load real nodes are told, and what they tell of a run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use dynamo_client::Routing;
use serde::{Deserialize, Serialize};

use super::Output;
use crate::{
    cell::Cell,
    commands::session::{Flags, Session},
    stores::{
        Store,
        ours::{Durability, REPLICATION, Settings},
    },
    workload::tally::{Tally, quantile_ms},
};

/// Flags of all that load real nodes.
#[derive(Debug, Clone, Args)]
pub struct Measured {
    /// Measured seconds of a run
    #[arg(long, default_value_t = 120, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Seconds of load before, not counted [default: 10 in the first round, then 3]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub warmup: Option<u64>,
    /// Rounds; what stands side by side takes its turn in each
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Keys that are there before
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=524_288))]
    pub value_bytes: u32,
    /// Reads of all requests, in percent
    #[arg(long, default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=99))]
    pub reads: u32,
    /// Keys that are read after each run's crash
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub check_keys: u64,
    /// Folder on a disk for the nodes' files [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Clients' port of the nodes on 127.0.0.1 and up; peers' is 1,000 higher, HTTP's 2,000
    #[arg(long, default_value_t = 27400, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=63_000))]
    pub port: u16,
    /// Configuration of the nodes, as `dynamo-node --set` takes it
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub sets: Vec<String>,
    /// Don't wait until others leave the machine alone: to try it out, not for figures
    #[arg(long)]
    pub busy: bool,
}

/// Flags of those that load at a constant rate.
#[derive(Debug, Clone, Copy, Args)]
pub struct Rate {
    /// Requests a second, whatever becomes of those before (open loop)
    #[arg(long = "rate", default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub per_s: u32,
}

impl Measured {
    /// Three nodes that sync each write, asked as the client library does by itself.
    pub fn settings(&self) -> Settings {
        Settings {
            dir: self.dir.clone().unwrap_or_else(std::env::temp_dir),
            port: self.port,
            durability: Durability::Fsync,
            tls: false,
            sets: self.sets.clone(),
            nodes: REPLICATION,
            routing: Routing::Coordinator,
        }
    }

    /// Of clusters of ours that hold all keys.
    ///
    /// # Errors
    /// One can't be started or filled.
    pub async fn session(&self, output: &Output, clusters: impl IntoIterator<Item = Settings>) -> Result<Session> {
        let flags = Flags {
            peers: Vec::new(),
            durability: Vec::new(),
            tls: false,
            rounds: self.rounds,
            seconds: self.seconds,
            warmup: self.warmup,
            heat: None,
            keys: self.keys,
            check_keys: self.check_keys,
            dir: self.dir.clone(),
            port: self.port,
            sets: self.sets.clone(),
            busy: self.busy,
            out: output.out.clone(),
            output: output.output,
        };
        let mut session = Session::new(flags, clusters.into_iter().map(Store::ours).collect());
        session.fill(self.value_bytes as usize).await?;
        Ok(session)
    }

    /// What so many clients ask for.
    pub fn cell(&self, clients: usize) -> Cell {
        Cell { value_bytes: self.value_bytes as usize, read_percent: self.reads, clients }
    }
}

/// What the paper tells of latencies: means, and the 99.9th percentile. Of no requests all are 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Of reads.
    pub read_mean_ms: f64,
    /// Of reads.
    pub read_p999_ms: f64,
    /// Of writes.
    pub write_mean_ms: f64,
    /// Of writes.
    pub write_p999_ms: f64,
}

impl Latencies {
    /// Of a run, or a part of it.
    pub fn of(tally: &Tally) -> Self {
        let to_us = |ms: f64| (ms * 1000.0).round() / 1000.0;
        Self {
            read_mean_ms: to_us(tally.reads.mean() / 1000.0),
            read_p999_ms: quantile_ms(&tally.reads, 0.999),
            write_mean_ms: to_us(tally.writes.mean() / 1000.0),
            write_p999_ms: quantile_ms(&tally.writes, 0.999),
        }
    }

    /// As a table has them.
    pub fn columns(&self) -> [String; 4] {
        [self.read_mean_ms, self.read_p999_ms, self.write_mean_ms, self.write_p999_ms].map(|ms| format!("{ms:.2}"))
    }
}

/// The table's header of [`Latencies::columns`].
pub const COLUMNS: &str = "READ MEAN MS|READ P99.9 MS|WRITE MEAN MS|WRITE P99.9 MS";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Answer;

    #[test]
    fn means_and_percentiles_are_of_reads_and_writes_apart() {
        let mut tally = Tally::default();
        (1..=1000).for_each(|us| tally.count(&Ok(Answer::Read), us));
        (1..=1000).for_each(|us| tally.count(&Ok(Answer::Written), us * 10));
        let found = Latencies::of(&tally);
        let expected = [0.5005, 0.999, 5.005, 9.99];
        let columns = [found.read_mean_ms, found.read_p999_ms, found.write_mean_ms, found.write_p999_ms];
        assert!(columns.iter().zip(expected).all(|(found, right)| (found / right - 1.0).abs() < 0.002), "{found:?}");
        assert_eq!(Latencies::of(&Tally::default()).columns(), ["0.00"; 4]);
    }
}
