//! What an administrator wants of the ring, held against the ring as it is: the members it would have, and the change that
//! leads there, or a sentence that says why not (§4.9).

use std::collections::{BTreeMap, BTreeSet};

use dynamo_gossip::{NodeInfo, PeerState};
use dynamo_keeper::step::sources_needed;
use dynamo_ring::{
    Member, NodeId, Ring,
    charter::{Charter, Move, Proposed},
    planner::{self, Plan},
};
use dynamo_wire::v1::{RingEdit, ring_edit::Edit};
use tonic::Status;

use crate::language::Spoken;

/// A node as this one knows it.
pub struct Known {
    /// What it says of itself.
    pub info: NodeInfo,
    /// Whether it answers.
    pub state: PeerState,
}

/// What is wanted.
pub struct Wanted {
    /// The change.
    pub proposed: Proposed,
    /// The ring after it.
    pub after: Ring,
    /// Copies of partitions that are made, and how many the balance needs at least.
    pub replicas: (usize, usize),
    /// Tokens that change hands.
    pub tokens: usize,
    /// What becomes of each node that is not merely staying, by id.
    pub roles: BTreeMap<NodeId, &'static str>,
    /// Why it can't be applied now.
    pub blocked_by: Vec<String>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Holds edits against a charter.
pub struct Edits<'a> {
    /// The charter.
    pub charter: &'a Charter,
    /// All nodes that are known.
    pub known: &'a [Known],
    /// Fewer than N nodes or zones are meant.
    pub allow_fewer: bool,
    /// What only nodes had that are down for good, or homes that are not whole, may be lost.
    pub accept_loss: bool,
    /// Of how many old homes everything is needed: max(R, N - R + 1), the largest over the buckets.
    pub needed: usize,
}

