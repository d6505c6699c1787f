//! Background work stays within its rate, yields to the foreground, and no class of it starves (§6.5).

use dynamo_transfer::{CLASSES, Class, SliceSettings, Slices};
use proptest::{collection::vec, option, prelude::*, sample::select};

const TARGET: u64 = 10_000;
const SETTINGS: SliceSettings = SliceSettings {
    p99_target_us: TARGET,
    // Only the configured target counts, but for the tests of what is learnt.
    bearable_percent: u32::MAX,
    window_us: 100_000,
    rate_min_bytes_per_s: 1_000,
    rate_max_bytes_per_s: 1_000_000,
    increase_bytes_per_s: 50_000,
    decrease_to_percent: 50,
    busy_permille_max: 900,
    burst_bytes: 20_025,
    weights: [400, 200, 100, 100, 1],
};
const PIECE: u64 = 5_000;

#[derive(Clone, Debug)]
enum Op {
    Take(Class, u64),
    Sample(Option<u64>, Option<u32>),
}

fn class() -> impl Strategy<Value = Class> {
    select(Class::ALL.to_vec())
}

fn ops() -> impl Strategy<Value = Vec<(u64, Op)>> {
    let op = prop_oneof![
        8 => (class(), 0..=PIECE).prop_map(|(class, bytes)| Op::Take(class, bytes)),
        1 => (option::of(0..2 * TARGET), option::of(0u32..1_000)).prop_map(|(p99, busy)| Op::Sample(p99, busy)),
    ];
    vec((select(vec![0, 1, 10, 1_000, 30_000, 1_000_000]), op), 1..200)
}

fn rate(slices: &Slices, now: u64) -> u64 {
    slices.state(now).rate_bytes_per_s
}

