//! Open loop: requests come at a constant rate, whatever the store does, and each one's latency counts from the moment when it
//! was to come.
//!
//! A closed loop stops asking while a store stands still, so that a pause of a second is one slow request of each client
//! (coordinated omission). Here all that would have come in that second are slow, as they are for those who wait. A thread of its own lets
//! requests go when they are due; whichever of the clients is free takes the next. What it waited for a free client is part of its latency.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Asking, Driver, draw::Draws, tally::Tally};
use crate::usage::{Snapshot, Usage};

/// How many come, when, and what for.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Requests a second.
    pub rate: f64,
    /// Not counted.
    pub warmup: Duration,
    /// Counted.
    pub measured: Duration,
    /// In how many parts of equal length that is told, one at least.
    pub slices: u32,
    /// What has no answer so long after the last one was due is given up.
    pub patience: Duration,
    /// The processes that serve.
    pub servers: Vec<u32>,
    /// The same for every store of a round.
    pub seed: u64,
}

/// What was measured, of the requests that were due within the time.
#[derive(Debug)]
pub struct Arrived {
    /// Those without an answer are in it, with the time that they were waited for at the least.
    pub tally: Tally,
    /// How many were due.
    pub due: u64,
    /// How many of them had no answer when they were given up.
    pub unanswered: u64,
    /// The same, by when they were due.
    pub slices: Vec<Slice>,
    /// Within the time.
    pub usage: Usage,
}

/// Of the requests that were due within a part of the time.
#[derive(Debug, Default)]
pub struct Slice {
    /// As that of the whole time.
    pub tally: Tally,
    /// How many were due.
    pub due: u64,
    /// How many of them had no answer when they were given up.
    pub unanswered: u64,
}

/// When each is due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    began: Instant,
    rate: f64,
    total: u64,
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        self.began + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many are due by then.
    fn due_by(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_secs_f64();
        ((since * self.rate) as u64 + 1).min(self.total)
    }
}

/// What all clients share.
struct Queue {
    /// One permit for each request that is due and not taken. No list that could fill up: a request is a number.
    turns: Arc<Semaphore>,
    taken: AtomicU64,
    schedule: Schedule,
    /// The first that is counted.
    first: u64,
    /// What came of them, by when they were due. A lock is held for a few instructions.
    slices: Vec<Mutex<Tally>>,
    seed: u64,
}

impl Queue {
    /// In which part of the time a request was due that is counted.
    fn slice(&self, request: u64) -> usize {
        let counted = self.schedule.total - self.first;
        ((request - self.first) * self.slices.len() as u64 / counted) as usize
    }
}

/// Offers the load for the time, and waits for the answers. `asking.load.clients` bounds how many requests are under way at once.
///
/// # Errors
/// The pacing thread can't be started.
pub async fn run<D: Driver>(asking: Arc<Asking<D>>, offer: &Offer) -> Result<Arrived> {
    let number_at = |time: Duration| (time.as_secs_f64() * offer.rate).round() as u64;
    let (first, total) = (number_at(offer.warmup), number_at(offer.warmup + offer.measured));
    let schedule = Schedule { began: Instant::now(), rate: offer.rate, total };
    let turns = Arc::new(Semaphore::new(0));
    let slices = (0..offer.slices).map(|_| Mutex::default()).collect();
    let (taken, seed) = (AtomicU64::new(0), offer.seed);
    let queue = Arc::new(Queue { turns: turns.clone(), taken, schedule, first, slices, seed });
    let mut clients = JoinSet::new();
    for number in 0..asking.load.clients {
        clients.spawn(client(asking.clone(), number, queue.clone()));
    }
    let (going, ends) = (Arc::downgrade(&turns), asking.load.clients);
    thread::Builder::new().name("pace".to_owned()).spawn(move || pace(schedule, &going, ends))?;
    drop(turns);
    let (from, to) = (schedule.due(first), schedule.due(total));
    tokio::time::sleep_until(from.into()).await;
    let before = Snapshot::take(&offer.servers);
    tokio::time::sleep_until(to.into()).await;
    let after = Snapshot::take(&offer.servers);
    let all_ended = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(offer.patience, all_ended).await;
    clients.shutdown().await;
    Ok(sum(&queue.slices, total - first, offer.patience, |operations| after.since(&before, operations)))
}

/// Lets each go when it is due. Ends with the last one, or when nobody asks any more.
fn pace(schedule: Schedule, turns: &Weak<Semaphore>, clients: usize) {
    let mut gone = 0;
    while gone < schedule.total {
        let due = schedule.due_by(Instant::now());
        let Some(turns) = turns.upgrade() else { return };
        turns.add_permits((due - gone) as usize);
        gone = due;
        drop(turns);
        if gone < schedule.total {
            thread::sleep(schedule.due(gone).saturating_duration_since(Instant::now()));
        }
    }
    // One more for each client: there is nothing left.
    if let Some(turns) = turns.upgrade() {
        turns.add_permits(clients);
    }
}

async fn client<D: Driver>(asking: Arc<Asking<D>>, number: usize, queue: Arc<Queue>) {
    while let Ok(turn) = queue.turns.acquire().await {
        turn.forget();
        let request = queue.taken.fetch_add(1, Ordering::Relaxed);
        if request >= queue.schedule.total {
            return;
        }
        // By the request's number, so that every store is asked the same whichever client is free.
        let mut draws = Draws::new((queue.seed << 40) + request);
        let wish = draws.wish(asking.load.keys, asking.load.read_percent);
        let ended = asking.ask(number, wish, &mut draws).await;
        let latency = Instant::now().saturating_duration_since(queue.schedule.due(request));
        if request >= queue.first {
            queue.slices[queue.slice(request)].lock().count(&ended, latency.as_micros() as u64);
        }
    }
}

