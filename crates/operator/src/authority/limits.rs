//! How often somebody may ask: a bucket of tokens for each. Sans clock.

use std::{collections::BTreeMap, time::Duration};

/// So many are remembered; of more, those that have asked least lately are forgotten.
const REMEMBERED_MAX: usize = 4096;

/// Buckets by name.
#[derive(Debug)]
pub struct Limits {
    burst: f64,
    every: Duration,
    buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Duration,
}

impl Limits {
    /// So many at once, and then one each `every`.
    pub fn new(burst: u32, every: Duration) -> Limits {
        Limits { burst: f64::from(burst), every, buckets: BTreeMap::new() }
    }

    /// Whether this one may ask now; `now` counts from any moment.
    pub fn take(&mut self, who: &str, now: Duration) -> bool {
        if self.buckets.len() >= REMEMBERED_MAX && !self.buckets.contains_key(who) {
            self.forget(now);
        }
        let full = Bucket { left: self.burst, at: now };
        let bucket = self.buckets.entry(who.to_owned()).or_insert(full);
        let gained = now.saturating_sub(bucket.at).as_secs_f64() / self.every.as_secs_f64();
        bucket.left = (bucket.left + gained).min(self.burst);
        bucket.at = now.max(bucket.at);
        if bucket.left < 1.0 {
            return false;
        }
        bucket.left -= 1.0;
        true
    }

    /// Those whose buckets are full again are as if they had never asked. If there is none, the one that is longest silent
    /// goes.
    fn forget(&mut self, now: Duration) {
        let (burst, every) = (self.burst, self.every);
        self.buckets.retain(|_, bucket| {
            bucket.left + now.saturating_sub(bucket.at).as_secs_f64() / every.as_secs_f64() < burst
        });
        if self.buckets.len() >= REMEMBERED_MAX {
            let silent = self.buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(who, _)| who.clone());
            silent.and_then(|who| self.buckets.remove(&who));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn second(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn a_burst_is_let_through_and_then_one_at_a_time() {
        let mut limits = Limits::new(3, second(10));
        let taken: Vec<bool> = (0..4).map(|_| limits.take("a", second(0))).collect();
        assert_eq!(taken, [true, true, true, false]);
        assert!(limits.take("b", second(0)), "each has a bucket of its own");
        assert!(!limits.take("a", second(9)));
        assert!(limits.take("a", second(11)) && !limits.take("a", second(12)));
        assert!(
            (0..3).all(|_| limits.take("a", second(1000))) && !limits.take("a", second(1000)),
            "never over a burst"
        );
    }

    #[test]
    fn many_that_ask_once_do_not_fill_the_memory_nor_free_who_asks_all_the_time() {
        let mut limits = Limits::new(1, second(1_000_000));
        assert!(limits.take("often", second(0)));
        for number in 0..2 * REMEMBERED_MAX {
            assert!(!limits.take("often", second(number as u64)));
            limits.take(&number.to_string(), second(number as u64));
        }
        assert!(limits.buckets.len() <= REMEMBERED_MAX);
    }
}
