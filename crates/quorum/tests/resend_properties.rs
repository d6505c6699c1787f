//! A write that met a turn of the ring half done is sent again as the very one, or not at all.

use std::collections::BTreeSet;

use bytes::Bytes;
use dynamo_quorum::Resend;
use dynamo_ring::NodeId;
use dynamo_version::{Causality, Dot, Minter, Mode, Payload, SiblingSet, Timestamp, mint};
use proptest::prelude::*;

/// What becomes of a record.
#[derive(Debug, Clone)]
enum Step {
    /// A write through a node, over what that node's replica has or blindly; `None` deletes.
    Write { node: usize, blind: bool, value: Option<u8> },
    /// One replica hears of another's state.
    Merge { from: usize, to: usize },
    /// A tombstone that all have is collected.
    Collect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0..3_usize;
    let write = (node.clone(), any::<bool>(), any::<Option<u8>>());
    let step = prop_oneof![
        4 => write.prop_map(|(node, blind, value)| Step::Write { node, blind, value }),
        4 => (node.clone(), node).prop_map(|(from, to)| Step::Merge { from, to }),
        1 => Just(Step::Collect),
    ];
    prop::collection::vec(step, 0..12)
}

/// Three homes of one key.
#[derive(Default)]
struct Homes {
    sets: [SiblingSet; 3],
    epochs: u64,
    minted: BTreeSet<Dot>,
}

impl Homes {
    fn write(&mut self, node: usize, blind: bool, value: Option<u8>) -> Dot {
        let set = &mut self.sets[node];
        let context = if blind { Causality::new() } else { set.causality().clone() };
        let minter = Minter { node: node as u128, incarnation: 1, epoch_floor: 1 };
        self.epochs += 1;
        let (dot, _) = mint(set, &context, &minter, None, || self.epochs);
        let payload = value.map_or(Payload::Tombstone, |value| Payload::Value(Bytes::from(vec![value])));
        set.write(&context, dot, Timestamp(self.epochs), payload, Mode::Siblings);
        assert!(self.minted.insert(dot));
        dot
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Write { node, blind, value } => {
                self.write(node, blind, value);
            }
            Step::Merge { from, to } => {
                let from = self.sets[from].clone();
                self.sets[to].merge(&from, Mode::Siblings);
            }
            Step::Collect if self.sets[0].is_deleted() && self.sets.iter().all(|set| *set == self.sets[0]) => {
                self.sets = Default::default();
            }
            Step::Collect => {}
        }
    }

    fn known(&self, set: &SiblingSet) -> bool {
        set.siblings().iter().all(|sibling| self.minted.contains(&sibling.dot))
    }
}

proptest! {
    #[test]
    fn a_write_that_is_sent_again_is_the_very_one_and_nothing_is_minted(
        before in steps(), after in steps(), value in any::<u8>(), blind in any::<bool>(),
    ) {
        let mut homes = Homes::default();
        before.iter().for_each(|step| homes.take(step));
        let dot = homes.write(0, blind, Some(value));
        let made = homes.sets[0].encode();
        after.iter().for_each(|step| homes.take(step));
        let minted = homes.minted.len();

        // As it was made: the bytes are the write's, and who has it takes nothing from them.
        prop_assert!(Resend::knows(&made, Some(dot)));
        let original = SiblingSet::decode(made.clone()).unwrap();
        let mut again = original.clone();
        again.merge(&SiblingSet::decode(made.clone()).unwrap(), Mode::Siblings);
        prop_assert_eq!(again.encode(), made);

        // From the record: only what has the version, or what replaced it, and what was minted by clients' writes.
        let record = homes.sets[0].encode();
        let sent = SiblingSet::decode(record.clone()).unwrap();
        prop_assert_eq!(Resend::knows(&record, Some(dot)), sent.causality().covers(&dot));
        if Resend::knows(&record, Some(dot)) {
            let mut joined = sent.clone();
            joined.merge(&original, Mode::Siblings);
            prop_assert_eq!(&joined, &sent, "it lacks something of the write");
            prop_assert!(homes.known(&sent));
        } else {
            // It was collected meanwhile: the write as it was made would bring back what was deleted.
            prop_assert!(after.iter().any(|step| matches!(step, Step::Collect)));
        }
        prop_assert_eq!(homes.minted.len(), minted);
    }

    /// Tombstones are collected only behind a turn that leaves all homes as they are.
    #[test]
    fn a_set_never_crosses_a_turn_behind_which_something_can_have_been_collected(
        turns in prop::collection::vec(prop::collection::btree_set(0..5_u128, 1..=3), 0..5),
        first in prop::collection::btree_set(0..5_u128, 1..=3),
        me in 0..6_u128, turned_about in any::<bool>(),
    ) {
        let list = |homes: &BTreeSet<u128>| homes.iter().map(|id| NodeId(*id)).collect::<Vec<_>>();
        let made = list(&first);
        let mut now = list(turns.last().unwrap_or(&first));
        if turned_about {
            // Another order of the same homes is no other home.
            now.reverse();
        }
        let epoch = 7 + turns.len() as u64;
        let all: Vec<_> = std::iter::once(&first).chain(&turns).collect();
        let barrier = all.windows(2).any(|pair| pair[0] == pair[1]);
        match Resend::of((7, &made), (epoch, &now), NodeId(me)) {
            Resend::AsMade => prop_assert!(!barrier),
            Resend::FromRecord => prop_assert!(made.contains(&NodeId(me)) && now.contains(&NodeId(me))),
            Resend::Nothing => prop_assert!(!made.contains(&NodeId(me)) || !now.contains(&NodeId(me))),
        }
    }
}

#[test]
fn a_set_crosses_one_turn_that_changed_homes_and_no_other() {
    let ids = |ids: &[u128]| ids.iter().map(|id| NodeId(*id)).collect::<Vec<_>>();
    let (before, after) = (ids(&[1, 2, 3]), ids(&[4, 1, 2]));
    let of = |epoch, homes: &[NodeId], me| Resend::of((7, &before), (epoch, homes), NodeId(me));
    for me in [1, 3, 77] {
        assert_eq!(of(7, &before, me), Resend::AsMade, "still sealed");
        assert_eq!(of(8, &after, me), Resend::AsMade, "the homes have changed");
    }
    // The same owners once more: who was no home in both can't know what became of it.
    assert_eq!((of(8, &before, 1), of(8, &before, 77)), (Resend::FromRecord, Resend::Nothing));
    assert_eq!((of(9, &after, 1), of(9, &after, 3)), (Resend::FromRecord, Resend::Nothing));
}
