//! A partition that is being filled here: because a step gives it to this node, or because its disk was emptied.
//!
//! From each source there is a comparison that runs to its end. For a step a second one follows after the source has sealed;
//! what that one brings is all that the source ever applied.

use std::collections::BTreeSet;

use dynamo_ring::NodeId;
use dynamo_transfer::Ended;

/// How long after a failure a source is asked again, microseconds.
const RETRY_US: u64 = 300_000;
/// How long until a source that was caught up with is compared again, so that there is little left to do once it seals.
const REFRESH_US: u64 = 3_000_000;
/// How long until a source is compared again that had not sealed yet when it was asked for all that it ever applied: its
/// seal is on the way to its disk, and requests wait for the turn meanwhile.
const SEALING_US: u64 = 10_000;

/// So many failures in a row are told.
const TROUBLE: u32 = 4;

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    node: NodeId,
    caught_up: bool,
    /// It was whole itself then.
    whole: bool,
    complete: bool,
    busy: bool,
    not_before: u64,
}

/// A partition and its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Which.
    pub partition: u16,
    sources: Vec<Source>,
    sealing: bool,
    /// With whom the last comparison failed, and how.
    trouble: Option<(NodeId, Ended)>,
    /// So many have failed since the last one that did not.
    failures: u32,
}

impl Fill {
    /// Nothing is known yet. Sources are asked in the order given.
    pub fn new(partition: u16, sources: impl IntoIterator<Item = NodeId>) -> Fill {
        let source =
            |node| Source { node, caught_up: false, whole: false, complete: false, busy: false, not_before: 0 };
        Fill {
            partition,
            sources: sources.into_iter().map(source).collect(),
            sealing: false,
            trouble: None,
            failures: 0,
        }
    }

    /// Whom to compare with now: the next in turn, or, once the sources seal, all that have not given everything.
    pub fn next(&self, sealing: bool, reachable: &BTreeSet<NodeId>, now: u64) -> Vec<NodeId> {
        let ready = |source: &&Source| !source.busy && source.not_before <= now && reachable.contains(&source.node);
        if sealing {
            return self
                .sources
                .iter()
                .filter(ready)
                .filter(|source| !source.complete)
                .map(|source| source.node)
                .collect();
        }
        if self.sources.iter().any(|source| source.busy) {
            return Vec::new();
        }
        let fresh = self.sources.iter().filter(ready).find(|source| !source.caught_up);
        fresh.or_else(|| self.sources.iter().find(ready)).map(|source| source.node).into_iter().collect()
    }

    /// A comparison with a source has begun.
    pub fn begun(&mut self, node: NodeId) {
        if let Some(source) = self.source(node) {
            source.busy = true;
        }
    }

    /// It has ended.
    pub fn ended(&mut self, node: NodeId, ended: Ended, now: u64) {
        let again_us = if self.sealing { SEALING_US } else { REFRESH_US };
        let Some(source) = self.source(node) else { return };
        source.busy = false;
        if let Ended::Complete { sealed, whole, .. } = ended {
            source.caught_up = true;
            source.whole |= whole;
            source.complete |= sealed;
            source.not_before = if sealed { 0 } else { now.saturating_add(again_us) };
            (self.trouble, self.failures) = (None, 0);
        } else {
            source.not_before = now.saturating_add(RETRY_US);
            (self.trouble, self.failures) = (Some((node, ended)), self.failures + 1);
        }
    }

    /// The sources seal: what was caught up with is compared once more at once.
    pub fn sealing(&mut self) {
        self.sealing = true;
        for source in &mut self.sources {
            source.not_before = 0;
        }
    }

    /// From whom this node had everything once.
    pub fn caught_up(&self) -> Vec<NodeId> {
        self.sources.iter().filter(|source| source.caught_up).map(|source| source.node).collect()
    }

    /// Whether an emptied home has had all that it ever acknowledged: from so many homes that each such write met one of
    /// them, `needed`, who had lost nothing themselves; or from all others there are, whole or not: nobody has more.
    pub fn is_refilled(&self, needed: usize) -> bool {
        let whole = self.sources.iter().filter(|source| source.caught_up && source.whole).count();
        whole >= needed || self.sources.iter().all(|source| source.caught_up)
    }

    /// From whom it had everything that they ever applied.
    pub fn complete(&self) -> Vec<NodeId> {
        self.sources.iter().filter(|source| source.complete).map(|source| source.node).collect()
    }

    /// How many sources there are.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// Why it does not go on, for people: with whom it failed, and how. What fails now and then, as when a ring turns, is
    /// nothing to speak of.
    pub fn trouble(&self) -> Option<(NodeId, Ended)> {
        self.trouble.filter(|_| self.failures >= TROUBLE)
    }

    fn source(&mut self, node: NodeId) -> Option<&mut Source> {
        self.sources.iter_mut().find(|source| source.node == node)
    }
}
