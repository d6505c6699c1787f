//! Indirect probes (§4.8.3): others are asked about a peer that does not answer, and this node asks for others. It tells a
//! person a dead node from a bad link; nothing else hangs on it.

use std::collections::BTreeMap;

use dynamo_ring::NodeId;

/// Pings under way on behalf of others; more are not taken, the asker asks again.
const ERRANDS_MAX: usize = 64;

/// A ping on behalf of another node.
pub(crate) struct Errand {
    pub asker: NodeId,
    pub asker_seq: u64,
    target: NodeId,
}

/// Questions asked and questions being answered. Each is remembered until the second tick after it began: an answer has a
/// whole round to come, however late in a round it was asked for.
#[derive(Default)]
pub(crate) struct Probes {
    errands: BTreeMap<u64, Errand>,
    questions: BTreeMap<u64, NodeId>,
    seq: u64,
    /// The first number given since the last tick.
    fresh: u64,
    last_asked: NodeId,
}

impl Probes {
    pub fn on_tick(&mut self) {
        self.errands = self.errands.split_off(&self.fresh);
        self.questions = self.questions.split_off(&self.fresh);
        self.fresh = self.seq + 1;
    }

    /// The next of the suspects, in turns, and the question's number. One a round is enough: it only informs people.
    pub fn ask(&mut self, suspects: &[NodeId]) -> Option<(NodeId, u64)> {
        let next = suspects.iter().find(|id| **id > self.last_asked).or(suspects.first());
        self.last_asked = *next?;
        self.seq += 1;
        self.questions.insert(self.seq, self.last_asked);
        Some((self.last_asked, self.seq))
    }

    /// Whether this answers a question that was asked of late.
    pub fn was_asked(&self, target: NodeId, seq: u64) -> bool {
        self.questions.get(&seq) == Some(&target)
    }

    /// Takes an errand and returns the ping's number.
    pub fn take_errand(&mut self, asker: NodeId, asker_seq: u64, target: NodeId) -> Option<u64> {
        if self.errands.len() >= ERRANDS_MAX {
            return None;
        }
        self.seq += 1;
        self.errands.insert(self.seq, Errand { asker, asker_seq, target });
        Some(self.seq)
    }

    /// The errand that an answer ends.
    pub fn end_errand(&mut self, seq: u64, from: NodeId) -> Option<Errand> {
        self.errands.get(&seq).filter(|errand| errand.target == from)?;
        self.errands.remove(&seq)
    }
}