impl Edits<'_> {
    /// The change that these edits make.
    ///
    /// # Errors
    /// A sentence that says what does not fit, and what to do.
    pub fn wanted(&self, edits: &[RingEdit]) -> Result<Wanted, Status> {
        if edits.is_empty() {
            return Err(Status::invalid_argument(
                "no edit is given: say which node is to join, leave, be replaced or removed",
            ));
        }
        if let Some(wanted) = self.given_up(edits)? {
            return Ok(wanted);
        }
        let replaced: Vec<(&str, &str)> = edits
            .iter()
            .filter_map(|edit| match &edit.edit {
                Some(Edit::Replace(replace)) => Some((replace.node.as_str(), replace.with.as_str())),
                _ => None,
            })
            .collect();
        if replaced.is_empty() {
            return self.planned(edits);
        }
        if replaced.len() != edits.len() {
            return Err(Status::invalid_argument(
                "replacing nodes and other edits can't be one change, since who is replaced gives its tokens to one node only: apply them one after the other",
            ));
        }
        self.replaced(&replaced)
    }

    /// Nodes that left and are not waited for any more: nothing moves, and `lost` names them. None: other edits.
    fn given_up(&self, edits: &[RingEdit]) -> Result<Option<Wanted>, Status> {
        let (mut lost, mut warnings) = (Vec::new(), Vec::new());
        for edit in edits {
            let Some(Edit::Remove(remove)) = &edit.edit else { return Ok(None) };
            // By its id, as `dynamo ring status` names one whose name nobody remembers.
            let nameless = remove.node.parse().ok().filter(|id| self.charter.leavers().contains(id));
            if let Some(id) = nameless.filter(|id| self.known.iter().all(|known| known.info.id != *id)) {
                warnings.push(format!("{id} left and may still hold something: what only it has is lost"));
                lost.push(id);
                continue;
            }
            let known = self.named(&remove.node)?;
            if !self.charter.leavers().contains(&known.info.id) {
                return Ok(None);
            }
            not_alive(known)?;
            warnings.push(format!("{} left and may still hold something: what only it has is lost", remove.node));
            lost.push(known.info.id);
        }
        let ring = self.charter.ring();
        let (what, members, lives) =
            ("nodes that left are given up".to_owned(), ring.members().to_vec(), BTreeMap::new());
        let proposed = Proposed { what, members, steps: vec![], lost, accept_loss: false, lives };
        let (after, roles, blocked_by) = (ring.clone(), BTreeMap::new(), self.under_way());
        Ok(Some(Wanted { proposed, after, replicas: (0, 0), tokens: 0, roles, blocked_by, warnings }))
    }

    /// Why nothing can begin now.
    fn under_way(&self) -> Vec<String> {
        under_way(self.charter).into_iter().collect()
    }

    fn planned(&self, edits: &[RingEdit]) -> Result<Wanted, Status> {
        let ring = self.charter.ring();
        let mut members: BTreeMap<NodeId, Member> =
            ring.members().iter().map(|member| (member.id, member.clone())).collect();
        let mut change = Change::default();
        for edit in edits {
            match edit.edit.as_ref() {
                Some(Edit::Join(join)) => {
                    let known = self.newcomer(&join.node)?;
                    let weight = if join.weight > 0 { join.weight } else { known.info.weight };
                    if members.insert(known.info.id, member_of(&known.info, weight)).is_some() {
                        return Err(twice(&join.node));
                    }
                    change.add(known, "joins");
                }
                Some(Edit::Leave(leave)) => {
                    let known = self.member(&leave.node)?;
                    if !matches!(known.state, PeerState::Up | PeerState::Suspect) {
                        return Err(Status::failed_precondition(format!(
                            "{} is down and can't hand over what it has: nothing was changed; start it, or take it out with `dynamo node remove` or `dynamo node replace`, which fill its place from the other replicas",
                            leave.node
                        )));
                    }
                    members.remove(&known.info.id).ok_or_else(|| twice(&leave.node))?;
                    change.add(known, "leaves");
                }
                Some(Edit::Remove(remove)) => {
                    let known = self.dead(&remove.node)?;
                    members.remove(&known.info.id).ok_or_else(|| twice(&remove.node))?;
                    change.lost.push(known.info.id);
                    change.add(known, "is removed");
                }
                Some(Edit::Update(update)) => {
                    let known = self.member(&update.node)?;
                    let member = members.get_mut(&known.info.id).ok_or_else(|| twice(&update.node))?;
                    member.weight = if update.weight > 0 { update.weight } else { member.weight };
                    if !update.zone.is_empty() {
                        member.zone.clone_from(&update.zone);
                    }
                    change.add(known, "changes");
                }
                Some(Edit::Replace(_)) | None => {
                    return Err(Status::invalid_argument("an edit of a kind that this version does not know"));
                }
            }
        }
        let members: Vec<Member> = members.into_values().collect();
        self.check_enough(&members)?;
        let plan = planner::plan(ring, &members)
            .map_err(|error| Status::failed_precondition(format!("{error}: nothing was changed")))?;
        let steps = planner::steps(&plan, tokens_at_once(ring));
        let moves = |step: &planner::Step| {
            step.moved.iter().map(|moved| Move { partition: moved.partition, to: moved.to }).collect()
        };
        let steps = steps.iter().map(moves).collect();
        self.finish(members, steps, plan.ring(), &plan, change)
    }

    /// The tokens of one that is down go to one other, so that only its own copies are made anew.
    fn replaced(&self, pairs: &[(&str, &str)]) -> Result<Wanted, Status> {
        let ring = self.charter.ring();
        let mut members = ring.members().to_vec();
        let (mut change, mut heirs) = (Change::default(), BTreeMap::new());
        for (old, new) in pairs {
            let (old, new) = (self.dead(old)?, self.newcomer(new)?);
            let place = members.iter_mut().find(|member| member.id == old.info.id);
            let place = place.ok_or_else(|| twice(&old.info.name))?;
            *place = Member { weight: place.weight, ..member_of(&new.info, place.weight) };
            if heirs.values().any(|heir| *heir == new.info.id) {
                return Err(twice(&new.info.name));
            }
            heirs.insert(old.info.id, new.info.id);
            change.lost.push(old.info.id);
            change.add(old, "is replaced");
            change.add(new, "replaces it");
        }
        members.sort_by_key(|member| member.id);
        let moved = ring.partitions().iter().filter_map(|partition| {
            let to = *heirs.get(&ring.owner(partition).id)?;
            Some(Move { partition, to })
        });
        let moves: Vec<Move> = moved.collect();
        let heir = |partition| {
            let owner = ring.owner(partition).id;
            heirs.get(&owner).copied().unwrap_or(owner)
        };
        let after = ring.turned(members.clone(), heir).map_err(|error| {
            Status::failed_precondition(format!(
                "{error}: nothing was changed; the new node has to stand in the zone of the one that it replaces"
            ))
        })?;
        let plan = planner::plan(ring, ring.members()).map_err(|error| Status::internal(error.to_string()))?;
        let steps = moves.chunks(tokens_at_once(ring)).map(<[Move]>::to_vec).collect();
        let mut wanted = self.finish(members, steps, after, &plan, change)?;
        let held = |id: &NodeId| ring.partitions().iter().filter(|partition| ring.is_home(*partition, *id)).count();
        let copies = heirs.keys().map(held).sum();
        (wanted.tokens, wanted.replicas) = (moves.len(), (copies, copies));
        Ok(wanted)
    }

    fn finish(
        &self,
        members: Vec<Member>,
        steps: Vec<Vec<Move>>,
        after: Ring,
        plan: &Plan,
        change: Change,
    ) -> Result<Wanted, Status> {
        let blocked_by = self.under_way();
        let down = self.known.iter().filter(|known| !matches!(known.state, PeerState::Up | PeerState::Suspect));
        let down = down.filter(|known| self.charter.ring().member(known.info.id).is_some());
        let down = down.filter(|known| !change.lost.contains(&known.info.id));
        let down = down.map(|known| {
            format!(
                "{} is down: what moves goes on with the other replicas, as long as enough of them answer",
                known.info.name
            )
        });
        let warnings = down.chain(self.being_filled(&change.lost)).chain(self.check_sources(&change.lost)?).collect();
        let Change { what, lost, lives, roles } = change;
        let what = what.join(", ") + if self.accept_loss { " (a loss is accepted)" } else { "" };
        let proposed = Proposed { what, members, steps, lost, accept_loss: self.accept_loss, lives };
        let replicas = (plan.replicas_moved, plan.replicas_least);
        Ok(Wanted { proposed, after, replicas, tokens: plan.moved.len(), roles, blocked_by, warnings })
    }

    /// Members that are no source for what moves until they are whole.
    fn being_filled(&self, lost: &[NodeId]) -> Vec<String> {
        let member = |known: &&Known| self.charter.ring().member(known.info.id).is_some();
        let filled = |known: &&Known| known.info.refilling > 0 && !lost.contains(&known.info.id) && !self.accept_loss;
        let says = |known: &Known| {
            format!(
                "{} is being refilled: where its copies are needed, the change waits until it is whole",
                known.info.name
            )
        };
        self.known.iter().filter(member).filter(filled).map(says).collect()
    }

    /// Whether enough homes are left for what W acknowledged to be found at one of them. The sentence that says what may be
    /// lost, where that was accepted.
    fn check_sources(&self, lost: &[NodeId]) -> Result<Option<String>, Status> {
        let (ring, mut short) = (self.charter.ring(), 0);
        for partition in ring.partitions().iter() {
            let homes = ring.preference_list(partition);
            let gone = homes.iter().filter(|id| lost.contains(id)).count();
            short += usize::from(homes.len() - gone < sources_needed(self.needed, homes.len(), gone));
        }
        if self.accept_loss {
            return Ok(Some(
                "a loss is accepted: writes that were acknowledged are gone if only nodes had them that are down for good, or homes that are not filled yet".to_owned(),
            ));
        }
        if short == 0 {
            return Ok(None);
        }
        let name = |id: &NodeId| ring.member(*id).map_or_else(|| id.to_string(), |member| member.name.clone());
        let names: Vec<String> = lost.iter().map(name).collect();
        Err(Status::failed_precondition(format!(
            "without {} too few homes are left of {short} partitions to have every write that was acknowledged: nothing was changed; start one of them again, or, if they will never return, accept that what only they had is lost (--accept-loss)",
            names.join(" and ")
        )))
    }

    fn check_enough(&self, members: &[Member]) -> Result<(), Status> {
        if members.is_empty() {
            return Err(Status::failed_precondition("the last node can't leave: stop the cluster instead"));
        }
        let n = usize::from(self.charter.ring().n());
        let zones =
            |members: &[Member]| members.iter().map(|member| member.zone.clone()).collect::<BTreeSet<_>>().len();
        let (before, after) = (self.charter.ring().members(), members);
        let fewer = |what: &str, before: usize, after: usize| {
            if self.allow_fewer || after >= n.min(before) {
                return Ok(());
            }
            Err(Status::failed_precondition(format!(
                "the cluster would have {after} {what}, and each key has {n} replicas: nothing was changed; join others first, or say that it is meant (--allow-fewer-than-n)"
            )))
        };
        fewer("nodes", before.len(), after.len())?;
        fewer("zones", zones(before), zones(after))
    }

    fn named(&self, name: &str) -> Result<&Known, Status> {
        self.known.iter().find(|known| known.info.name == name).ok_or_else(|| {
            let mut names: Vec<&str> = self.known.iter().map(|known| known.info.name.as_str()).collect();
            names.sort_unstable();
            Status::not_found(format!(
                "no node {name:?} is known (known are {}): nothing was changed; a node that is to join has to run, with this cluster's name and an address of one of its members in cluster.seeds",
                names.join(", ")
            ))
        })
    }

    fn member(&self, name: &str) -> Result<&Known, Status> {
        let known = self.named(name)?;
        if self.charter.ring().member(known.info.id).is_none() {
            return Err(Status::failed_precondition(format!(
                "{name} is no member of the ring: nothing was changed; `dynamo ring` shows the members"
            )));
        }
        Ok(known)
    }

    fn newcomer(&self, name: &str) -> Result<&Known, Status> {
        let known = self.named(name)?;
        if self.charter.ring().member(known.info.id).is_some() {
            return Err(Status::failed_precondition(format!(
                "{name} is a member of the ring already: nothing was changed"
            )));
        }
        let gone = dynamo_ring::charter::Gone { id: known.info.id, incarnation: known.info.incarnation };
        if self.charter.gone().contains(&gone) {
            return Err(Status::failed_precondition(format!(
                "{name} left this cluster with the data that it has: nothing was changed; start it with an empty data directory, or with node.retired={}, which empties the one that it has",
                known.info.incarnation
            )));
        }
        self.check_protocol(known)?;
        if known.state != PeerState::Up {
            return Err(Status::failed_precondition(format!(
                "{name} does not answer: nothing was changed; start it, or wait a moment if it has just started"
            )));
        }
        Ok(known)
    }

    /// Who speaks another version than the members could not exchange anything with them.
    fn check_protocol(&self, newcomer: &Known) -> Result<(), Status> {
        let spoken = |known: &Known| Spoken::said(known.info.protocol_lowest, known.info.protocol);
        let (name, theirs) = (&newcomer.info.name, spoken(newcomer));
        let members = self.known.iter().filter(|known| self.charter.ring().member(known.info.id).is_some());
        // 0: configured, and not heard of yet.
        let mut others = members.filter(|member| ![member.info.protocol, newcomer.info.protocol].contains(&0));
        let Some(other) = others.find(|member| spoken(member).with(theirs).is_none()) else { return Ok(()) };
        let ours = spoken(other);
        let is_newer = theirs.lowest > ours.highest;
        let what = if is_newer { "upgrade the members first" } else { "start it with the version that they run" };
        Err(Status::failed_precondition(format!(
            "{name} speaks {theirs} of the language between nodes, and {} speaks {ours}: nothing was changed; {what}",
            other.info.name
        )))
    }

    fn dead(&self, name: &str) -> Result<&Known, Status> {
        let known = self.member(name)?;
        not_alive(known)?;
        Ok(known)
    }
}

