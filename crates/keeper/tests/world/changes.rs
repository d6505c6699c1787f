//! Administrators: what they want of the ring, and what they look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dynamo_keeper::{Keeper, registry};
use dynamo_ring::charter::{Charter, Move, Proposed};
use dynamo_ring::{Member, NodeId};

use super::{Chance, Node, World, id};

impl World {
    pub fn charter(&self, number: u128) -> Arc<Charter> {
        self.nodes[&id(number)].charter.clone()
    }

    pub fn version(&self, number: u128) -> u64 {
        self.nodes[&id(number)].version
    }

    pub fn keeper(&self, number: u128) -> Option<&Keeper> {
        self.nodes[&id(number)].keeper.as_ref()
    }

    /// Asks a node whether its ring is the newest. What others go by at that time must not be newer than what it then says.
    pub fn look(&mut self, number: u128, request: u64) {
        if self.keeper(number).is_some() {
            let newest = self.nodes.values().map(|node| node.version).max().expect("there are nodes");
            self.looks.insert(request, newest);
            self.drive(id(number), |keeper, at, effects| keeper.look(request, at, effects));
        }
    }

    /// What a node's disk holds of the register.
    pub fn register_on_disk(&self, number: u128) -> Vec<Option<Bytes>> {
        let meta = &self.nodes[&id(number)].disk.meta;
        [registry::STATE_KEY, registry::KNOWN_KEY].map(|key| meta.get(key).cloned()).into()
    }

    /// Asks a node for a change of the charter that it knows.
    pub fn change(&mut self, number: u128, request: u64, change: impl FnOnce(&Charter, u64) -> Option<Charter>) {
        let node = &self.nodes[&id(number)];
        let (charter, version) = (node.charter.clone(), node.version);
        if let Some(charter) = change(&charter, version + 1) {
            self.drive(id(number), |keeper, at, effects| keeper.change(request, version, charter, at, effects));
        }
    }

    /// Tokens to a newcomer, or from a node to the others, in steps.
    pub fn moves(charter: &Charter, members: &[Member], steps: usize, chance: &mut Chance) -> Vec<Vec<Move>> {
        let ring = charter.ring();
        let mut moves = Vec::new();
        for partition in ring.partitions().iter() {
            let owner = ring.owner(partition).id;
            let stays = members.iter().any(|member| member.id == owner);
            let newcomers: Vec<_> = members.iter().filter(|member| ring.member(member.id).is_none()).collect();
            if !stays {
                let to = members[chance.below(members.len() as u64) as usize].id;
                moves.push(Move { partition, to });
            } else if !newcomers.is_empty() && chance.percent(30) {
                moves.push(Move { partition, to: newcomers[chance.below(newcomers.len() as u64) as usize].id });
            }
        }
        // Each newcomer owns a token in the end.
        for newcomer in members.iter().filter(|member| ring.member(member.id).is_none()) {
            if !moves.iter().any(|step| step.to == newcomer.id) {
                let free = ring.partitions().iter().find(|at| moves.iter().all(|step| step.partition != *at));
                moves.extend(free.map(|partition| Move { partition, to: newcomer.id }));
            }
        }
        let size = moves.len().div_ceil(steps.max(1)).max(1);
        moves.chunks(size).map(<[Move]>::to_vec).collect()
    }

    pub fn propose(&mut self, by: u128, request: u64, members: Vec<Member>, lost: Vec<NodeId>, steps: usize) {
        let charter = self.charter(by);
        let moves = World::moves(&charter, &members, steps, &mut self.chance);
        let lives: BTreeMap<NodeId, u64> = self.nodes.iter().map(|(id, node)| (*id, node.disk.incarnation)).collect();
        let (what, accept_loss) = ("a change".into(), self.accept_loss);
        let proposed = Proposed { what, members, steps: moves, lost, accept_loss, lives };
        self.change(by, request, |charter, version| charter.begin(version, proposed).ok());
    }

    pub fn settled(&self) -> bool {
        let newest = self.nodes.values().map(|node| node.version).max();
        let members: Vec<NodeId> = self.newest().ring().members().iter().map(|member| member.id).collect();
        self.newest().change().is_none()
            && members.iter().all(|id| {
                let node = &self.nodes[id];
                node.keeper.as_ref().is_some_and(|keeper| {
                    Some(node.version) == newest && keeper.leftovers() == 0 && keeper.refilling() == 0
                })
            })
    }

    pub fn newest(&self) -> Arc<Charter> {
        self.nodes.values().max_by_key(|node| node.version).unwrap().charter.clone()
    }

    pub fn describe(&self) -> String {
        let node = |(id, node): (&NodeId, &Node)| {
            let keeper = node.keeper.as_ref().map(|keeper| {
                format!(
                    "votes {} leftovers {} refilling {} progress {:?} report {:?}",
                    keeper.votes(),
                    keeper.leftovers(),
                    keeper.refilling(),
                    keeper.progress(|id| id.0.to_string()),
                    keeper.report()
                )
            });
            format!("node {} version {} epoch {}: {keeper:?}\n", id.0, node.version, node.charter.ring().epoch())
        };
        self.nodes.iter().map(node).collect()
    }
}