/// A sample at a moment when more is wanted than may be had.
fn sample(slices: &mut Slices, p99: Option<u64>, busy: Option<u32>, now: u64) {
    while slices.take(Class::Transfers, PIECE, now) {}
    slices.on_sample(p99, busy, now);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn in_no_span_of_time_more_is_taken_than_the_rate_and_the_burst_allow(ops in ops()) {
        let (mut slices, mut now) = (Slices::new(SETTINGS, 0), 0);
        // In byte-microseconds: what was taken beyond what the rate allowed so far, and the least that this ever was. Its rise
        // from there is the worst of all spans that end now.
        let (mut ahead, mut least, mut taken) = (0i128, 0i128, 0);
        for (elapsed, op) in ops {
            ahead -= i128::from(elapsed) * i128::from(rate(&slices, now));
            least = least.min(ahead);
            now += elapsed;
            match op {
                Op::Sample(p99, busy) => slices.on_sample(p99, busy, now),
                Op::Take(class, bytes) if slices.take(class, bytes, now) => {
                    taken += bytes;
                    ahead += i128::from(bytes) * 1_000_000;
                    let most = i128::from(SETTINGS.burst_bytes + 5 * PIECE + 1) * 1_000_000;
                    prop_assert!(ahead - least <= most, "{} more than the rate allows", (ahead - least) / 1_000_000);
                }
                Op::Take(..) => {}
            }
        }
        let by_class: u64 = slices.state(now).classes.iter().map(|class| class.taken_bytes).sum();
        prop_assert_eq!(by_class, taken);
    }

    #[test]
    fn the_rate_falls_while_the_foreground_suffers_and_rises_when_it_is_well(
        samples in vec((option::of(0..2 * TARGET), 0u32..1_000, 0u64..250_000), 1..30),
    ) {
        let (mut slices, mut now) = (Slices::new(SETTINGS, 0), 0);
        let (mut with_traffic, mut changed_at, mut worst) = (SETTINGS.rate_min_bytes_per_s, 0, 0);
        for (p99, busy, elapsed) in samples {
            now += elapsed;
            sample(&mut slices, p99, Some(busy), now);
            let Some(p99) = p99 else {
                prop_assert_eq!(rate(&slices, now), SETTINGS.rate_max_bytes_per_s);
                continue;
            };
            worst = p99.max(worst);
            let seen = rate(&slices, now);
            let (min, max) = (SETTINGS.rate_min_bytes_per_s, SETTINGS.rate_max_bytes_per_s);
            prop_assert!((min..=max).contains(&seen));
            if now < changed_at + SETTINGS.window_us {
                prop_assert_eq!(seen, with_traffic, "once a window, and as before the pause");
                continue;
            }
            if worst > TARGET {
                prop_assert!(seen < with_traffic || seen == min);
                prop_assert!(seen >= with_traffic / 2, "no faster than it is told to");
            } else if busy <= SETTINGS.busy_permille_max {
                prop_assert!(seen > with_traffic || seen == max);
            } else {
                prop_assert_eq!(seen, with_traffic);
            }
            (with_traffic, changed_at, worst) = (seen, now, 0);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Some ask all the time, some only when they were told that they may.
    #[test]
    fn each_class_that_wants_something_gets_its_share_of_all_there_is(
        weights in [1u32..9, 1u32..9, 1u32..9, 1u32..9, 1u32..9],
        wants in vec((any::<bool>(), any::<bool>()), CLASSES),
        p99 in option::of(Just(TARGET)),
    ) {
        let settings = SliceSettings { weights, rate_min_bytes_per_s: 100_000, ..SETTINGS };
        let (mut slices, mut taken, mut next) = (Slices::new(settings, 0), [0u64; CLASSES], [0u64; CLASSES]);
        slices.on_sample(p99, None, settings.window_us);
        let (from, until) = (settings.window_us, settings.window_us + 5_000_000);
        let whole: u64 = wants.iter().zip(weights).filter(|((wants, _), _)| *wants).map(|(_, weight)| u64::from(weight)).sum();
        let rate = rate(&slices, from);
        for now in (from..until).step_by(1_000) {
            for class in Class::ALL {
                let (wants, greedy) = wants[class as usize];
                if !wants || (!greedy && now < next[class as usize]) {
                    continue;
                }
                if slices.take(class, PIECE, now) {
                    taken[class as usize] += PIECE;
                } else {
                    next[class as usize] = slices.allowed_at(class, now);
                }
            }
        }
        for class in Class::ALL {
            let (wants, _) = wants[class as usize];
            if !wants {
                continue;
            }
            let share = 5 * rate * u64::from(weights[class as usize]) / whole;
            let got = taken[class as usize];
            prop_assert!(got + 2 * PIECE >= share * 95 / 100, "{:?} got {} of {}", class, got, share);
        }
    }
}

#[test]
fn without_foreground_traffic_it_is_full_speed_and_afterwards_as_before() {
    let mut slices = Slices::new(SETTINGS, 0);
    sample(&mut slices, Some(1), None, 100_000);
    assert_eq!(rate(&slices, 100_000), 51_000);
    sample(&mut slices, None, None, 110_000);
    assert_eq!(rate(&slices, 110_000), 1_000_000);
    sample(&mut slices, Some(TARGET), None, 120_000);
    assert_eq!(rate(&slices, 120_000), 51_000);
    sample(&mut slices, Some(TARGET + 1), None, 200_000);
    assert_eq!((rate(&slices, 200_000), slices.state(200_000).p99_us), (25_500, Some(TARGET + 1)));
}

#[test]
fn one_bad_moment_within_a_window_counts() {
    let mut slices = Slices::new(SETTINGS, 0);
    sample(&mut slices, Some(1), None, 100_000);
    sample(&mut slices, Some(TARGET + 1), None, 150_000);
    sample(&mut slices, Some(1), None, 200_000);
    assert_eq!(rate(&slices, 200_000), 25_500);
}

#[test]
fn a_class_that_is_told_when_it_may_may_then() {
    let mut slices = Slices::new(SETTINGS, 0);
    assert!(slices.take(Class::Scrub, 1_000_000, 0), "a piece goes whole, however large");
    assert!(!slices.take(Class::Scrub, 1, 10));
    let at = slices.allowed_at(Class::Scrub, 10);
    // 997,500 bytes too many, at 1,000 a second.
    assert_eq!(at / 1_000_000, 997);
    assert!(!slices.take(Class::Scrub, 1, at - 10));
    assert!(slices.take(Class::Scrub, 1, at));
}

/// Takes all reserves, one class after the other.
fn drained(now: u64) -> Slices {
    let mut slices = Slices::new(SETTINGS, now);
    for (class, reserve) in Class::ALL.into_iter().zip([10_000, 5_000, 2_500, 2_500, 25]) {
        assert!(slices.take(class, reserve, now) && !slices.take(class, 1, now));
        // Asked for, and then not wanted any more: what is given back stops the waiting.
        slices.give_back(class, 1);
        assert!(slices.take(class, 1, now));
    }
    slices
}

#[test]
fn a_class_that_was_refused_and_asks_rarely_is_not_forgotten() {
    let mut slices = drained(0);
    assert!(!slices.take(Class::Scrub, 1, 0));
    for now in (1_000..10_000_000).step_by(1_000) {
        slices.take(Class::Hints, 1, now);
    }
    // A fifth of 1,000 a second for ten seconds.
    assert!(slices.take(Class::Scrub, 1_900, 10_000_000) && slices.take(Class::Scrub, 1, 10_000_000));
}

#[test]
fn who_wants_something_goes_before_those_that_rest() {
    let mut slices = drained(0);
    assert!(slices.take(Class::Hints, 999, 1_000_000) && slices.take(Class::Hints, 1, 1_000_000));
    assert!(!slices.take(Class::Hints, 1, 1_000_000));
}

#[test]
fn what_one_has_no_room_for_is_for_the_others() {
    let mut slices = drained(0);
    // Hints and the others together have room for 20,000, hints for half of it.
    assert!(slices.take(Class::Hints, 10_000, 100_000_000) && !slices.take(Class::Hints, 1, 100_000_000));
    assert!(slices.take(Class::Scrub, 2_500, 100_000_000) && !slices.take(Class::Scrub, 1, 100_000_000));
}

#[test]
fn with_others_waiting_it_takes_longer_and_is_told_so() {
    let mut slices = drained(0);
    slices.give_back(Class::Scrub, 1);
    assert!(slices.take(Class::Scrub, 1_001, 0) && !slices.take(Class::Hints, 1, 0));
    let at = slices.allowed_at(Class::Scrub, SETTINGS.window_us);
    // 1,000 bytes too many, of which a fifth of 1,000 a second are paid off.
    assert_eq!(at / 100_000, 50);
    assert!(!slices.take(Class::Scrub, 1, at - 10) && slices.take(Class::Scrub, 1, at));
}

#[test]
fn the_rate_stops_at_its_greatest() {
    let mut slices = Slices::new(SETTINGS, 0);
    (1..30).for_each(|window| sample(&mut slices, Some(1), None, window * SETTINGS.window_us));
    assert_eq!(rate(&slices, 0), SETTINGS.rate_max_bytes_per_s);
}

#[test]
fn a_class_with_a_rate_of_its_own_is_told_its_part_and_counts_like_the_others() {
    let mut slices = Slices::new(SETTINGS, 1_000);
    let alone = slices.paced(Class::Hints, 0, 1_000);
    assert_eq!(alone, rate(&slices, 1_000), "nobody else wants anything");
    slices.take(Class::Scrub, 1, 1_000);
    let part = slices.paced(Class::Hints, 0, 1_001);
    assert!(0 < part && part < alone, "{part} of {alone}");
    let before = slices.state(1_001).classes[Class::Hints as usize].taken_bytes;
    slices.paced(Class::Hints, 1 << 20, 1_002);
    assert_eq!(slices.state(1_002).classes[Class::Hints as usize].taken_bytes, before + (1 << 20));
    assert!(!slices.take(Class::Hints, 1, 1_003), "what it moved by itself is paid off like a piece");
}

#[test]
fn what_was_not_moved_can_be_given_back() {
    let mut slices = Slices::new(SETTINGS, 0);
    assert!(slices.take(Class::Hints, 10_000, 0));
    assert!(!slices.take(Class::Hints, 1, 0));
    slices.give_back(Class::Hints, 9_000);
    assert_eq!(slices.state(0).classes[0].taken_bytes, 1_000);
    assert!(slices.take(Class::Hints, 9_000, 0));
    slices.give_back(Class::Hints, 1 << 40);
    assert!(slices.take(Class::Hints, 10_000, 0) && !slices.take(Class::Hints, 1, 0), "no more than the burst");
}

#[test]
fn what_could_not_wait_is_paid_off_before_anything_else() {
    let mut slices = Slices::new(SETTINGS, 0);
    assert!(slices.take(Class::Transfers, 5_000, 0), "all of its part of the burst");
    slices.owe(Class::Transfers, 2_000, 0);
    assert_eq!(slices.state(0).classes[1].taken_bytes, 7_000);
    // 1,000 bytes a second, nobody else wants any.
    assert!(!slices.take(Class::Transfers, 1, 1_990_000));
    assert!(slices.take(Class::Transfers, 1, 2_010_000));
}

#[test]
fn the_state_says_who_has_what_part_of_the_rate() {
    let mut slices = Slices::new(SETTINGS, 0);
    slices.on_sample(None, None, 0);
    slices.take(Class::Hints, 1, 0);
    slices.take(Class::Scrub, 1, 0);
    let parts = slices.state(10).classes.map(|class| (class.active, class.rate_bytes_per_s));
    assert_eq!(parts, [(true, 800_000), (false, 0), (false, 0), (true, 200_000), (false, 0)]);
    let parts = slices.state(SETTINGS.window_us).classes.map(|class| class.active);
    assert_eq!(parts, [false; CLASSES], "who has not asked for a while wants nothing");
}

#[test]
fn senseless_settings_are_made_sense_of() {
    let senseless = SliceSettings {
        rate_min_bytes_per_s: 0,
        rate_max_bytes_per_s: 0,
        burst_bytes: 0,
        weights: [0; CLASSES],
        decrease_to_percent: 200,
        ..SETTINGS
    };
    let mut slices = Slices::new(senseless, 0);
    slices.on_sample(Some(u64::MAX), None, u64::MAX);
    assert_eq!(rate(&slices, u64::MAX), 1);
    assert!(slices.take(Class::Scrub, u64::MAX, u64::MAX) && !slices.take(Class::Scrub, 1, u64::MAX));
    assert_eq!(slices.allowed_at(Class::Scrub, u64::MAX), u64::MAX);
}

#[test]
fn a_rate_that_nobody_would_have_used_does_not_grow() {
    let mut slices = Slices::new(SETTINGS, 0);
    for window in 1..30 {
        slices.on_sample(Some(1), None, window * SETTINGS.window_us);
    }
    assert_eq!(rate(&slices, 0), SETTINGS.rate_min_bytes_per_s);
}