/// That there is a change already, and what to do about it.
pub fn under_way(charter: &Charter) -> Option<String> {
    let change = charter.change()?;
    let (id, what) = (change.id, &change.what);
    Some(format!("change {id} is under way ({what}): wait for its end, or take it back with `dynamo ring cancel`"))
}

fn not_alive(known: &Known) -> Result<(), Status> {
    if matches!(known.state, PeerState::Up | PeerState::Suspect) {
        let name = &known.info.name;
        return Err(Status::failed_precondition(format!(
            "{name} is alive: nothing was changed; let it leave (`dynamo node leave {name}`), so that it hands over what it has, or stop it first"
        )));
    }
    Ok(())
}

#[derive(Default)]
struct Change {
    what: Vec<String>,
    lost: Vec<NodeId>,
    lives: BTreeMap<NodeId, u64>,
    roles: BTreeMap<NodeId, &'static str>,
}

impl Change {
    fn add(&mut self, known: &Known, role: &'static str) {
        self.what.push(format!("{} {role}", known.info.name));
        self.lives.insert(known.info.id, known.info.incarnation);
        let role = match role {
            "is removed" => "leaves",
            "is replaced" => "replaced",
            "replaces it" => "replaces",
            "changes" => "stays",
            role => role,
        };
        self.roles.insert(known.info.id, role);
    }
}

fn member_of(info: &NodeInfo, weight: u32) -> Member {
    Member { id: info.id, name: info.name.clone(), zone: info.zone.clone(), weight: weight.max(1) }
}

fn twice(name: &str) -> Status {
    Status::invalid_argument(format!("{name} is named twice: nothing was changed"))
}

/// A sixteenth of the tokens at once: a step that is sealed holds up few keys, and each costs a turn of the epoch.
fn tokens_at_once(ring: &Ring) -> usize {
    (ring.partitions().get() as usize / 16).max(8)
}
