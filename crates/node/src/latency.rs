//! How long requests take, for decisions: when a read is slow (hedging), and how much background work the foreground bears.

use std::sync::atomic::{AtomicU64, Ordering};

use dynamo_transfer::Watch;

/// Counts of latencies, sixteen buckets an octave: a quantile is told within a sixteenth.
struct Counts([AtomicU64; Counts::BUCKETS]);

impl Default for Counts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Counts {
    const BUCKETS: usize = 512;

    fn record(&self, us: u64) {
        self.0[Self::bucket(us)].fetch_add(1, Ordering::Relaxed);
    }

    fn bucket(us: u64) -> usize {
        let us = us.max(16);
        let octave = us.ilog2() as usize;
        let part = (us >> (octave - 4)) as usize & 15;
        ((octave - 4) * 16 + part).min(Self::BUCKETS - 1)
    }

    /// The upper end of a bucket.
    fn upper(bucket: usize) -> u64 {
        (17 + (bucket % 16) as u64) << (bucket / 16)
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// How many took longer, or nearly so long: to a sixteenth.
    fn above(&self, us: u64) -> u64 {
        self.0[Self::bucket(us)..].iter().skip(1).map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// What is not exceeded by more than so many.
    fn exceeded_by(&self, most: u64) -> u64 {
        let mut slower = 0;
        let found = self.0.iter().rposition(|bucket| {
            slower += bucket.load(Ordering::Relaxed);
            slower > most
        });
        found.map_or(0, Self::upper)
    }

    /// Forgets all but one of `keep` (0: all).
    fn forget(&self, keep: u64) {
        for bucket in &self.0 {
            let count = bucket.load(Ordering::Relaxed);
            bucket.fetch_sub(count - count.checked_div(keep).unwrap_or(0), Ordering::Relaxed);
        }
    }
}

/// Latencies that are forgotten: halved at each reading.
#[derive(Default)]
pub struct Quantiles(Counts);

impl Quantiles {
    const ENOUGH: u64 = 100;

    /// One more.
    pub fn record(&self, us: u64) {
        self.0.record(us);
    }

    /// A quantile of the recent ones, microseconds, if there were enough to tell.
    pub fn take(&self, quantile: f64) -> Option<u64> {
        let total = self.0.total();
        let slower = total - (total as f64 * quantile) as u64;
        let us = self.0.exceeded_by(slower.saturating_sub(1));
        self.0.forget(2);
        (total >= Self::ENOUGH).then_some(us)
    }
}

/// How the requests fared in a stretch of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fared {
    /// There were too few to tell yet; they are counted on.
    NotKnown,
    /// There were none, or next to none.
    Silent,
    /// Their 99th percentile, microseconds.
    P99(u64),
}

/// The requests of one stretch after the other. The 99th percentile of a hundred requests is their slowest, and says more
/// of chance than of the node: a stretch lasts until there are enough, as long as there are any.
#[derive(Default)]
pub struct Foreground {
    counts: Counts,
    began_us: AtomicU64,
}

impl Foreground {
    /// So many end a stretch: the percentile is the sixth slowest of them, and differs by a tenth from one to the next.
    const ENOUGH: u64 = 500;
    /// A stretch's greatest length, microseconds.
    const STRETCH_US: u64 = 10_000_000;
    /// Fewer in a stretch of that length are nobody whom background work could be in the way of.
    const FEW: u64 = 20;
    /// Without a single request for so long there is no foreground, microseconds.
    const SILENCE_US: u64 = 2_000_000;

    /// How many of so many may be slower than what is told: as many as of a whole stretch, for the third slowest of three hundred
    /// differs by far from one stretch to the next, and whoever yields to that yields to chance; but no more than a tenth of all.
    fn slowest_of_few(total: u64) -> u64 {
        (Self::ENOUGH / 100).min(total / 10)
    }

    /// One more.
    pub fn record(&self, us: u64) {
        self.counts.record(us);
    }

