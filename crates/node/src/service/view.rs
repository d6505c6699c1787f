//! The ring and its nodes in one answer, for the operator (`RingAdmin.View`): what is registered, from one charter, and what
//! each node says of itself.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_gossip::{NodeInfo, PeerState};
use dynamo_ring::{Member, NodeId, Ring, charter};
use dynamo_wire::v1::{GoneLife, PreferenceList, Replacement, ViewChange, ViewNode, ViewResponse};

use crate::{
    edits::Known,
    keeping::KeeperStatus,
    service::{
        admin::{disk_name, state_name},
        ring::{change_under_way, leftovers},
    },
};

/// What an answer is made of.
pub struct View<'a> {
    /// What the keeper knows of the register.
    pub status: &'a KeeperStatus,
    /// Every node that gossip knows.
    pub known: &'a [Known],
    /// How long ago each was last heard from, milliseconds.
    pub heard_ms: &'a BTreeMap<NodeId, u64>,
}

impl View<'_> {
    /// The part about the ring and its nodes.
    pub fn response(&self) -> ViewResponse {
        let charter = &*self.status.charter;
        let ring = charter.ring();
        let ids = self.ids();
        let mut nodes: Vec<(NodeId, ViewNode)> = ids.into_iter().map(|id| (id, self.node(id))).collect();
        nodes.sort_by(|(one_id, one), (other_id, other)| (&one.name, one_id).cmp(&(&other.name, other_id)));
        let index: BTreeMap<NodeId, u32> = nodes.iter().map(|(id, _)| *id).zip(0..).collect();
        let homes: BTreeSet<Vec<u32>> = ring
            .partitions()
            .iter()
            .map(|partition| ring.preference_list(partition).iter().map(|id| index[id]).collect())
            .collect();
        let mut last: BTreeMap<NodeId, u64> = BTreeMap::new();
        for gone in charter.gone() {
            let life = last.entry(gone.id).or_default();
            *life = gone.incarnation.max(*life);
        }
        let gone = |(id, incarnation): (NodeId, u64)| GoneLife {
            id: id.to_string(),
            name: self.name(id).unwrap_or_default(),
            incarnation,
        };
        ViewResponse {
            version: self.status.version,
            epoch: ring.epoch(),
            n: ring.n().into(),
            partitions: ring.partitions().get(),
            leftovers: leftovers(ring, self.known),
            homes: homes.into_iter().map(|nodes| PreferenceList { nodes }).collect(),
            change: charter.change().map(|change| self.change(change)),
            gone: last.into_iter().map(gone).collect(),
            nodes: nodes.into_iter().map(|(_, node)| node).collect(),
            ..ViewResponse::default()
        }
    }

    /// Everybody whom the register names or gossip knows.
    fn ids(&self) -> BTreeSet<NodeId> {
        let charter = &*self.status.charter;
        let members = charter.ring().members().iter();
        let moving = charter.change().into_iter().flat_map(|change| change.members.iter().chain(&change.origin));
        let registered = members.chain(moving).map(|member| member.id).chain(charter.leavers().iter().copied());
        registered.chain(self.known.iter().map(|known| known.info.id)).collect()
    }

    fn known(&self, id: NodeId) -> Option<&Known> {
        self.known.iter().find(|known| known.info.id == id)
    }

    /// A node's name: as the charter has it, or as gossip remembers it.
    fn name(&self, id: NodeId) -> Option<String> {
        let charter = &*self.status.charter;
        let moving = charter.change().into_iter().flat_map(|change| change.members.iter().chain(&change.origin));
        let registered = charter.ring().members().iter().chain(moving).find(|member| member.id == id);
        registered.map(|member| member.name.clone()).or_else(|| self.known(id).map(|known| known.info.name.clone()))
    }

    fn node(&self, id: NodeId) -> ViewNode {
        let charter = &*self.status.charter;
        let member = charter.ring().member(id);
        let unheard = NodeInfo::default();
        let (info, state) = self.known(id).map_or((&unheard, PeerState::Unknown), |known| (&known.info, known.state));
        ViewNode {
            id: id.to_string(),
            name: self.name(id).unwrap_or_default(),
            zone: member.map_or_else(|| info.zone.clone(), |member| member.zone.clone()),
            weight: member.map_or(info.weight, |member| member.weight),
            member: member.is_some(),
            leaver: charter.leavers().contains(&id),
            behind: member.is_some() && info.ring_version < self.status.version,
            ring_incarnation: charter.voter(id).map_or(0, |voter| voter.incarnation),
            incarnation: info.incarnation,
            state: state_name(state, info.phase).to_owned(),
            refilling: info.refilling,
            leftovers: info.leftovers,
            hints: info.load.hints_held,
            keys: info.load.keys,
            disk: disk_name(info.disk).to_owned(),
            disk_bytes: info.load.bytes,
            disk_free_bytes: info.load.disk_free,
            ring_epoch: info.ring_epoch,
            ring_version: info.ring_version,
            last_heard_ms: self.heard_ms.get(&id).copied().unwrap_or_default(),
            client_address: info.client_addr.clone(),
            peer_address: info.peer_addr.clone(),
            tokens: tokens(charter.ring(), id),
            trusted: info.trusted.clone(),
            certificate_signed_by: info.certificate_signed_by.clone(),
            certificate_until_s: info.certificate_until_s,
        }
    }

    fn change(&self, change: &charter::RingChange) -> ViewChange {
        let charter = &*self.status.charter;
        let absent = |from: &[Member], id: NodeId| from.iter().all(|member| member.id != id);
        let only = |these: &[Member], others: &[Member]| -> Vec<NodeId> {
            these.iter().map(|member| member.id).filter(|id| absent(others, *id)).collect()
        };
        let (joins, leaves) = (only(&change.members, &change.origin), only(&change.origin, &change.members));
        let lost = leaves.iter().copied().filter(|id| change.lost.contains(id));
        let heirs: Vec<(NodeId, Option<NodeId>)> = lost.map(|id| (id, heir(charter.ring(), change, id))).collect();
        let named = |id: NodeId| self.name(id).unwrap_or_else(|| id.to_string());
        let names = |ids: Vec<NodeId>| ids.into_iter().map(named).collect();
        let replaces = heirs.iter().filter_map(|(node, with)| Some((*node, with.filter(|with| joins.contains(with))?)));
        let replaces: Vec<(NodeId, NodeId)> = replaces.collect();
        let removes = heirs.iter().map(|(node, _)| *node).filter(|id| replaces.iter().all(|(node, _)| node != id));
        ViewChange {
            change: change_under_way(self.status, self.known),
            removes: removes.map(named).collect(),
            replaces: replaces
                .iter()
                .map(|(node, with)| Replacement { node: named(*node), with: named(*with) })
                .collect(),
            joins: names(joins),
            leaves: names(leaves),
        }
    }
}

/// How many partitions a member is the first home of; all are of one size (§6.2, strategy 3).
fn tokens(ring: &Ring, id: NodeId) -> u32 {
    let Some(index) = ring.members().iter().position(|member| member.id == id) else { return 0 };
    ring.owners().iter().filter(|owner| usize::from(**owner) == index).count() as u32
}

/// Who gets all tokens of a node that is down for good, if it is one. Tokens that a step has moved are among those that
/// would take it back.
fn heir(ring: &Ring, change: &charter::RingChange, lost: NodeId) -> Option<NodeId> {
    let moved = change.undo.iter().flatten().filter(|step| step.to == lost).map(|step| ring.owner(step.partition).id);
    let ahead = change.steps.iter().flatten().filter(|step| ring.owner(step.partition).id == lost).map(|step| step.to);
    let heirs: BTreeSet<NodeId> = moved.chain(ahead).collect();
    heirs.first().copied().filter(|_| heirs.len() == 1)
}
