//! What the register holds (§4.9): the settled ring, who may vote on the next, and the change that is under way.
//!
//! A change is a list of steps. Each moves a few tokens at once, and makes the ring of the next epoch out of the settled
//! one when it *turns*. A charter is a value: each method gives the one that comes after it, and the register sees to it
//! that only one does. When a step may turn is not known here.

mod encode;
mod error;

pub use encode::CHARTER_FORMAT;
pub use error::CharterError;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::NodeId,
    position::Partition,
    register::Voter,
    ring::{Member, Ring},
};

/// A token that gets another owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Of which partition.
    pub partition: Partition,
    /// Who owns it then.
    pub to: NodeId,
}

/// Tokens that change hands together, with one turn of the epoch.
pub type Moves = Vec<Move>;

/// A node that will not be back under this incarnation: it left, was removed, or its disk was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gone {
    /// Its id.
    pub id: NodeId,
    /// Which life of its disk.
    pub incarnation: u64,
}

/// The last turn of the epoch that moved nothing and was made for a collection of tombstones: what was sent in an older
/// epoch is taken nowhere after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Barrier {
    /// The epoch that it began; 0: there was none yet.
    pub epoch: u64,
    /// For which round of collecting, by the number that its caller drew.
    pub round: u64,
}

/// What a change is to bring about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// In words, for people: "node-6 joins".
    pub what: String,
    /// The members once it is done.
    pub members: Vec<Member>,
    /// The steps, in order.
    pub steps: Vec<Moves>,
    /// Members that are not to be asked for what they have: they are down for good.
    pub lost: Vec<NodeId>,
    /// What only those had, or homes that are not whole, may be lost: an administrator has said so.
    pub accept_loss: bool,
    /// Which life each node has that joins or leaves.
    pub lives: BTreeMap<NodeId, u64>,
}

/// A change under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingChange {
    /// Its name: the register's version at which it began.
    pub id: u64,
    /// In words.
    pub what: String,
    /// The members once it is done.
    pub members: Vec<Member>,
    /// Steps to be taken, the next one first; never none.
    pub steps: Vec<Moves>,
    /// What takes the steps back that were taken, the last one first.
    pub undo: Vec<Moves>,
    /// The members before it began.
    pub origin: Vec<Member>,
    /// Members that are down for good.
    pub lost: Vec<NodeId>,
    /// What only those had, or homes that are not whole, may be lost: an administrator has said so.
    pub accept_loss: bool,
    /// Which life each node has that joins or leaves.
    pub lives: BTreeMap<NodeId, u64>,
    /// It is being taken back.
    pub cancelled: bool,
}

/// The register's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charter {
    ring: Ring,
    /// Which life of its disk each member has; those that the configuration named and that nobody has seen die are
    /// missing, their votes are given under life 0.
    lives: BTreeMap<NodeId, u64>,
    gone: BTreeSet<Gone>,
    change: Option<RingChange>,
    barrier: Barrier,
    leavers: BTreeSet<NodeId>,
}

impl Charter {
    /// A cluster's first: the ring that its configuration makes.
    pub fn first(ring: Ring) -> Charter {
        let (lives, gone, barrier, leavers) = Default::default();
        Charter { ring, lives, gone, change: None, barrier, leavers }
    }

    /// The settled ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// The change that is under way.
    pub fn change(&self) -> Option<&RingChange> {
        self.change.as_ref()
    }

    /// Who is not to return.
    pub fn gone(&self) -> &BTreeSet<Gone> {
        &self.gone
    }

    /// The last turn that was made for a collection of tombstones.
    pub fn last_barrier(&self) -> Barrier {
        self.barrier
    }

    /// Who is no member and may still hold something for others: hints, or records that it has not handed over. Each is
    /// released by its own word that it holds nothing, or by an administrator's that it is lost.
    pub fn leavers(&self) -> &BTreeSet<NodeId> {
        &self.leavers
    }

    /// Whether what a node has may still be taken from it: it is a member, is to be one, or has left and hands over.
    /// Whatever anybody else holds may be older than what was collected since.
    pub fn takes_from(&self, id: NodeId) -> bool {
        let joins = || self.change.iter().any(|change| change.members.iter().any(|member| member.id == id));
        self.ring.member(id).is_some() || self.leavers.contains(&id) || joins()
    }

    /// The same owners at the next epoch, for round `round` of collecting. None while anything moves, or somebody who left
    /// still holds something.
    pub fn raise_barrier(&self, round: u64) -> Option<Charter> {
        if self.change.is_some() || !self.leavers.is_empty() {
            return None;
        }
        let ring = self.same_owners();
        let barrier = Barrier { epoch: ring.epoch(), round };
        Some(Charter { ring, barrier, ..self.clone() })
    }

