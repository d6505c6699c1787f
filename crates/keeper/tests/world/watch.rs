//! What was seen of background work.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_keeper::{Effect, Effects, Question};
use dynamo_ring::NodeId;
use dynamo_transfer::{Record, Reply, Stored};

/// What was seen of background work.
#[derive(Default)]
pub struct Watch {
    /// When a node gave another how many bytes of records, and whether it had sealed them.
    pub given: Vec<(u64, NodeId, u64, bool)>,
    /// Whose deletions were in which partition, and whether anything was left there.
    pub forgotten: Vec<(NodeId, u16, bool)>,
    /// How many comparisons a node began in one step, at most.
    pub begun_at_once: BTreeMap<NodeId, usize>,
}

impl Watch {
    pub(super) fn answered(&mut self, now: u64, node: NodeId, answer: &dynamo_keeper::Answer) {
        let dynamo_keeper::Answer::Compare(compared) = answer else { return };
        let bytes: u64 = match &compared.reply {
            Reply::Fetched(found) => found.iter().map(Stored::set_bytes).sum(),
            Reply::Page(page) => page.records.iter().map(Record::bytes).sum(),
            Reply::Tree(_) | Reply::Pushed { .. } | Reply::Refused(_) => return,
        };
        self.given.push((now, node, bytes, compared.sealed));
    }

    pub(super) fn asked(&mut self, node: NodeId, effects: &Effects) {
        let begun: BTreeSet<u32> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Ask { question: Question::Compare(question), .. } => Some(question.call.exchange),
                _ => None,
            })
            .collect();
        let most = self.begun_at_once.entry(node).or_default();
        *most = begun.len().max(*most);
    }
}
