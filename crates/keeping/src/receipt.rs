//! What a node that is to go still has: whether anything would be lost with it (§4.9).

use dynamo_gossip::PeerState;
use dynamo_ring::charter::{Charter, Gone};

use crate::edits::Known;

/// What a node still has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Partitions that it is the first home of.
    pub tokens: usize,
    /// Partitions that it is a home of.
    pub homes: usize,
    /// Partitions that it has records of and hands over.
    pub leftovers: u32,
    /// Hints that it holds for others.
    pub hints: u64,
    /// Which life of its disk it is in.
    pub incarnation: u64,
    /// That life left the ring.
    pub left: bool,
    /// Why it may not go, in sentences; empty: it may.
    pub missing: Vec<String>,
}

impl Receipt {
    /// Of a node, as the register and gossip know it by this version of the register.
    pub fn of(charter: &Charter, version: u64, known: &Known) -> Receipt {
        let (ring, id) = (charter.ring(), known.info.id);
        let tokens = ring.partitions().iter().filter(|partition| ring.owner(*partition).id == id).count();
        let homes = ring.partitions().iter().filter(|partition| ring.is_home(*partition, id)).count();
        let (leftovers, hints) = (known.info.leftovers, known.info.load.hints_held);
        let incarnation = known.info.incarnation;
        let left = charter.gone().contains(&Gone { id, incarnation });
        let mut receipt = Receipt { tokens, homes, leftovers, hints, incarnation, left, missing: Vec::new() };
        receipt.missing = receipt.missing(charter, version, known);
        receipt
    }

    /// Nothing would be lost with it.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    fn missing(&self, charter: &Charter, version: u64, known: &Known) -> Vec<String> {
        let Receipt { tokens, homes, leftovers, hints, incarnation, left, .. } = *self;
        let id = known.info.id;
        let joining = charter.change().is_some_and(|change| change.members.iter().any(|member| member.id == id));
        let gone = charter.gone().iter().filter(|gone| gone.id == id);
        let last_gone = gone.map(|gone| gone.incarnation).max().unwrap_or(0);
        let mut missing = Vec::new();
        let mut lacks = |lacks: bool, what: String| missing.extend(lacks.then_some(what));
        lacks(tokens + homes > 0, format!("it is home of {homes} partitions: let it leave first"));
        lacks(joining, "the change under way gives it partitions".to_owned());
        lacks(known.info.ring_version < version, "it has not said yet that it knows the present ring".to_owned());
        lacks(leftovers > 0, format!("it still has records of {leftovers} partitions that it hands over"));
        lacks(hints > 0, format!("it still holds {hints} hints for others"));
        let waited_for = charter.leavers().contains(&id);
        lacks(waited_for, "it has not yet told the register that it holds nothing for others".to_owned());
        lacks(incarnation == 0, "it has not said yet who it is".to_owned());
        // One that began after the last one that left never was a member; of an older one nobody knows what it has.
        lacks(
            !left && incarnation < last_gone,
            format!("it runs on an older disk (life {incarnation}) than the one that left (life {last_gone})"),
        );
        lacks(known.state == PeerState::Down, "it does not answer: what it last said may be old".to_owned());
        missing
    }
}
