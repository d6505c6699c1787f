//! The ring and its nodes in one answer, for the operator (`RingAdmin.View`): what is registered, from one charter, and what
//! each node says of itself.

use std::collections::BTreeMap;

use dynamo_gossip::{NodeInfo, PeerState};
use dynamo_keeping::{edits::Known, view};
use dynamo_ring::{NodeId, Ring};
use dynamo_wire::v1::{GoneLife, PreferenceList, Replacement, ViewChange, ViewNode, ViewResponse};

use crate::{
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
        let told = self.told();
        let mut nodes: Vec<(NodeId, ViewNode)> = told.ids().into_iter().map(|id| (id, self.node(id))).collect();
        nodes.sort_by(|(one_id, one), (other_id, other)| (&one.name, one_id).cmp(&(&other.name, other_id)));
        let index: BTreeMap<NodeId, u32> = nodes.iter().map(|(id, _)| *id).zip(0..).collect();
        let homes = told.homes().into_iter().map(|homes| homes.iter().map(|id| index[id]).collect());
        let mut homes: Vec<Vec<u32>> = homes.collect();
        homes.sort();
        let gone = |(id, incarnation): (NodeId, u64)| GoneLife {
            id: id.to_string(),
            name: told.name(id).unwrap_or_default(),
            incarnation,
        };
        ViewResponse {
            version: self.status.version,
            epoch: ring.epoch(),
            n: ring.n().into(),
            partitions: ring.partitions().get(),
            leftovers: leftovers(ring, self.known),
            homes: homes.into_iter().map(|nodes| PreferenceList { nodes }).collect(),
            change: told.moves().map(|moves| self.change(&moves)),
            gone: told.last_gone().into_iter().map(gone).collect(),
            nodes: nodes.into_iter().map(|(_, node)| node).collect(),
            ..ViewResponse::default()
        }
    }

    fn told(&self) -> view::View<'_> {
        view::View { version: self.status.version, charter: &self.status.charter, known: self.known }
    }

    fn node(&self, id: NodeId) -> ViewNode {
        let charter = &*self.status.charter;
        let (member, told) = (charter.ring().member(id), self.told());
        let unheard = NodeInfo::default();
        let (info, state) = told.known(id).map_or((&unheard, PeerState::Unknown), |known| (&known.info, known.state));
        ViewNode {
            id: id.to_string(),
            name: told.name(id).unwrap_or_default(),
            zone: member.map_or_else(|| info.zone.clone(), |member| member.zone.clone()),
            weight: member.map_or(info.weight, |member| member.weight),
            member: member.is_some(),
            leaver: charter.leavers().contains(&id),
            behind: told.is_behind(id),
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

    fn change(&self, moves: &view::Moves) -> ViewChange {
        let told = self.told();
        let named = |id: &NodeId| told.name(*id).unwrap_or_else(|| id.to_string());
        let names = |ids: &[NodeId]| ids.iter().map(named).collect();
        let replaces = moves.replaces.iter().map(|(node, with)| Replacement { node: named(node), with: named(with) });
        ViewChange {
            change: change_under_way(self.status, self.known),
            removes: names(&moves.removes),
            replaces: replaces.collect(),
            joins: names(&moves.joins),
            leaves: names(&moves.leaves),
        }
    }
}

/// How many partitions a member is the first home of; all are of one size (§6.2, strategy 3).
fn tokens(ring: &Ring, id: NodeId) -> u32 {
    let Some(index) = ring.members().iter().position(|member| member.id == id) else { return 0 };
    ring.owners().iter().filter(|owner| usize::from(**owner) == index).count() as u32
}
