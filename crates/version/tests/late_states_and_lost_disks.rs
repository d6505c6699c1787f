//! States that arrive late, twice and in any order, and nodes that come back with an empty disk (§4.4): what a context
//! covers, which siblings there are, and that merging stays a join.

mod support;

use dynamo_version::{Mode, SiblingSet};
use proptest::prelude::*;
use support::{Tracked, World, dots_of, mode, steps};

fn joined(one: &Tracked, other: &Tracked, mode: Mode) -> SiblingSet {
    let mut joined = one.clone();
    joined.merge(other, mode);
    joined.set
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_causality_covers_the_writes_that_were_really_seen_and_no_other(mode in mode(), steps in steps(60)) {
        World::run(mode, &steps, |world| {
            for state in world.states() {
                assert!(world.agrees(state.set.causality(), &state.seen), "{:?}", state.set);
            }
            for client in &world.clients {
                assert!(world.agrees(&client.context, &client.seen), "{:?}", client.context);
            }
        });
    }

    #[test]
    fn siblings_are_the_writes_that_no_seen_write_supersedes(steps in steps(60)) {
        World::run(Mode::Siblings, &steps, |world| {
            for state in world.states() {
                assert_eq!(dots_of(&state.set), world.expected(&state.seen));
            }
        });
    }

    #[test]
    fn last_write_wins_keeps_the_latest_of_the_writes_that_none_supersedes(steps in steps(60)) {
        World::run(Mode::LastWriteWins, &steps, |world| {
            for state in world.states() {
                assert_eq!(dots_of(&state.set), world.expected(&state.seen));
            }
        });
    }

    #[test]
    fn no_acknowledged_write_is_lost_from_the_disks_unless_superseded(steps in steps(80)) {
        World::run(Mode::Siblings, &steps, |world| {
            let union = world.union_of_disks();
            for id in &world.acknowledged {
                let held = union.set.siblings().iter().any(|sibling| sibling.dot == world.writes[*id].dot);
                let superseded = union.seen.iter().any(|later| world.writes[*later].over.contains(id));
                assert!(held || superseded, "write {id} is on no disk, and nobody who had seen it wrote over it");
            }
        });
    }

    #[test]
    fn timestamps_rise_along_causality_whatever_the_clocks_say(mode in mode(), steps in steps(60)) {
        let world = World::run(mode, &steps, |_| ());
        for write in &world.writes {
            for earlier in &write.over {
                prop_assert!(world.writes[*earlier].timestamp < write.timestamp);
            }
        }
    }

    #[test]
    fn merge_is_a_join(mode in mode(), steps in steps(60)) {
        let world = World::run(mode, &steps, |_| ());
        let states: Vec<&Tracked> = world.states().collect();
        for one in &states {
            prop_assert_eq!(&joined(one, one, mode), &one.set);
            for other in &states {
                let both = joined(one, other, mode);
                prop_assert_eq!(both.encode(), joined(other, one, mode).encode());
                let both = Tracked { set: both, seen: one.seen.union(&other.seen).copied().collect() };
                prop_assert_eq!(&joined(&both, one, mode), &both.set);
                for third in states.iter().step_by(3) {
                    let rest = joined(other, third, mode);
                    let rest = Tracked { set: rest, seen: other.seen.union(&third.seen).copied().collect() };
                    prop_assert_eq!(joined(&both, third, mode).encode(), joined(one, &rest, mode).encode());
                }
            }
        }
    }
}
