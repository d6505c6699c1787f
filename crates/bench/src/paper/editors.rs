//! Clients that read a key, reconcile what they find, think, and write with the context that they read, as the paper's shopping cart does
//! (§4.4, 6.3). Two that do so with one key at once make two versions; the next one's write supersedes both.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::popularity::Popularity;
use crate::{
    drivers::ours::Ours,
    workload::{
        draw::{Draws, Values},
        ledger::Ledger,
    },
};

/// Versions that are told apart; what has more counts with the last.
pub const VERSIONS: usize = 10;
/// An editor whose request failed waits so long.
const PAUSE: Duration = Duration::from_millis(10);

/// A store that tells versions.
pub trait Versions: Clone + Send + Sync + 'static {
    /// How many versions a key has, and the context that supersedes them.
    fn read(&self, key: u64) -> impl Future<Output = Result<(usize, Bytes)>> + Send;
    /// Writes after a read. Tells how many versions there are then.
    fn write(&self, key: u64, value: Bytes, context: Bytes) -> impl Future<Output = Result<usize>> + Send;
}

impl Versions for Ours {
    async fn read(&self, key: u64) -> Result<(usize, Bytes)> {
        let found = self.found(key).await?;
        Ok((found.values.len(), found.context))
    }

    async fn write(&self, key: u64, value: Bytes, context: Bytes) -> Result<usize> {
        Ok(self.put_after(key, value, context).await?.siblings as usize)
    }
}

/// What all editors of a run share.
pub struct Editing<V> {
    /// The store.
    pub store: V,
    /// What was acknowledged, over all runs.
    pub ledger: Arc<Ledger>,
    /// What is written.
    pub values: Values,
    /// Which keys.
    pub popularity: Popularity,
    /// Of a hundred turns so many only read.
    pub read_percent: u32,
    /// Between what is read and the write after it.
    pub think: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads that found one version, two, and so on.
    pub reads: [u64; VERSIONS],
    /// Writes after which there was one version, two, and so on.
    pub writes: [u64; VERSIONS],
    /// Most versions that any of them told.
    pub most: usize,
    /// Requests that failed, and reads that found nothing. All keys were written before.
    pub errors: u64,
    /// One failure, to show.
    pub example: Option<String>,
}

impl Counts {
    /// Reads that found anything.
    pub fn all_reads(&self) -> u64 {
        self.reads.iter().sum()
    }

    fn count(&mut self, versions: usize, of: fn(&mut Self) -> &mut [u64; VERSIONS]) {
        match versions {
            0 => self.errors += 1,
            _ => of(self)[versions.min(VERSIONS) - 1] += 1,
        }
        self.most = self.most.max(versions);
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.errors += 1;
        self.example.get_or_insert_with(|| format!("{error:#}"));
    }

    fn add(&mut self, other: Self) {
        let sum = |all: &mut [u64; VERSIONS], more: [u64; VERSIONS]| {
            all.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        };
        sum(&mut self.reads, other.reads);
        sum(&mut self.writes, other.writes);
        self.most = self.most.max(other.most);
        self.errors += other.errors;
        self.example = self.example.take().or(other.example);
    }
}

/// So many editors for a time.
///
/// # Errors
/// One panicked.
pub async fn run<V: Versions>(editing: Arc<Editing<V>>, editors: usize, time: Duration, seed: u64) -> Result<Counts> {
    let until = Instant::now() + time;
    let mut all = JoinSet::new();
    for number in 0..editors as u64 {
        let (editing, draws) = (editing.clone(), Draws::new((seed << 32) + number));
        all.spawn(async move { editing.edit(draws, until).await });
    }
    let mut counts = Counts::default();
    while let Some(ended) = all.join_next().await {
        counts.add(ended?);
    }
    Ok(counts)
}

impl<V: Versions> Editing<V> {
    async fn edit(&self, mut draws: Draws, until: Instant) -> Counts {
        let mut counts = Counts::default();
        while Instant::now() < until {
            if let Err(error) = self.turn(&mut draws, &mut counts).await {
                counts.fail(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
        counts
    }

    async fn turn(&self, draws: &mut Draws, counts: &mut Counts) -> Result<()> {
        let key = self.popularity.next(draws);
        let only_reads = draws.below(100) < u64::from(self.read_percent);
        let (versions, context) = self.store.read(key).await?;
        counts.count(versions, |counts| &mut counts.reads);
        if only_reads {
            return Ok(());
        }
        tokio::time::sleep(self.think).await;
        // Begun after its read: whatever its context covers was begun before.
        let write = self.ledger.begin(key);
        let value = self.values.stamped(draws, key, write.stamp());
        let versions = self.store.write(key, value, context).await?;
        self.ledger.acknowledged(write);
        counts.count(versions, |counts| &mut counts.writes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// By key the numbers of its versions; a context is the numbers that it covers.
    #[derive(Clone)]
    struct Memory(Arc<Mutex<(u8, Vec<Vec<u8>>)>>);

    impl Versions for Memory {
        async fn read(&self, key: u64) -> Result<(usize, Bytes)> {
            let versions = self.0.lock().1[key as usize].clone();
            Ok((versions.len(), versions.into()))
        }

        async fn write(&self, key: u64, _: Bytes, context: Bytes) -> Result<usize> {
            let mut state = self.0.lock();
            state.0 = state.0.wrapping_add(1);
            let number = state.0;
            let versions = &mut state.1[key as usize];
            versions.retain(|version| !context.contains(version));
            versions.push(number);
            Ok(versions.len())
        }
    }

    async fn edited(keys: u64, editors: usize, read_percent: u32, written: bool) -> Counts {
        let versions = (0..keys).map(|_| if written { vec![0] } else { Vec::new() }).collect();
        let editing = Editing {
            store: Memory(Arc::new(Mutex::new((0, versions)))),
            ledger: Arc::new(Ledger::new(keys)),
            values: Values::new(16),
            popularity: Popularity::new(keys, 0.0),
            read_percent,
            think: Duration::from_millis(2),
        };
        run(Arc::new(editing), editors, Duration::from_millis(200), 1).await.unwrap()
    }

    #[tokio::test]
    async fn who_edits_alone_never_sees_two_versions() {
        let counts = edited(3, 1, 0, true).await;
        assert!(counts.reads[0] > 1 && counts.reads[0] == counts.all_reads(), "{counts:?}");
        assert_eq!((counts.writes[0], counts.most, counts.errors), (counts.reads[0], 1, 0));
    }

    #[tokio::test]
    async fn those_who_edit_one_key_at_once_make_versions_for_each_other_and_no_more_than_they_are() {
        let counts = edited(1, 4, 0, true).await;
        assert!(counts.reads[1..].iter().sum::<u64>() > 0, "{counts:?}");
        assert!((2..=4).contains(&counts.most), "{counts:?}");
    }

    #[tokio::test]
    async fn a_key_without_any_version_is_an_error_and_who_only_reads_writes_nothing() {
        let counts = edited(1, 1, 100, false).await;
        assert!(counts.errors > 0 && counts.all_reads() == 0, "{counts:?}");
        assert_eq!(counts.writes, [0; VERSIONS]);
    }

    #[test]
    fn more_versions_than_are_told_apart_count_with_the_last() {
        let mut counts = Counts::default();
        counts.count(VERSIONS + 5, |counts| &mut counts.reads);
        counts.count(2, |counts| &mut counts.reads);
        assert_eq!((counts.reads[VERSIONS - 1], counts.reads[1], counts.most), (1, 1, VERSIONS + 5));
    }
}
