//! An exchange finds exactly the keys that differ, whatever the stores are and whatever is written meanwhile (§4.7).

mod support;

use dynamo_merkle::{Cursor, DEPTH_MAX, Ending, Key, Reason, Settings, Shape};
use proptest::{collection, prelude::*, sample::Index};
use support::{Exchange, Store, compare_roots, exchange, hash, key, plain_diff};

/// What one key is at the two replicas: bits of its states, 0 for none.
fn stores() -> impl Strategy<Value = (Store, Store)> {
    let state = || prop_oneof![2 => Just(0u32), 3 => 1u32..4];
    let one = prop_oneof![(state(), state()), (1u32..4).prop_map(|state| (state, state))];
    let keys = prop_oneof![1 => 0usize..4, 3 => 4usize..60, 2 => 60usize..400];
    let states = keys.prop_flat_map(move |keys| collection::vec(one.clone(), keys));
    let depth = prop_oneof![12 => 1u8..=3, 1 => Just(4)];
    (depth, states).prop_map(|(depth, states)| {
        let shape = Shape::new(depth).expect("a depth in range");
        let side = |pick: fn(&(u32, u32)) -> u32| {
            let states = states.iter().map(pick).enumerate().filter(|(_, state)| *state != 0);
            Store::with(shape, states.map(|(number, state)| (key(number), state)))
        };
        (side(|states| states.0), side(|states| states.1))
    })
}