/// What has no answer waited for `patience` at the least: it goes in as that, not left out.
fn sum(slices: &[Mutex<Tally>], due: u64, patience: Duration, usage: impl Fn(u64) -> Usage) -> Arrived {
    let count = slices.len() as u64;
    let first_of = |slice: usize| (slice as u64 * due).div_ceil(count);
    let slice = |(number, tally): (usize, &Mutex<Tally>)| {
        let mut tally = tally.lock().clone();
        let due = first_of(number + 1) - first_of(number);
        let unanswered = due - tally.operations() - tally.errors();
        if unanswered > 0 {
            // Which they were nobody knows any more: they stand with the reads.
            tally.reads.saturating_record_n(patience.as_micros() as u64, unanswered);
        }
        Slice { tally, due, unanswered }
    };
    let slices: Vec<Slice> = slices.iter().enumerate().map(slice).collect();
    let mut tally = Tally::default();
    slices.iter().for_each(|slice| tally.add(&slice.tally));
    let unanswered = slices.iter().map(|slice| slice.unanswered).sum();
    let usage = usage(tally.operations() - unanswered);
    Arrived { tally, due, unanswered, slices, usage }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use std::sync::OnceLock;

    use super::*;
    use crate::workload::{Load, draw::Values, ledger::Ledger, tally::quantile_ms};

    /// Answers at once, but for one pause of everything.
    #[derive(Default)]
    struct Stalls {
        began: OnceLock<Instant>,
        from: Duration,
        to: Duration,
    }

    impl Driver for Stalls {
        async fn get(&self, _: usize, _: u64) -> Result<Option<usize>> {
            let began = *self.began.get_or_init(Instant::now);
            if (self.from..self.to).contains(&began.elapsed()) {
                tokio::time::sleep_until((began + self.to).into()).await;
            }
            Ok(Some(100))
        }

        async fn put(&self, _: usize, _: u64, _: Bytes) -> Result<()> {
            unreachable!("only reads are asked for")
        }
    }

    fn asking(driver: Stalls, clients: usize) -> Arc<Asking<Stalls>> {
        let load = Load { keys: 1000, value_bytes: 100, read_percent: 100, clients };
        Arc::new(Asking { driver, ledger: Arc::new(Ledger::new(load.keys)), values: Values::new(100), load })
    }

    fn offer(rate: f64, warmup_ms: u64, measured_ms: u64, patience_ms: u64) -> Offer {
        let [warmup, measured, patience] = [warmup_ms, measured_ms, patience_ms].map(Duration::from_millis);
        Offer { rate, warmup, measured, slices: 4, patience, servers: Vec::new(), seed: 1 }
    }

    /// Four clients see a pause of 400 ms as four slow requests. 200 a second of 500 were to come in it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_pause_makes_all_that_were_to_come_in_it_slow_and_not_only_those_under_way() {
        let (from, to) = (Duration::from_millis(300), Duration::from_millis(700));
        let asking = asking(Stalls { from, to, ..Stalls::default() }, 4);
        let arrived = run(asking, &offer(500.0, 0, 1000, 60_000)).await.unwrap();
        assert_eq!((arrived.due, arrived.unanswered, arrived.tally.operations()), (500, 0, 500));
        let latencies = arrived.tally.all();
        // Those of the first 300 ms of the pause have 100 ms of it before them: 150. A slow machine makes more of them, never less.
        let slow = latencies.len() - latencies.count_between(0, 99_000);
        assert!(slow >= 140, "only {slow} of 500 were slow");
        assert!(quantile_ms(&latencies, 0.999) >= 350.0, "{}", quantile_ms(&latencies, 0.999));
    }

    #[tokio::test]
    async fn every_request_is_in_the_part_of_the_time_in_which_it_was_due() {
        let arrived = run(asking(Stalls::default(), 4), &offer(1000.0, 50, 102, 60_000)).await.unwrap();
        let counts: Vec<(u64, u64)> = arrived.slices.iter().map(|part| (part.due, part.tally.operations())).collect();
        assert_eq!(counts, [(26, 26), (25, 25), (26, 26), (25, 25)]);
    }

    #[tokio::test]
    async fn what_is_never_answered_is_counted_with_the_time_that_it_was_waited_for() {
        let asking = asking(Stalls { to: Duration::from_secs(3600), ..Stalls::default() }, 2);
        let arrived = run(asking, &offer(1000.0, 0, 100, 200)).await.unwrap();
        assert_eq!((arrived.due, arrived.unanswered), (100, 100));
        assert_eq!(arrived.tally.operations(), 100);
        assert!(arrived.slices.iter().all(|slice| (slice.due, slice.unanswered) == (25, 25)), "{:?}", arrived.slices);
        assert!(quantile_ms(&arrived.tally.all(), 0.5) >= 199.0);
    }

    #[tokio::test]
    async fn what_was_due_before_the_time_is_not_counted() {
        let asking = asking(Stalls::default(), 4);
        let arrived = run(asking, &offer(1000.0, 100, 200, 60_000)).await.unwrap();
        assert_eq!((arrived.due, arrived.tally.operations()), (200, 200));
    }

    #[test]
    fn arrivals_are_evenly_spaced_and_none_is_due_early() {
        let schedule = Schedule { began: Instant::now(), rate: 4.0, total: 8 };
        let at = |ms| schedule.began + Duration::from_millis(ms);
        assert_eq!((schedule.due(0), schedule.due(6)), (at(0), at(1500)));
        let due: Vec<u64> = [0, 249, 250, 1000, 9000].map(|ms| schedule.due_by(at(ms))).to_vec();
        assert_eq!(due, [1, 1, 2, 5, 8]);
    }
}