    /// These have left and hold nothing for others any more, or never will. None if none of them was waited for.
    pub fn release(&self, ids: &[NodeId]) -> Option<Charter> {
        let mut next = self.clone();
        next.leavers.retain(|id| !ids.contains(id));
        (next != *self).then_some(next)
    }

    /// Under which life a node votes, if it is a member.
    pub fn voter(&self, id: NodeId) -> Option<Voter> {
        self.ring.member(id).map(|_| Voter { id, incarnation: self.lives.get(&id).copied().unwrap_or(0) })
    }

    /// Who votes on the next version: the members of the settled ring.
    pub fn voters(&self) -> Vec<Voter> {
        self.ring.members().iter().filter_map(|member| self.voter(member.id)).collect()
    }

    /// The ring that the next step makes, at the next epoch; None without a change.
    pub fn next_ring(&self) -> Option<Ring> {
        let change = self.change.as_ref()?;
        Some(self.after(change, &change.steps[0], change.steps.len() == 1).expect("checked when it began"))
    }

    /// Begins a change. `version` is that of the register's value that this charter will be.
    ///
    /// # Errors
    /// One is under way, nothing would change, or a step makes no ring.
    pub fn begin(&self, version: u64, proposed: Proposed) -> Result<Charter, CharterError> {
        if let Some(change) = &self.change {
            return Err(CharterError::UnderWay { id: change.id, what: change.what.clone() });
        }
        let Proposed { what, mut members, steps, lost, accept_loss, lives } = proposed;
        members.sort_by_key(|member| member.id);
        if steps.is_empty() {
            return Err(CharterError::Nothing);
        }
        for member in &members {
            let life = lives.get(&member.id).copied();
            if life.is_some_and(|incarnation| self.gone.contains(&Gone { id: member.id, incarnation })) {
                return Err(CharterError::Returned(member.name.clone()));
            }
        }
        let origin = self.ring.members().to_vec();
        let (undo, cancelled) = (Vec::new(), false);
        let change =
            RingChange { id: version, what, members, steps, undo, origin, lost, accept_loss, lives, cancelled };
        let begun = Charter { change: Some(change), ..self.clone() };
        // Each step's ring is worked out once now, so that none can turn out to be no ring later.
        let mut walker = begun.clone();
        while let Some(change) = &walker.change {
            walker.after(change, &change.steps[0], change.steps.len() == 1)?;
            walker = walker.turn().expect("there is a change");
        }
        Ok(begun)
    }

    /// Fills in the lives of those who take part that the one who began the change did not know: he may have started a moment
    /// ago and know them by configuration only. `newest` is what is remembered of a node, 0 for nothing. A life that nobody
    /// writes down when it goes could come back.
    ///
    /// # Errors
    /// The life of one who joins or leaves is still not known, or of one who joins it is gone.
    pub fn with_lives(mut self, newest: impl Fn(NodeId) -> u64) -> Result<Charter, CharterError> {
        let Some(change) = &mut self.change else { return Ok(self) };
        for (id, life) in &mut change.lives {
            let member = change.members.iter().chain(&change.origin).find(|member| member.id == *id);
            let name = || member.map_or_else(|| id.to_string(), |member| member.name.clone());
            *life = if *life == 0 { newest(*id) } else { *life };
            let stays = change.members.iter().any(|member| member.id == *id);
            if stays && self.gone.contains(&Gone { id: *id, incarnation: *life }) {
                return Err(CharterError::Returned(name()));
            }
            // Who is down for good may never have started at all.
            if *life == 0 && !change.lost.contains(id) {
                return Err(CharterError::Unheard(name()));
            }
        }
        Ok(self)
    }