/// From the least that is possible to the default.
fn settings() -> impl Strategy<Value = Settings> {
    let bounds = prop_oneof![Just((1, 1, 1)), (1usize..9, 1usize..9, 1usize..100), Just((64, 1024, 64 << 10))];
    bounds.prop_map(|(nodes_max, entries_max, keys_bytes_max)| Settings {
        nodes_max,
        entries_max,
        keys_bytes_max,
        requests_max: u32::MAX,
        ..Settings::new(hash)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn exactly_the_differing_keys_are_found_and_both_sides_end_with_the_join(
        (mut mine, mut theirs) in stores(),
        settings in settings(),
    ) {
        let expected = plain_diff(&mine, &theirs);
        let report = exchange(&mut mine, &mut theirs, settings);
        prop_assert_eq!(report.ending, Some(Ending::Complete));
        prop_assert!(report.wanted.iter().all(|found| found.theirs.is_some()));
        prop_assert!(report.offered.iter().all(|found| found.mine.is_some()));
        let wanted = expected.iter().filter(|found| found.theirs.is_some()).count();
        let offered = expected.iter().filter(|found| found.mine.is_some()).count();
        prop_assert_eq!((report.wanted.len(), report.offered.len()), (wanted, offered));
        prop_assert_eq!(report.found(), expected);
        prop_assert_eq!(&mine, &theirs);
    }

    #[test]
    fn with_writes_at_every_step_it_ends_and_a_quiet_one_makes_both_equal(
        (mut mine, mut theirs) in stores(),
        settings in settings(),
        writes in collection::vec((any::<bool>(), 0usize..400, 0u32..256), 1..40),
    ) {
        let keys = mine.len() + theirs.len();
        let mut exchange_under_way = Exchange::new(0, settings, Cursor::default(), &mine);
        let mut steps = 0;
        while exchange_under_way.step(&mut mine, &mut theirs) {
            let (at_mine, number, state) = writes[steps % writes.len()];
            let store = if at_mine { &mut mine } else { &mut theirs };
            match state {
                0 => store.remove(&key(number)),
                state => store.merge(&key(number), state),
            }
            steps += 1;
        }
        prop_assert_eq!(exchange_under_way.report.ending, Some(Ending::Complete));
        // Each node and key costs a few steps at the most, however small the messages are.
        let nodes = (keys + writes.len()) * usize::from(mine.tree.shape().depth());
        prop_assert!(steps <= 40 + 20 * nodes, "{} steps for {} keys", steps, keys);
        exchange(&mut mine, &mut theirs, settings);
        prop_assert_eq!(&mine, &theirs);
    }

    #[test]
    fn after_a_lost_connection_only_what_is_left_is_found(
        (mut mine, mut theirs) in stores(),
        settings in settings(),
        cut in any::<Index>(),
        from_cursor in any::<bool>(),
    ) {
        let uncut = exchange(&mut mine.clone(), &mut theirs.clone(), settings);
        let mut first = Exchange::new(0, settings, Cursor::default(), &mine);
        for _ in 0..cut.index(4 * (uncut.requests + uncut.reads) + 1) {
            first.step(&mut mine, &mut theirs);
        }
        let from = if from_cursor { first.initiator.cursor().clone() } else { Cursor::default() };
        let left = plain_diff(&mine, &theirs);
        let second = Exchange::new(1, settings, from, &mine).run(&mut mine, &mut theirs);
        prop_assert_eq!(second.found(), left);
        prop_assert_eq!(&mine, &theirs);
        // What was merged already is compared once more where its leaf still differs, and small pages fall otherwise.
        let most = 2 * uncut.requests + first.report.wanted.len();
        prop_assert!(second.requests <= most, "{} requests instead of {}", second.requests, uncut.requests);
    }

    #[test]
    fn both_sides_may_ask_at_once((mut mine, mut theirs) in stores(), settings in settings()) {
        let mut there = Exchange::new(0, settings, Cursor::default(), &mine);
        let mut back = Exchange::new(0, settings, Cursor::default(), &theirs);
        while there.step(&mut mine, &mut theirs) | back.step(&mut theirs, &mut mine) {}
        prop_assert_eq!(&mine, &theirs);
    }

    #[test]
    fn a_bound_on_requests_pauses_it_and_it_goes_on_where_it_was(
        (mut mine, mut theirs) in stores(),
        settings in settings(),
        requests_max in 0u32..9,
    ) {
        let bounded = Settings { requests_max, ..settings };
        // A request for each level, and then one more, get anywhere.
        let requests_max = requests_max.max(u32::from(DEPTH_MAX) + 1);
        let mut from = Cursor::default();
        for number in 0.. {
            let mut part = Exchange::new(number, bounded, from.clone(), &mine);
            while part.step(&mut mine, &mut theirs) {}
            prop_assert!(part.report.requests <= requests_max as usize);
            if part.report.ending == Some(Ending::Complete) {
                break;
            }
            prop_assert_eq!(part.report.ending, Some(Ending::Paused));
            let cursor = part.initiator.cursor().clone();
            prop_assert!((cursor.leaf, &cursor.after) > (from.leaf, &from.after), "{:?}", cursor);
            from = cursor;
        }
        prop_assert_eq!(&mine, &theirs);
    }

    #[test]
    fn a_peer_that_seals_at_any_step_ends_it_cleanly(
        (mut mine, mut theirs) in stores(),
        settings in settings(),
        at in 0usize..60,
    ) {
        let mut exchange = Exchange::new(0, settings, Cursor::default(), &mine);
        let mut steps = 0;
        while exchange.step(&mut mine, &mut theirs) {
            steps += 1;
            if steps == at {
                exchange.their_epoch = 2;
            }
        }
        let refused = Ending::Refused { epoch: 2, reason: Reason::Epoch };
        prop_assert!(matches!(exchange.report.ending, Some(ending) if ending == refused || ending == Ending::Complete));
        prop_assert!(exchange.initiator.is_finished() && exchange.responder.is_idle());
    }
}

#[test]
fn leaves_before_the_cursor_are_left_for_another_exchange() {
    let shape = Shape::new(2).expect("a depth in range");
    let differing = |from: Cursor| {
        let (mut mine, mut theirs) = (Store::new(shape), Store::with(shape, (0..300).map(|number| (key(number), 1))));
        let report = Exchange::new(0, Settings::new(hash), from, &mine).run(&mut mine, &mut theirs);
        assert_eq!(report.ending, Some(Ending::Complete));
        report.found().iter().map(|found| (shape.leaf_of(hash(&found.key)), found.key.clone())).collect()
    };
    let mut all: Vec<(u32, Key)> = differing(Cursor::default());
    all.sort();
    for (leaf, after) in all.clone() {
        let mut found: Vec<(u32, Key)> = differing(Cursor { leaf, after: Some(after.clone()) });
        found.sort();
        assert!(found.iter().eq(all.iter().filter(|place| **place > (leaf, after.clone()))), "from {leaf}");
    }
}

#[test]
fn a_store_that_gives_less_than_it_is_asked_for_finds_the_same() {
    let shape = Shape::new(1).expect("a depth in range");
    for page_max in 1..4 {
        let mut mine = Store::with(shape, (0..60).map(|number| (key(number), 1)));
        let mut theirs = Store::with(shape, (30..90).map(|number| (key(number), 2)));
        let expected = plain_diff(&mine, &theirs);
        let mut exchange = Exchange::new(0, Settings::new(hash), Cursor::default(), &mine);
        exchange.page_max = page_max;
        let report = exchange.run(&mut mine, &mut theirs);
        assert_eq!((report.found(), &mine), (expected, &theirs));
    }
}

fn numbered(keys: std::ops::Range<usize>, state: u32) -> Store {
    Store::with(Shape::default(), keys.map(|number| (key(number), state)))
}

#[test]
fn one_key_in_a_hundred_thousand_costs_a_message_a_level_and_its_leaf() {
    let mut mine = numbered(0..100_000, 1);
    let mut theirs = mine.clone();
    theirs.merge(&key(77_777), 2);
    let expected = plain_diff(&mine, &theirs);
    let report = exchange(&mut mine, &mut theirs, Settings::new(hash));
    assert_eq!((report.found(), expected.len()), (expected, 1));
    assert_eq!(mine, theirs);
    assert_eq!((report.requests, report.replies), (4, 4));
    // Some 24 keys share the leaf; three nodes of sixteen sums.
    assert!(report.entries < 60 && report.bytes() < 1_500, "{report:?}");
}

#[test]
fn an_empty_store_gets_everything_in_large_messages() {
    for empty_asks in [true, false] {
        let (mut mine, mut theirs) = (numbered(0..0, 1), numbered(0..20_000, 1));
        if !empty_asks {
            std::mem::swap(&mut mine, &mut theirs);
        }
        let report = exchange(&mut mine, &mut theirs, Settings::new(hash));
        assert_eq!(mine, theirs);
        let found = (report.wanted.len(), report.offered.len());
        assert_eq!(found, if empty_asks { (20_000, 0) } else { (0, 20_000) });
        // 273 inner nodes and 4,096 leaves at 64 a request.
        assert!(report.requests < 150 && report.largest < 64 << 10, "{} {}", report.requests, report.largest);
    }
}

#[test]
fn stores_that_differ_in_every_key_end_equal() {
    let (mut mine, mut theirs) = (numbered(0..20_000, 1), numbered(0..20_000, 2));
    let report = exchange(&mut mine, &mut theirs, Settings::new(hash));
    assert_eq!((report.wanted.len(), report.offered.len()), (20_000, 20_000));
    assert_eq!(mine, theirs);
    let (mut mine, mut theirs) = (numbered(0..5_000, 1), numbered(5_000..10_000, 1));
    exchange(&mut mine, &mut theirs, Settings::new(hash));
    assert_eq!((mine.len(), &mine), (10_000, &theirs));
}

#[test]
fn equal_stores_cost_one_message_each_way() {
    let mut mine = numbered(0..3_000, 1);
    let mut theirs = mine.clone();
    let (differing, there, back) = compare_roots(&[mine.clone()], &[theirs.clone()]).expect("an honest peer");
    assert_eq!(differing, []);
    assert!(there <= 16 && back <= 8, "{there} bytes there, {back} back");
    let report = exchange(&mut mine, &mut theirs, Settings::new(hash));
    assert_eq!((report.requests, report.reads), (1, 0));
    assert!(report.request_bytes < 150 && report.reply_bytes < 12, "{report:?}");
}

#[test]
fn a_difference_that_is_gone_when_it_is_looked_at_costs_nothing_more() {
    let mut mine = numbered(0..3_000, 1);
    let mut theirs = mine.clone();
    theirs.merge(&key(5), 2);
    let mut exchange = Exchange::new(0, Settings::new(hash), Cursor::default(), &mine);
    while exchange.report.replies == 0 {
        assert!(exchange.step(&mut mine, &mut theirs), "ended too early");
    }
    mine.merge(&key(5), 2);
    let report = exchange.run(&mut mine, &mut theirs);
    assert_eq!((report.ending, report.requests), (Some(Ending::Complete), 2));
    assert_eq!((report.reads, report.found()), (0, vec![]));
}

#[test]
fn a_lost_connection_late_in_a_long_exchange_is_taken_up_again_for_little() {
    let (mut mine, mut theirs) = (numbered(0..0, 1), numbered(0..20_000, 1));
    let mut first = Exchange::new(0, Settings::new(hash), Cursor::default(), &mine);
    while mine.len() < 19_500 {
        assert!(first.step(&mut mine, &mut theirs), "ended too early");
    }
    let from = first.initiator.cursor().clone();
    for from in [from, Cursor::default()] {
        let second = Exchange::new(1, Settings::new(hash), from, &mine).run(&mut mine.clone(), &mut theirs.clone());
        assert!(second.requests <= 12 && second.wanted.len() <= 500 + 1_024, "{}", second.requests);
    }
}

#[test]
fn long_keys_fit_as_well() {
    let long = |number: u8| -> Key { [vec![b'x'; 65_000], vec![number]].concat().into() };
    let shape = Shape::new(1).expect("a depth in range");
    let mut mine = Store::with(shape, (0..40).map(|number| (long(number), 1)));
    let mut theirs = Store::with(shape, (20..90).map(|number| (long(number), 2)));
    let report = exchange(&mut mine, &mut theirs, Settings::new(hash));
    assert_eq!((mine.len(), &mine), (90, &theirs));
    assert!(report.largest < 4 * 65_536, "{}", report.largest);
}
