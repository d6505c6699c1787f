//! The controller against a foreground that suffers from background work as a model says (§6.5).

use dynamo_transfer::{Class, SliceSettings, Slices};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000;
const PIECE: u64 = MIB / 8;
const SETTINGS: SliceSettings = SliceSettings {
    p99_target_us: 50_000,
    bearable_percent: 125,
    window_us: SECOND / 2,
    rate_min_bytes_per_s: MIB,
    rate_max_bytes_per_s: 128 * MIB,
    increase_bytes_per_s: MIB,
    decrease_to_percent: 50,
    busy_permille_max: 1000,
    burst_bytes: 2 * MIB,
    weights: [4, 4, 2, 1, 1],
};

/// A machine whose foreground has a percentile of `quiet_us`, which doubles with each `bears` bytes per second of background work.
struct Machine {
    slices: Slices,
    now: u64,
    quiet_us: u64,
    bears: u64,
    /// Seconds until there were enough requests for a sample.
    sample_s: u64,
    moved_since_sample: u64,
}

impl Machine {
    fn new(quiet_us: u64, bears: u64) -> Machine {
        Machine { slices: Slices::new(SETTINGS, 0), now: 0, quiet_us, bears, sample_s: 1, moved_since_sample: 0 }
    }

    /// A second in which as much is moved as is allowed, if anything is to be; how much that was.
    fn second(&mut self, work: bool) -> u64 {
        let mut moved = 0;
        for _ in 0..100 {
            self.now += SECOND / 100;
            while work && self.slices.take(Class::Transfers, PIECE, self.now) {
                moved += PIECE;
            }
        }
        self.moved_since_sample += moved;
        if (self.now / SECOND).is_multiple_of(self.sample_s) {
            let a_second = std::mem::take(&mut self.moved_since_sample) / self.sample_s;
            let p99 = self.quiet_us + self.quiet_us * a_second / self.bears;
            self.slices.on_sample(Some(p99), None, self.now);
        }
        moved
    }

    fn seconds(&mut self, count: u64, work: bool) -> u64 {
        (0..count).map(|_| self.second(work)).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// What it takes is about what the foreground bears, found within a minute: neither far more nor next to nothing.
    #[test]
    fn background_work_finds_what_the_foreground_bears(quiet_us in 1_000u64..30_000, bears in 8 * MIB..800 * MIB) {
        let mut machine = Machine::new(quiet_us, bears);
        machine.seconds(20, false);
        machine.seconds(60, true);
        let a_second = machine.seconds(88, true) / 88;
        let bearable = (bears / 4).clamp(MIB, SETTINGS.rate_max_bytes_per_s);
        prop_assert!(a_second <= bearable * 13 / 10 + 4 * MIB, "{a_second} of {bearable}");
        prop_assert!(a_second >= bearable * 4 / 10, "{a_second} of {bearable}");
    }

    /// With some tens of requests a second a percentile takes ten seconds: what is borne is found in minutes all the same.
    #[test]
    fn where_requests_are_few_it_is_found_in_larger_steps(quiet_us in 1_000u64..30_000, bears in 64 * MIB..800 * MIB) {
        let mut machine = Machine::new(quiet_us, bears);
        machine.sample_s = 10;
        machine.seconds(40, false);
        machine.seconds(120, true);
        let a_second = machine.seconds(300, true) / 300;
        let bearable = (bears / 4).clamp(MIB, SETTINGS.rate_max_bytes_per_s);
        prop_assert!(a_second <= bearable * 13 / 10 + 4 * MIB, "{a_second} of {bearable}");
        prop_assert!(a_second >= bearable * 2 / 10, "{a_second} of {bearable}");
    }

    /// A join of hours: requests become slower by themselves meanwhile. What is bearable is measured anew, and work goes on.
    #[test]
    fn what_is_bearable_follows_the_load_of_the_day(quiet_us in 1_000u64..8_000) {
        let mut machine = Machine::new(quiet_us, 200 * MIB);
        machine.seconds(20, false);
        machine.seconds(120, true);
        machine.quiet_us *= 4;
        machine.seconds(300, true);
        let a_second = machine.seconds(88, true) / 88;
        prop_assert!(a_second >= 16 * MIB, "{a_second} a second");
        prop_assert!(machine.slices.state(machine.now).target_us >= 4 * quiet_us, "it still holds what was in the morning");
    }
}

#[test]
fn nothing_is_worse_than_the_configured_target() {
    let mut machine = Machine::new(80_000, 1_000 * MIB);
    machine.seconds(20, false);
    assert_eq!(machine.slices.state(machine.now).target_us, SETTINGS.p99_target_us);
    let moved = machine.seconds(120, true);
    assert!(
        moved <= 120 * MIB + SETTINGS.burst_bytes + MIB,
        "{moved}: the least rate, for the foreground is always over it"
    );
    assert!(moved >= 110 * MIB, "{moved}: it ends some day");
}

#[test]
fn work_begins_gently_and_rests_now_and_then() {
    let mut machine = Machine::new(2_000, 10_000 * MIB);
    machine.seconds(20, false);
    let first = machine.second(true);
    assert!(first <= MIB + SETTINGS.burst_bytes + PIECE, "{first} in the first second");
    let rows: Vec<u64> = (0..200).map(|_| machine.second(true)).collect();
    let rests = rows.windows(2).filter(|pair| pair[1] <= 2 * MIB && pair[0] > 8 * MIB).count();
    assert!((3..=6).contains(&rests), "{rests} rests in 200 s: {rows:?}");
    // A hundred looks a second, each at most a transfers' part of the burst.
    assert!(rows.iter().max() >= Some(&(60 * MIB)), "what is borne is used");
}
