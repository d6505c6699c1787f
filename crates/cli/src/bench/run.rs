//! Closed loop: each worker has one request under way, and sends the next when it is answered. With a rate, open loop: the
//! next one that is due, and what it waited for a free worker is part of its latency.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use dynamo_client::{Client, Error, Put};
use hdrhistogram::Histogram;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::task::JoinSet;

use super::workload::{Chooser, Values, key};
use crate::records::insist;

/// A latency is at most a minute, in microseconds, to three digits.
const LATENCY_MAX_US: u64 = 60_000_000;
/// A key with more siblings than this is read (untimed) before its next write, so that a write-only run does not pile
/// siblings up until the cluster refuses them.
const SIBLINGS_BEARABLE: u32 = 8;

/// What all workers share.
pub struct Bench {
    /// Connected.
    pub client: Client,
    /// Where the keys are.
    pub bucket: String,
    /// Of a read, unless the bucket's.
    pub r: Option<u32>,
    /// Of a write, unless the bucket's.
    pub w: Option<u32>,
    /// How many keys.
    pub keys: usize,
    /// Bytes of each.
    pub key_size: usize,
    /// What is written.
    pub values: Values,
    /// Which key next.
    pub chooser: Chooser,
    /// 0 to 100.
    pub read_percent: u32,
    /// The newest context that this bench has seen of each key: a client that writes without one makes siblings.
    pub contexts: Vec<Mutex<Bytes>>,
    /// Requests a second, if they come by the clock.
    pub rate: Option<u32>,
    due: AtomicU64,
    phase: AtomicU8,
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const ENDED: u8 = 2;

/// Latencies in microseconds, and what failed.
pub struct Measured {
    /// Of reads.
    pub reads: Histogram<u64>,
    /// Of writes.
    pub writes: Histogram<u64>,
    /// How often which error code.
    pub errors: BTreeMap<String, u64>,
    /// One message of an error, to show.
    pub example: Option<String>,
}

impl Measured {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are valid");
        Self { reads: histogram(), writes: histogram(), errors: BTreeMap::new(), example: None }
    }

    fn merge(&mut self, other: Self) {
        self.reads.add(&other.reads).expect("same bounds");
        self.writes.add(&other.writes).expect("same bounds");
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.example = self.example.take().or(other.example);
    }

    fn failed(&mut self, error: &Error) {
        *self.errors.entry(format!("{:?}", error.code)).or_default() += 1;
        self.example.get_or_insert_with(|| error.to_string());
    }
}

impl Bench {
    /// Nothing was sent yet.
    pub fn new(
        client: Client,
        bucket: String,
        (r, w): (Option<u32>, Option<u32>),
        (keys, key_size): (usize, usize),
        values: Values,
        chooser: Chooser,
        read_percent: u32,
    ) -> Self {
        let contexts = (0..keys).map(|_| Mutex::default()).collect();
        let phase = AtomicU8::new(WARMING);
        let (rate, due) = (None, AtomicU64::new(0));
        Self { client, bucket, r, w, keys, key_size, values, chooser, read_percent, contexts, rate, due, phase }
    }

    /// Writes every key once. Keys of an earlier run are superseded.
    ///
    /// # Errors
    /// The first write that failed in spite of retries.
    pub async fn preload(
        self: &Arc<Self>,
        concurrency: usize,
        done: impl Fn() + Clone + Send + 'static,
    ) -> Result<(), Error> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for number in 0..concurrency {
            let (bench, next, done) = (self.clone(), next.clone(), done.clone());
            workers.spawn(async move {
                let mut random = SmallRng::seed_from_u64(number as u64);
                loop {
                    let chosen = next.fetch_add(1, Ordering::Relaxed);
                    if chosen >= bench.keys {
                        return Ok(());
                    }
                    insist(|| bench.read(chosen)).await.0?;
                    let value = bench.values.next(&mut random);
                    insist(|| bench.write(chosen, value.clone())).await.0?;
                    done();
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended.expect("workers do not panic")?;
        }
        Ok(())
    }

    /// Runs the loop; gives what was measured after the warm-up, and for how long.
    pub async fn run(
        self: &Arc<Self>,
        concurrency: usize,
        warmup: Duration,
        duration: Duration,
    ) -> (Measured, Duration) {
        let mut workers = JoinSet::new();
        let began = Instant::now();
        for number in 0..concurrency {
            let bench = self.clone();
            workers.spawn(async move { bench.worker(began, SmallRng::seed_from_u64(1 << 32 | number as u64)).await });
        }
        tokio::time::sleep(warmup).await;
        self.phase.store(MEASURING, Ordering::Relaxed);
        let started = Instant::now();
        tokio::time::sleep(duration).await;
        self.phase.store(ENDED, Ordering::Relaxed);
        let elapsed = started.elapsed();
        let mut measured = Measured::new();
        while let Some(ended) = workers.join_next().await {
            measured.merge(ended.expect("workers do not panic"));
        }
        (measured, elapsed)
    }

    /// Counts a request that ended while measuring, so that all counted ones ended within the time.
    async fn worker(&self, began: Instant, mut random: SmallRng) -> Measured {
        let mut measured = Measured::new();
        loop {
            let number = self.chooser.choose(&mut random);
            let is_read = random.random_range(0..100) < self.read_percent;
            let started = self.turn(began).await;
            let ended = if is_read {
                self.read(number).await.map(|()| 0)
            } else {
                self.write(number, self.values.next(&mut random)).await
            };
            let latency_us = (started.elapsed().as_micros() as u64).clamp(1, LATENCY_MAX_US);
            match self.phase.load(Ordering::Relaxed) {
                WARMING => {}
                MEASURING => match &ended {
                    Ok(_) if is_read => measured.reads.record(latency_us).expect("within bounds"),
                    Ok(_) => measured.writes.record(latency_us).expect("within bounds"),
                    Err(error) => measured.failed(error),
                },
                _ => return measured,
            }
            match ended {
                Ok(siblings) if siblings > SIBLINGS_BEARABLE => drop(self.read(number).await),
                Ok(_) => {}
                // Else a cluster that refuses at once would be asked a million times a second.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// When the next request counts as sent.
    async fn turn(&self, began: Instant) -> Instant {
        let Some(rate) = self.rate else { return Instant::now() };
        let number = self.due.fetch_add(1, Ordering::Relaxed);
        let due = began + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        if due <= Instant::now() {
            // It waited for a free worker: that is its latency, too (else the slow requests would hide each other).
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }

    async fn read(&self, number: usize) -> Result<(), Error> {
        let found = self.client.get(&self.bucket, key(number, self.key_size), self.r).await?;
        self.remember(number, found.context);
        Ok(())
    }

    async fn write(&self, number: usize, value: Bytes) -> Result<u32, Error> {
        let context = self.contexts[number].lock().expect("no holder panics").clone();
        let key = key(number, self.key_size);
        let put = Put { bucket: self.bucket.clone(), key, value, context, w: self.w };
        let written = self.client.put(put).await?;
        self.remember(number, written.context);
        Ok(written.siblings)
    }

    fn remember(&self, number: usize, context: Bytes) {
        *self.contexts[number].lock().expect("no holder panics") = context;
    }
}