    /// What can be told at this moment, if it is what is waited for; what was told is forgotten.
    pub fn look(&self, watch: Watch, now_us: u64) -> Fared {
        let lasted = now_us.saturating_sub(self.began_us.load(Ordering::Relaxed));
        let (total, long) = (self.counts.total(), lasted >= Self::STRETCH_US);
        // So many of a whole stretch may take longer than the percentile: with more it is above already.
        let harmed = |us| self.counts.above(us) > Self::ENOUGH / 100;
        let fared = match (total, watch) {
            (0, _) if lasted >= Self::SILENCE_US => Fared::Silent,
            (Self::ENOUGH.., _) => Fared::P99(self.counts.exceeded_by(total / 100)),
            (_, Watch::Harm(us)) if harmed(us) => Fared::P99(self.counts.exceeded_by(Self::ENOUGH / 100)),
            (Self::FEW.., Watch::Traffic) => Fared::P99(self.counts.exceeded_by(0)),
            (Self::FEW.., _) if long => Fared::P99(self.counts.exceeded_by(Self::slowest_of_few(total))),
            _ if long => Fared::Silent,
            _ => return Fared::NotKnown,
        };
        self.counts.forget(0);
        self.began_us.store(now_us, Ordering::Relaxed);
        fared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_quantile_is_within_a_sixteenth() {
        for most in [10, 100, 1_000, 10_000, 1_000_000] {
            let quantiles = Quantiles::default();
            (0..10_000).for_each(|number| quantiles.record(number * most / 10_000));
            let p95 = quantiles.take(0.95).unwrap();
            assert!((most * 95 / 100..=(most * 102 / 100).max(17)).contains(&p95), "{p95} of {most}");
        }
    }

    #[test]
    fn what_is_beyond_all_bounds_is_in_the_last_bucket() {
        let quantiles = Quantiles::default();
        (0..100).for_each(|_| quantiles.record(u64::MAX));
        assert!(quantiles.take(0.95).unwrap() > 60 * SECOND);
    }

    #[test]
    fn too_few_samples_give_no_quantile() {
        let quantiles = Quantiles::default();
        quantiles.record(5);
        assert_eq!(quantiles.take(0.95), None);
    }

    #[test]
    fn old_samples_are_forgotten() {
        let quantiles = Quantiles::default();
        (0..10_000).for_each(|_| quantiles.record(1_000_000));
        for _ in 0..20 {
            quantiles.take(0.95);
            (0..200).for_each(|_| quantiles.record(100));
        }
        assert!(quantiles.take(0.95).unwrap() < 200);
    }

    /// A second with so many requests, of which each hundredth is slow.
    fn second(foreground: &Foreground, now: &mut u64, requests: u64, slow: u64) -> Fared {
        (0..requests).for_each(|number| foreground.record(if number % 50 == 49 { slow } else { 1_000 }));
        *now += SECOND;
        foreground.look(Watch::Quiet, *now)
    }

    #[test]
    fn many_requests_are_told_each_second_and_few_once_there_are_enough() {
        let (foreground, mut now) = (Foreground::default(), 0);
        let slow = |fared: Fared, us: u64| matches!(fared, Fared::P99(p99) if p99 >= us && p99 <= us * 17 / 16);
        assert!(slow(second(&foreground, &mut now, 1_000, 8_000), 8_000));
        // What was told is forgotten.
        assert!(slow(second(&foreground, &mut now, 1_000, 3_000), 3_000));
        for _ in 0..4 {
            assert_eq!(second(&foreground, &mut now, 100, 5_000), Fared::NotKnown);
        }
        assert!(slow(second(&foreground, &mut now, 100, 5_000), 5_000));
    }

    #[test]
    fn few_requests_still_count_and_next_to_none_do_not() {
        let (foreground, mut now) = (Foreground::default(), 0);
        let told: Vec<Fared> = (0..20).map(|_| second(&foreground, &mut now, 3, 0)).collect();
        let known = told.iter().filter(|fared| matches!(fared, Fared::P99(_))).count();
        assert_eq!((known, told.contains(&Fared::Silent)), (2, false), "{told:?}");
        let told: Vec<Fared> = (0..10).map(|_| second(&foreground, &mut now, 1, 0)).collect();
        assert_eq!(told.last(), Some(&Fared::Silent));
    }

    #[test]
    fn of_few_requests_no_more_are_left_out_than_of_many() {
        let told = |requests: u64, slow: u64| {
            let foreground = Foreground::default();
            (0..requests).for_each(|number| foreground.record(if number < slow { 9_000 } else { 1_000 }));
            match foreground.look(Watch::Quiet, 10 * SECOND) {
                Fared::P99(us) => us >= 9_000,
                fared => panic!("{fared:?}"),
            }
        };
        for (requests, most) in [(20, 2), (40, 4), (300, 5), (499, 5), (500, 5)] {
            assert_eq!((told(requests, most), told(requests, most + 1)), (false, true), "{requests}");
        }
    }

    #[test]
    fn silence_is_told_soon() {
        let (foreground, mut now) = (Foreground::default(), 0);
        assert!(matches!(second(&foreground, &mut now, 600, 0), Fared::P99(_)));
        assert_eq!(second(&foreground, &mut now, 0, 0), Fared::NotKnown);
        assert_eq!(second(&foreground, &mut now, 0, 0), Fared::Silent);
    }

    #[test]
    fn harm_is_told_as_soon_as_it_is_certain() {
        let (foreground, mut now) = (Foreground::default(), 0);
        let mut tenth = |slow: u64| {
            (0..10).for_each(|number| foreground.record(if number < slow { 9_000 } else { 1_000 }));
            now += SECOND / 10;
            foreground.look(Watch::Harm(5_000), now)
        };
        // Five of five hundred may be.
        assert_eq!((tenth(1), tenth(4)), (Fared::NotKnown, Fared::NotKnown));
        assert!(matches!(tenth(1), Fared::P99(9_000..10_000)));
        assert_eq!(tenth(0), Fared::NotKnown, "it begins anew");
        let told: Vec<Fared> = (0..100).map(|_| tenth(0)).filter(|fared| *fared != Fared::NotKnown).collect();
        assert!(matches!(told[..], [Fared::P99(1_000..1_100), Fared::P99(1_000..1_100)]), "{told:?}");
    }

    #[test]
    fn after_a_silence_the_first_requests_are_told() {
        let foreground = Foreground::default();
        (0..19).for_each(|_| foreground.record(700));
        assert_eq!(foreground.look(Watch::Traffic, SECOND), Fared::NotKnown);
        foreground.record(8_000);
        assert!(matches!(foreground.look(Watch::Traffic, SECOND), Fared::P99(8_000..9_000)));
    }
}
