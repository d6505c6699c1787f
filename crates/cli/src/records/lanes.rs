//! Spreads records over workers such that those of one key keep their order: a key always takes the same lane.

use std::future::Future;

use tokio::{sync::mpsc, task::JoinSet};
use xxhash_rust::xxh3::xxh3_64;

use super::{Record, lines::Lines};
use crate::{
    failure::Failure,
    records::{lines::Line, summary::Progress},
};

/// Records that wait for one worker. When they are that many, reading pauses.
const WAITING: usize = 16;

/// The lane of a key.
pub fn lane_of(key: &[u8], lanes: usize) -> usize {
    (xxh3_64(key) % lanes as u64) as usize
}

/// Reads all lines, hands those records that `wanted` to `lanes` workers, waits until all are done. Bad lines are told.
///
/// # Errors
/// The input's; records already handed out are finished before.
pub async fn run<W: Future<Output = ()> + Send + 'static>(
    mut lines: Lines,
    lanes: usize,
    progress: Progress,
    mut wanted: impl FnMut(&Record) -> bool + Send + 'static,
    mut worker: impl FnMut(mpsc::Receiver<Record>) -> W,
) -> Result<(), Failure> {
    let mut workers = JoinSet::new();
    let mut senders = Vec::with_capacity(lanes);
    for _ in 0..lanes {
        let (sender, receiver) = mpsc::channel(WAITING);
        senders.push(sender);
        workers.spawn(worker(receiver));
    }
    let reader = tokio::task::spawn_blocking(move || {
        while let Some(line) = lines.next()? {
            match line {
                Line::Bad(line, problem) => progress.failed(line, &problem),
                Line::Record(record) if wanted(&record) => {
                    let lane = lane_of(&record.key, senders.len());
                    if senders[lane].blocking_send(record).is_err() {
                        return Err(std::io::Error::other("a worker stopped"));
                    }
                }
                Line::Record(_) => {}
            }
            progress.position(lines.position);
        }
        Ok(())
    });
    let read = reader.await.expect("the reader does not panic");
    while let Some(ended) = workers.join_next().await {
        ended.expect("workers do not panic");
    }
    read.map_err(|error| Failure::file("can't read the input to its end", &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    #[test]
    fn a_key_keeps_its_lane_and_keys_spread_over_all_lanes() {
        let mut used = [0; 8];
        for number in 0..1000 {
            let key = format!("key-{number}");
            let lane = lane_of(key.as_bytes(), 8);
            assert_eq!(lane, lane_of(key.as_bytes(), 8));
            used[lane] += 1;
        }
        assert!(used.iter().all(|&count| count > 60), "{used:?}");
    }

    #[tokio::test]
    async fn records_of_a_key_arrive_in_the_order_of_their_lines() {
        let text: String = (0..500).map(|n| format!("{{\"id\":\"k{}\",\"n\":{n}}}\n", n % 7)).collect();
        let lines = Lines::new(Box::new(std::io::Cursor::new(text)), "id");
        let seen: Arc<Mutex<BTreeMap<Vec<u8>, Vec<u64>>>> = Arc::default();
        run(
            lines,
            4,
            Progress::hidden(),
            |_| true,
            |mut records| {
                let seen = seen.clone();
                async move {
                    while let Some(record) = records.recv().await {
                        seen.lock().unwrap().entry(record.key.to_vec()).or_default().push(record.line);
                        tokio::task::yield_now().await;
                    }
                }
            },
        )
        .await
        .unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 500);
        assert!(seen.values().all(|lines| lines.is_sorted()));
    }
}
