//! What a witness does all the time: several writers at keys that they share, reading, writing with and without context,
//! merging, deleting. Nothing is tried again here: what the client library makes of a fault is what is looked at.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use dynamo_client::{Client, Config, Delete, Error, Put};
use dynamo_history::{Bucket, WriteId, value_of};
use dynamo_wire::v1;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, interval, sleep, sleep_until},
};

use crate::{
    line::{Failed, Line, now_us},
    record::{Past, Recorder, VALUE_BYTES, name, stop_file, told},
};

/// Keys go to them in turn.
fn buckets() -> Vec<(String, Bucket)> {
    vec![("witness-sloppy".into(), Bucket::DEFAULT), ("witness-strict".into(), Bucket::STRICT)]
}

/// How much is written.
#[derive(Debug, Clone, Args)]
pub struct Load {
    /// Writers
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..))]
    writers: u8,
    /// Operations a second of all writers, while they are answered fast
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Keys in use at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    keys: u16,
    /// Writes of a key, before another one is used in its place
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    writes: u16,
    /// A request's time, milliseconds
    #[arg(long, default_value_t = 10_000)]
    timeout_ms: u64,
}

/// Writes and reads until it is told to stop.
pub async fn run(mut config: Config, load: &Load, at: &Path) -> anyhow::Result<()> {
    config.timeout = Duration::from_millis(load.timeout_ms);
    let run = match at.metadata().is_ok_and(|file| file.len() > 0) {
        true => Past::load(at)?.run,
        false => format!("{:08x}", rand::random::<u32>()),
    };
    let recorder = Arc::new(Recorder::open(at, load.keys, load.writes)?);
    let mut stop = told_to_stop(stop_file(at))?;
    recorder.say(&Line::Begins { at: now_us(), run: run.clone(), buckets: buckets() })?;
    if let Some(client) = connected(&config, &mut stop).await {
        let done = Arc::new(Done::default());
        let tell = tokio::spawn(tell(done.clone()));
        let writers = (0..load.writers).map(|number| {
            let pace = Duration::from_secs(1) * u32::from(load.writers) / load.rate;
            let (client, recorder) = (client.clone(), recorder.clone());
            let writer =
                Writer { number, client, recorder, run: run.clone(), done: done.clone(), held: HashMap::new() };
            tokio::spawn(writer.work(pace, stop.clone()))
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.context("a writer failed")??;
        }
        tell.abort();
    }
    recorder.say(&Line::Ends { at: now_us() })?;
    eprintln!("stopped");
    // Told by a file, it stays: whoever reads the history may need this machine for it.
    while *stop.borrow() == Stop::Stay {
        stop.changed().await?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Stay,
    Leave,
}

fn told_to_stop(file: PathBuf) -> anyhow::Result<watch::Receiver<Stop>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (told, stop) = watch::channel(Stop::No);
    tokio::spawn(async move {
        let mut look = interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = term.recv() => return told.send_replace(Stop::Leave),
                _ = int.recv() => return told.send_replace(Stop::Leave),
                _ = look.tick() => told.send_if_modified(|told| {
                    let stays = *told == Stop::No && file.exists();
                    if stays { *told = Stop::Stay }
                    stays
                }),
            };
        }
    });
    Ok(stop)
}

/// A client, with the buckets made. There may be no cluster yet.
async fn connected(config: &Config, stop: &mut watch::Receiver<Stop>) -> Option<Client> {
    let mut told = None;
    loop {
        let error = match prepared(config).await {
            Ok(client) => return Some(client),
            Err(error) => error.message,
        };
        if told.as_ref() != Some(&error) {
            eprintln!("waiting for the cluster: {error}");
            told = Some(error);
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop != Stop::No) => return None,
            () = sleep(Duration::from_millis(500)) => {}
        }
    }
}

async fn prepared(config: &Config) -> Result<Client, Error> {
    let client = Client::connect(config.clone()).await?;
    // Whoever may write may not make buckets everywhere: those that are there need no such right.
    let there = client.list_buckets().await?;
    for (name, Bucket { strict, .. }) in buckets() {
        if there.iter().any(|bucket| bucket.name == name && bucket.strict == strict) {
            continue;
        }
        let mode = v1::BucketMode::Siblings.into();
        client.create_bucket(v1::Bucket { name, mode, r: 0, w: 0, strict }).await?;
    }
    Ok(client)
}

