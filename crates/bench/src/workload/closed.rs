//! Closed loop: so many clients, each of which has one request under way and sends the next when it is answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::task::JoinSet;

use super::{Asking, Driver, draw::Draws, tally::Tally};
use crate::usage::{Snapshot, Usage};

/// A client whose request failed waits so long: else a store that refuses at once would be asked a million times a second.
const PAUSE: Duration = Duration::from_millis(10);

/// How long, and whose CPU is counted.
#[derive(Debug, Clone)]
pub struct Run {
    /// Not counted.
    pub warmup: Duration,
    /// Counted.
    pub measured: Duration,
    /// The processes that serve.
    pub servers: Vec<u32>,
    /// The same for every store of a round.
    pub seed: u64,
}

/// What was measured.
#[derive(Debug)]
pub struct Outcome {
    /// Of the requests that ended within the time.
    pub tally: Tally,
    /// Within the time.
    pub usage: Usage,
    /// The time.
    pub measured: Duration,
}

impl Outcome {
    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.tally.operations() as f64 / self.measured.as_secs_f64()
    }
}

/// Runs all clients for the time.
///
/// # Errors
/// A client panicked.
pub async fn run<D: Driver>(asking: Arc<Asking<D>>, run: &Run) -> Result<Outcome> {
    let from = Instant::now() + run.warmup;
    let to = from + run.measured;
    let mut clients = JoinSet::new();
    for number in 0..asking.load.clients {
        let (asking, draws) =
            (asking.clone(), Draws::new(run.seed.wrapping_mul(977).wrapping_add(1000 + number as u64)));
        clients.spawn(client(asking, number, draws, from, to));
    }
    tokio::time::sleep_until(from.into()).await;
    let before = Snapshot::take(&run.servers);
    tokio::time::sleep_until(to.into()).await;
    let after = Snapshot::take(&run.servers);
    let mut tally = Tally::default();
    while let Some(ended) = clients.join_next().await {
        tally.add(&ended?);
    }
    let usage = after.since(&before, tally.operations());
    Ok(Outcome { tally, usage, measured: run.measured })
}

/// Counts what ended within the time.
async fn client<D: Driver>(
    asking: Arc<Asking<D>>,
    number: usize,
    mut draws: Draws,
    from: Instant,
    to: Instant,
) -> Tally {
    let mut tally = Tally::default();
    let mut began = Instant::now();
    while began < to {
        let wish = draws.wish(asking.load.keys, asking.load.read_percent);
        let ended = asking.ask(number, wish, &mut draws).await;
        let now = Instant::now();
        if now >= from && now < to {
            tally.count(&ended, (now - began).as_micros() as u64);
        }
        began = now;
        if ended.is_err() {
            tokio::time::sleep(PAUSE).await;
            began = Instant::now();
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use anyhow::bail;
    use bytes::Bytes;
    use parking_lot::Mutex;

    use super::*;
    use crate::workload::{Load, draw::Values, ledger::Ledger, preload::preload};

    /// A store that has all in memory, and refuses each seventh key.
    #[derive(Default)]
    struct Memory {
        written: Mutex<BTreeSet<u64>>,
        asked: Mutex<Vec<u64>>,
        refuses: bool,
    }

    impl Driver for Arc<Memory> {
        async fn get(&self, client: usize, key: u64) -> Result<Option<usize>> {
            if client == 0 {
                self.asked.lock().push(key);
            }
            tokio::task::yield_now().await;
            Ok(self.written.lock().contains(&key).then_some(100))
        }

        async fn put(&self, _: usize, key: u64, value: Bytes) -> Result<()> {
            if self.refuses && key % 7 == 3 {
                bail!("no sevens");
            }
            assert_eq!(value.len(), 100);
            self.written.lock().insert(key);
            Ok(())
        }
    }

    fn asking(memory: &Arc<Memory>, read_percent: u32) -> Arc<Asking<Arc<Memory>>> {
        let load = Load { keys: 1000, value_bytes: 100, read_percent, clients: 4 };
        let (ledger, values) = (Arc::new(Ledger::new(load.keys)), Values::new(100));
        Arc::new(Asking { driver: memory.clone(), ledger, values, load })
    }

    fn a_moment(seed: u64) -> Run {
        Run { warmup: Duration::ZERO, measured: Duration::from_millis(200), servers: Vec::new(), seed }
    }

    #[tokio::test]
    async fn every_key_is_written_before_and_each_is_acknowledged() {
        let memory = Arc::new(Memory::default());
        let asking = asking(&memory, 50);
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        preload(asking.clone(), move || *counted.lock() += 1).await.unwrap();
        assert_eq!((memory.written.lock().len(), *count.lock()), (1000, 1000));
        assert!((0..1000).all(|key| asking.ledger.has(key)));
    }

    #[tokio::test]
    async fn what_is_asked_follows_from_the_seed_alone() {
        let mut sequences = Vec::new();
        for seed in [1, 1, 2] {
            let memory = Arc::new(Memory::default());
            let outcome = run(asking(&memory, 100), &a_moment(seed)).await.unwrap();
            assert_eq!(outcome.tally.operations(), 0, "nothing was written before");
            assert!(outcome.tally.missing > 0);
            sequences.push(memory.asked.lock()[..50].to_vec());
        }
        assert_eq!(sequences[0], sequences[1]);
        assert_ne!(sequences[0], sequences[2]);
    }

    #[tokio::test]
    async fn refused_writes_are_counted_shown_and_not_owed() {
        let memory = Arc::new(Memory { refuses: true, ..Memory::default() });
        let asking = asking(&memory, 0);
        let outcome = run(asking.clone(), &a_moment(1)).await.unwrap();
        assert!(outcome.tally.failed > 0 && outcome.tally.operations() > 0);
        assert_eq!(outcome.tally.example.as_deref(), Some("no sevens"));
        assert!((0..1000).filter(|key| key % 7 == 3).all(|key| !asking.ledger.has(key)));
        assert!(outcome.rate() > 0.0);
    }
}
