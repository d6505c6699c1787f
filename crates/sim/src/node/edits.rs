//! What an administrator wants of the ring, held against the ring as it is, as bluntly as can be: nothing is refused here that
//! the keepers have to be able to bear. (What operators want goes by `keeping/src/edits.rs`, as in a real node: see
//! `administered`.)

use std::collections::BTreeMap;

use dynamo_gossip::{NodeInfo, PeerState};
use dynamo_ring::{
    Member, NodeId, Ring,
    charter::{Charter, Gone, Move, Proposed},
    planner,
};

use super::Node;
use crate::{
    coverage::cover,
    edit::Edit,
    known_bad::KnownBad,
    world::{Kernel, id_of},
};

/// So few tokens at once that a change has several steps.
const TOKENS_AT_ONCE: usize = 3;

impl Node {
    /// Asks for a change of the ring as this node knows it; the kernel hears what came of it.
    pub fn edit(&mut self, request: u64, edit: Edit, kernel: &mut Kernel) -> Result<(), String> {
        let (version, charter) = (self.keeping.keeper.version(), self.keeping.keeper.charter().clone());
        let next = match edit {
            Edit::Cancel => charter.cancel().map_err(|error| error.to_string())?,
            edit => {
                let mut proposed = self.proposed(edit, &charter)?;
                proposed.accept_loss = kernel.known_bad == Some(KnownBad::SourcesNotWhole);
                charter.begin(version + 1, proposed).map_err(|error| error.to_string())?
            }
        };
        self.drive_keeper(kernel, |keeper, at, effects| keeper.change(request, version, next, at, effects));
        Ok(())
    }

    /// Asks whether the ring that this node goes by is the newest; the kernel hears it.
    pub fn look_at_the_register(&mut self, number: u64, kernel: &mut Kernel) {
        self.drive_keeper(kernel, |keeper, at, effects| keeper.look(number, at, effects));
    }

    fn proposed(&self, edit: Edit, charter: &Charter) -> Result<Proposed, String> {
        let ring = charter.ring();
        let mut members = ring.members().to_vec();
        let (mut lost, mut lives) = (Vec::new(), BTreeMap::new());
        let mut takes_part = |info: &NodeInfo| {
            lives.insert(info.id, info.incarnation);
        };
        let steps = match edit {
            Edit::Join { node } => {
                let info = self.newcomer(node, charter)?;
                members.push(member_of(&info));
                takes_part(&info);
                planned(ring, &members)?
            }
            Edit::Leave { node } => {
                let (info, state) = self.member(node, ring)?;
                if !matches!(state, PeerState::Up | PeerState::Suspect) {
                    return Err(format!("node-{node} is down and can't hand over what it has"));
                }
                members.retain(|member| member.id != info.id);
                takes_part(&info);
                planned(ring, &members)?
            }
            Edit::Remove { node } => {
                let info = self.dead(node, ring)?;
                members.retain(|member| member.id != info.id);
                lost.push(info.id);
                takes_part(&info);
                planned(ring, &members)?
            }
            Edit::Replace { node, with } => {
                let (old, new) = (self.dead(node, ring)?, self.newcomer(with, charter)?);
                members.retain(|member| member.id != old.id);
                members.push(member_of(&new));
                lost.push(old.id);
                takes_part(&old);
                takes_part(&new);
                inherited(ring, old.id, new.id)
            }
            Edit::Cancel => unreachable!("it proposes nothing"),
        };
        Ok(Proposed { what: format!("{edit:?}"), members, steps, lost, accept_loss: false, lives })
    }

    fn known(&self, node: u8) -> Result<(NodeInfo, PeerState), String> {
        let mut members = self.gossip.members();
        let (info, detector) =
            members.find(|(info, _)| info.id == id_of(node)).ok_or_else(|| format!("node-{node} is not known"))?;
        let state = if node == self.me { PeerState::Up } else { detector.state() };
        Ok((info.clone(), state))
    }

    fn member(&self, node: u8, ring: &Ring) -> Result<(NodeInfo, PeerState), String> {
        ring.member(id_of(node)).ok_or_else(|| format!("node-{node} is no member"))?;
        self.known(node)
    }

    fn newcomer(&self, node: u8, charter: &Charter) -> Result<NodeInfo, String> {
        let (info, state) = self.known(node)?;
        if charter.ring().member(info.id).is_some() {
            return Err(format!("node-{node} is a member already"));
        }
        if charter.gone().contains(&Gone { id: info.id, incarnation: info.incarnation }) {
            cover!("admin.gone_refused");
            return Err(format!("node-{node} left with the data that it has"));
        }
        if state != PeerState::Up {
            return Err(format!("node-{node} does not answer"));
        }
        Ok(info)
    }

    fn dead(&self, node: u8, ring: &Ring) -> Result<NodeInfo, String> {
        let (info, state) = self.member(node, ring)?;
        if matches!(state, PeerState::Up | PeerState::Suspect) {
            return Err(format!("node-{node} is alive"));
        }
        Ok(info)
    }
}

fn member_of(info: &NodeInfo) -> Member {
    Member { id: info.id, name: info.name.clone(), zone: info.zone.clone(), weight: info.weight.max(1) }
}

fn planned(ring: &Ring, members: &[Member]) -> Result<Vec<Vec<Move>>, String> {
    let plan = planner::plan(ring, members).map_err(|error| error.to_string())?;
    let moves = |step: planner::Step| {
        step.moved.iter().map(|moved| Move { partition: moved.partition, to: moved.to }).collect()
    };
    Ok(planner::steps(&plan, TOKENS_AT_ONCE).into_iter().map(moves).collect())
}

/// The tokens of one that is down go to one other, so that only its own copies are made anew.
fn inherited(ring: &Ring, from: NodeId, to: NodeId) -> Vec<Vec<Move>> {
    let owned = ring.partitions().iter().filter(|partition| ring.owner(*partition).id == from);
    let moves: Vec<Move> = owned.map(|partition| Move { partition, to }).collect();
    moves.chunks(TOKENS_AT_ONCE).map(<[Move]>::to_vec).collect()
}