#[derive(Default)]
struct Done {
    writes: AtomicU64,
    reads: AtomicU64,
    failed: AtomicU64,
}

/// A line every two seconds, for who looks at the log.
async fn tell(done: Arc<Done>) {
    let mut every = interval(Duration::from_secs(2));
    loop {
        every.tick().await;
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        eprintln!("{} writes, {} reads, {} failed", of(&done.writes), of(&done.reads), of(&done.failed));
    }
}

/// What a writer has of a key: the context, and what it had truly seen when it got that.
#[derive(Clone, Default)]
struct Held {
    context: Bytes,
    seen: Vec<WriteId>,
}

struct Writer {
    number: u8,
    client: Client,
    recorder: Arc<Recorder>,
    run: String,
    done: Arc<Done>,
    held: HashMap<u16, Held>,
}

impl Writer {
    async fn work(mut self, pace: Duration, mut stop: watch::Receiver<Stop>) -> anyhow::Result<()> {
        let mut random = StdRng::seed_from_u64(rand::random());
        loop {
            let next = Instant::now() + pace.mul_f64(random.random_range(0.5..1.5));
            let key = self.recorder.key(random.random_range(0..usize::from(u16::MAX)));
            match random.random_range(0..100) {
                0..25 => self.read(key).await.map(drop)?,
                25..50 => {
                    let held = self.held.get(&key).cloned().unwrap_or_default();
                    self.write(key, held, false).await?;
                }
                50..60 => self.write(key, Held::default(), false).await?,
                roll => {
                    if let Some(values) = self.read(key).await? {
                        let (held, delete) = (self.held[&key].clone(), roll >= 95);
                        if values > 0 || !delete {
                            self.write(key, held, delete).await?;
                        }
                    }
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop != Stop::No) => return Ok(()),
                () = sleep_until(next) => {}
            }
        }
    }

    fn bucket(&self, key: u16) -> String {
        let buckets = buckets();
        buckets[usize::from(key) % buckets.len()].0.clone()
    }

    /// Reads a key, and keeps the context. How many values it has, if it could be read.
    async fn read(&mut self, key: u16) -> anyhow::Result<Option<usize>> {
        let (client, began) = (self.number, now_us());
        let outcome = self.client.get(&self.bucket(key), name(&self.run, key), None).await;
        let at = now_us();
        match outcome {
            Ok(read) => {
                let (found, strange) = told(&read.values);
                self.done.reads.fetch_add(1, Ordering::Relaxed);
                self.held.insert(key, Held { context: read.context, seen: found.clone() });
                self.recorder.say(&Line::Read { at, began, client, key, found, strange })?;
                Ok(Some(read.values.len()))
            }
            Err(error) => {
                self.done.failed.fetch_add(1, Ordering::Relaxed);
                self.recorder.say(&Line::Unread { at, began, client, key, failed: Failed::from(&error) })?;
                Ok(None)
            }
        }
    }

    async fn write(&mut self, key: u16, held: Held, delete: bool) -> anyhow::Result<()> {
        let (bucket, of, context) = (self.bucket(key), name(&self.run, key), held.context);
        let id = self.recorder.begins(self.number, key, delete, &held.seen)?;
        let outcome = match delete {
            true => self.client.delete(Delete { bucket, key: of, context, w: None }).await,
            false => {
                let value = value_of(id, VALUE_BYTES);
                self.client.put(Put { bucket, key: of, value, context, w: None }).await
            }
        };
        let at = now_us();
        match outcome {
            Ok(written) => {
                self.done.writes.fetch_add(1, Ordering::Relaxed);
                self.held.insert(key, Held { context: written.context, seen: vec![id] });
                self.recorder.say(&Line::Written { id, at, failed: None })?;
            }
            Err(error) => {
                self.done.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("client-{}: write {id} failed: {error}", self.number);
                self.recorder.say(&Line::Written { id, at, failed: Some(Failed::from(&error)) })?;
            }
        }
        Ok(())
    }
}
