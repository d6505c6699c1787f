//! The ring and its nodes, as one node can tell them: what is registered, from one charter, and what each node says of
//! itself.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_ring::{
    Member, NodeId, Ring,
    charter::{self, Charter},
};

use crate::edits::Known;

/// What is told, and by what.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The register's version.
    pub version: u64,
    /// What it says.
    pub charter: &'a Charter,
    /// Every node that gossip knows.
    pub known: &'a [Known],
}

/// Who comes and who goes by the change under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moves {
    /// Who joins.
    pub joins: Vec<NodeId>,
    /// Who leaves, or is removed.
    pub leaves: Vec<NodeId>,
    /// Who of these is down for good, and nobody gets all of its tokens.
    pub removes: Vec<NodeId>,
    /// Who of these is down for good, and who gets all of its tokens.
    pub replaces: Vec<(NodeId, NodeId)>,
}

impl View<'_> {
    /// Everybody whom the register names or gossip knows.
    pub fn ids(&self) -> BTreeSet<NodeId> {
        let members = self.charter.ring().members().iter();
        let moving = self.charter.change().into_iter().flat_map(|change| change.members.iter().chain(&change.origin));
        let registered = members.chain(moving).map(|member| member.id).chain(self.charter.leavers().iter().copied());
        registered.chain(self.known.iter().map(|known| known.info.id)).collect()
    }

    /// What is known of a node.
    pub fn known(&self, id: NodeId) -> Option<&Known> {
        self.known.iter().find(|known| known.info.id == id)
    }

    /// A node's name: as the charter has it, or as gossip remembers it.
    pub fn name(&self, id: NodeId) -> Option<String> {
        let moving = self.charter.change().into_iter().flat_map(|change| change.members.iter().chain(&change.origin));
        let registered = self.charter.ring().members().iter().chain(moving).find(|member| member.id == id);
        registered.map(|member| member.name.clone()).or_else(|| self.known(id).map(|known| known.info.name.clone()))
    }

    /// Whether a member has not said yet that it goes by this version of the ring.
    pub fn is_behind(&self, id: NodeId) -> bool {
        let version = self.known(id).map_or(0, |known| known.info.ring_version);
        self.charter.ring().member(id).is_some() && version < self.version
    }

    /// The preference lists, each once.
    pub fn homes(&self) -> BTreeSet<Vec<NodeId>> {
        let ring = self.charter.ring();
        ring.partitions().iter().map(|partition| ring.preference_list(partition).to_vec()).collect()
    }

    /// The last life of each node that is not to return.
    pub fn last_gone(&self) -> BTreeMap<NodeId, u64> {
        let mut last: BTreeMap<NodeId, u64> = BTreeMap::new();
        for gone in self.charter.gone() {
            let life = last.entry(gone.id).or_default();
            *life = gone.incarnation.max(*life);
        }
        last
    }

    /// Who comes and who goes, if a change is under way.
    pub fn moves(&self) -> Option<Moves> {
        let change = self.charter.change()?;
        let absent = |from: &[Member], id: NodeId| from.iter().all(|member| member.id != id);
        let only = |these: &[Member], others: &[Member]| -> Vec<NodeId> {
            these.iter().map(|member| member.id).filter(|id| absent(others, *id)).collect()
        };
        let (joins, leaves) = (only(&change.members, &change.origin), only(&change.origin, &change.members));
        let lost = leaves.iter().copied().filter(|id| change.lost.contains(id));
        let heirs: Vec<(NodeId, Option<NodeId>)> = lost.map(|id| (id, heir(self.charter.ring(), change, id))).collect();
        let replaces = heirs.iter().filter_map(|(node, with)| Some((*node, with.filter(|with| joins.contains(with))?)));
        let replaces: Vec<(NodeId, NodeId)> = replaces.collect();
        let removes = heirs.iter().map(|(node, _)| *node).filter(|id| replaces.iter().all(|(node, _)| node != id));
        Some(Moves { removes: removes.collect(), replaces, joins, leaves })
    }
}

/// Who gets all tokens of a node that is down for good, if it is one. Tokens that a step has moved are among those that
/// would take it back.
fn heir(ring: &Ring, change: &charter::RingChange, lost: NodeId) -> Option<NodeId> {
    let moved = change.undo.iter().flatten().filter(|step| step.to == lost).map(|step| ring.owner(step.partition).id);
    let ahead = change.steps.iter().flatten().filter(|step| ring.owner(step.partition).id == lost).map(|step| step.to);
    let heirs: BTreeSet<NodeId> = moved.chain(ahead).collect();
    heirs.first().copied().filter(|_| heirs.len() == 1)
}