    /// The step is done: its ring is the settled one. None without a change.
    pub fn turn(&self) -> Option<Charter> {
        let mut change = self.change.clone()?;
        let ring = self.next_ring()?;
        let moves = change.steps.remove(0);
        let back = moves.iter().map(|step| Move { to: self.ring.owner(step.partition).id, ..*step }).collect();
        change.undo.insert(0, back);
        let mut next = Charter { ring, ..self.clone() };
        // Who owns nothing between two steps gets its vote back under the life that it had if the change is taken back.
        let may_return = |id: &NodeId| {
            let before = if change.cancelled { &change.members } else { &change.origin };
            !change.steps.is_empty() && before.iter().any(|member| member.id == *id)
        };
        next.lives.retain(|id, _| next.ring.member(*id).is_some() || may_return(id));
        for member in next.ring.members() {
            if !change.cancelled
                && self.ring.member(member.id).is_none()
                && let Some(life) = change.lives.get(&member.id)
            {
                next.lives.insert(member.id, *life);
            }
        }
        if change.steps.is_empty() {
            for member in &change.origin {
                let stays = change.members.iter().any(|after| after.id == member.id);
                let life = change.lives.get(&member.id).or(self.lives.get(&member.id));
                if let Some(&incarnation) = life.filter(|_| !stays) {
                    next.gone.insert(Gone { id: member.id, incarnation });
                }
                if !stays && !change.lost.contains(&member.id) {
                    next.leavers.insert(member.id);
                }
            }
            next.change = None;
        } else {
            next.change = Some(change);
        }
        next.leavers.retain(|id| next.ring.member(*id).is_none());
        Some(next)
    }

    /// The step is not done, and those who sealed for it serve again: the same owners at the next epoch, and the same step
    /// ahead. None without a change.
    pub fn unseal(&self) -> Option<Charter> {
        self.change.as_ref()?;
        Some(self.renew())
    }

    /// The same owners at the next epoch: who has prepared for that, and then did not hear that it had come, serves again.
    #[must_use]
    pub fn renew(&self) -> Charter {
        Charter { ring: self.same_owners(), ..self.clone() }
    }

    /// Takes the change back: the present step is dropped, at the next epoch, and those that were taken are to be undone.
    ///
    /// # Errors
    /// There is none, or it is being taken back already.
    pub fn cancel(&self) -> Result<Charter, CharterError> {
        let change = self.change.as_ref().ok_or(CharterError::NoChange)?;
        if change.cancelled {
            return Err(CharterError::Cancelled(change.id));
        }
        let back = RingChange {
            what: format!("{} (taken back)", change.what),
            members: change.origin.clone(),
            steps: change.undo.clone(),
            undo: Vec::new(),
            origin: self.ring.members().to_vec(),
            cancelled: true,
            ..change.clone()
        };
        // Who was to join may have copied something by now.
        let joining = change.members.iter().map(|member| member.id).filter(|id| self.ring.member(*id).is_none());
        let leavers = self.leavers.iter().copied().chain(joining).collect();
        let change = (!back.steps.is_empty()).then_some(back);
        Ok(Charter { ring: self.same_owners(), change, leavers, ..self.clone() })
    }

    /// A member's disk was emptied and it has been filled again: it votes under its new life, and the old one is gone.
    ///
    /// # Errors
    /// It is no member, or that life is gone.
    pub fn admit(&self, id: NodeId, old: Option<u64>, life: u64) -> Result<Charter, CharterError> {
        let member = self.ring.member(id).ok_or(CharterError::NoMember(id))?;
        if self.gone.contains(&Gone { id, incarnation: life }) {
            return Err(CharterError::Returned(member.name.clone()));
        }
        let mut next = self.clone();
        let before = next.lives.insert(id, life);
        let before = before.or(old).filter(|before| *before != life);
        next.gone.extend(before.map(|incarnation| Gone { id, incarnation }));
        Ok(next)
    }

    fn same_owners(&self) -> Ring {
        let ring = &self.ring;
        ring.turned(ring.members().to_vec(), |partition| ring.owner(partition).id).expect("the same ring as before")
    }

    /// The ring after a step. Members are those who own a token by then; after the last step all that are to be.
    fn after(&self, change: &RingChange, moves: &[Move], last: bool) -> Result<Ring, CharterError> {
        let moved: BTreeMap<Partition, NodeId> = moves.iter().map(|step| (step.partition, step.to)).collect();
        if moved.keys().any(|partition| u32::from(partition.0) >= self.ring.partitions().get()) {
            return Err(CharterError::Malformed("a token that the ring does not have"));
        }
        let owner = |partition: Partition| moved.get(&partition).copied().unwrap_or(self.ring.owner(partition).id);
        let mut members: BTreeMap<NodeId, &Member> =
            self.ring.members().iter().map(|member| (member.id, member)).collect();
        members.extend(change.members.iter().map(|member| (member.id, member)));
        if last {
            members.retain(|id, _| change.members.iter().any(|member| member.id == *id));
        } else {
            let owning: BTreeSet<NodeId> = self.ring.partitions().iter().map(owner).collect();
            members.retain(|id, _| owning.contains(id));
        }
        let members = members.into_values().cloned().collect();
        self.ring.turned(members, owner).map_err(CharterError::Ring)
    }
}
