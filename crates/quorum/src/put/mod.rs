//! A write (§4.5, 4.6): W distinct nodes, then every home settled.
//!
//! Every home replica is a *slot*. A slot is settled when the home has the write, or a fallback holds a hint for it, or
//! the coordinator itself keeps note of what the home misses ([`PutEffect::KeepHint`]). A home that is down, refuses or
//! stays silent has its slot given to the next fallback of the walk. The client hears once W distinct nodes have the
//! write; the machine goes on until no home would miss it silently.
//!
//! It does not carry the state that is written: the driver has it and sends it.
//!
//! Here is what comes in; `enlist` says who takes part, `slots` who stands in for whom, `durable` who is asked for the
//! one durable copy, and `verdict` what the client hears.

mod durable;
mod enlist;
mod replica;
mod slots;
mod verdict;

use dynamo_ring::NodeId;
use smallvec::SmallVec;

use self::{
    replica::{NEVER, Phase, Replica, Stable},
    verdict::Verdict,
};
use crate::{Candidate, Durability, NotEnough, PutSettings, Refusal, Refusals};

/// What the driver has to do for a [`Put`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutEffect {
    /// Send the write to a node; report with [`Put::on_ack`] or [`Put::on_refusal`]. A node is sent the write at most
    /// twice, the second time to make it durable.
    Send {
        /// The receiver, possibly the coordinator itself.
        to: NodeId,
        /// The home that the receiver shall keep it for (§4.6); None when it is one.
        hint_for: Option<NodeId>,
        /// It must be on stable storage before the receiver acknowledges (§6.1).
        sync: bool,
    },
    /// Tell the client that the write is safe: W nodes have it. At most once, and never with `Fail`.
    Acknowledge {
        /// Distinct nodes that have it and count, at least W.
        acks: u8,
        /// Of these, fallbacks that hold it as a hint.
        hinted: u8,
    },
    /// Tell the client that it is not, and why.
    Fail(NotEnough),
    /// Nobody else can keep a hint: the coordinator remembers that this home misses the write, and sees to it that it has
    /// something to deliver, also where it is no home of the key itself. Never counted toward W.
    KeepHint {
        /// The home.
        hint_for: NodeId,
    },
    /// Always the last one: the machine may be dropped.
    Finished,
}

/// Effects in the order in which they have to be carried out. Up to 8 are kept without an allocation.
pub type PutEffects = SmallVec<[PutEffect; 8]>;

/// One write (§4.5, 4.6).
///
/// Times are microseconds of the driver's monotonic clock, below `u64::MAX`.
///
/// ```
/// use dynamo_quorum::{Candidate, Durability, NodeState, Put, PutEffect, PutEffects, PutSettings};
/// use dynamo_ring::NodeId;
///
/// let candidate = |node, home, state| Candidate { node: NodeId(node), home, state, latency_us: 0 };
/// // Node 1 is a home and coordinates, home 3 is down, and 4 is the first fallback of the walk.
/// let walk = [
///     candidate(1, true, NodeState::Up),
///     candidate(2, true, NodeState::Up),
///     candidate(3, true, NodeState::Down),
///     candidate(4, false, NodeState::Up),
/// ];
/// let settings = PutSettings {
///     w: 2,
///     sloppy: true,
///     durability: Durability::AllDurable,
///     replica_timeout_us: 500_000,
///     deadline_us: 5_000_000,
/// };
/// let mut put = Put::new(NodeId(1), &walk, settings, true, 0)?;
/// // The driver mints the version and writes its own copy; then it has something to send.
/// let mut effects = PutEffects::new();
/// put.start(100, &mut effects);
/// let send = |to, hint_for| PutEffect::Send { to: NodeId(to), hint_for, sync: true };
/// assert_eq!(effects[..], [send(2, None), send(4, Some(NodeId(3)))]);
///
/// effects.clear();
/// put.on_ack(NodeId(1), true, 200, &mut effects);
/// put.on_ack(NodeId(4), true, 300, &mut effects);
/// assert_eq!(effects[..], [PutEffect::Acknowledge { acks: 2, hinted: 1 }]);
/// // It goes on until home 2 has the write, too.
/// effects.clear();
/// put.on_ack(NodeId(2), true, 400, &mut effects);
/// assert_eq!(effects[..], [PutEffect::Finished]);
/// # Ok::<(), dynamo_quorum::NotEnough>(())
/// ```
#[derive(Debug)]
pub struct Put {
    /// The homes in walk order, then the coordinator if its copy is apart, then the usable fallbacks in walk order; each
    /// node once.
    replicas: SmallVec<[Replica; 16]>,
    deadline: u64,
    replica_timeout: u64,
    refusals: Refusals,
    /// One bit a slot.
    settled: u32,
    homes: u8,
    homes_alive: u8,
    w: u8,
    sloppy: bool,
    durability: Durability,
    verdict: Verdict,
    started: bool,
    finished: bool,
    /// Index of the coordinator when its own copy is under way by itself.
    local: Option<u8>,
    /// The version was made before: nodes that an earlier attempt knew to have it.
    held_before: Option<u8>,
}

impl Put {
    /// Prepares a write by coordinator `me` over the ring's walk. With `local` the coordinator's own copy is written by the
    /// driver before [`Put::start`] (it mints the version), as [`Put::local_hint`] and [`Put::local_sync`] say, and reported
    /// by `on_ack(me, ..)` or `on_refusal(me, ..)` like any other; the coordinator need then not be in the walk.
    ///
    /// `now` is when the request's time begins to run.
    ///
    /// # Errors
    /// W cannot be met by the nodes that are alive: told at once, so that nothing is minted in vain.
    ///
    /// # Panics
    /// With more than 32 homes: a ring has at most [`REPLICAS_MAX`](dynamo_ring::REPLICAS_MAX).
    pub fn new(
        me: NodeId,
        candidates: &[Candidate],
        settings: PutSettings,
        local: bool,
        now: u64,
    ) -> Result<Put, NotEnough> {
        Put::prepared(me, candidates, settings, local, (now, None))
    }

    /// Prepares another attempt at a write whose version exists: an earlier attempt met a ring that turned. Nothing is
    /// minted, so the coordinator's own copy is sent like any other, wherever the walk has it. `holding` nodes were known to
    /// have it then; whoever fails never says that nothing was written.
    ///
    /// # Errors
    /// As [`Put::new`].
    ///
    /// # Panics
    /// As [`Put::new`].
    pub fn again(
        me: NodeId,
        candidates: &[Candidate],
        settings: PutSettings,
        holding: u8,
        now: u64,
    ) -> Result<Put, NotEnough> {
        Put::prepared(me, candidates, settings, false, (now, Some(holding)))
    }

    fn prepared(
        me: NodeId,
        candidates: &[Candidate],
        settings: PutSettings,
        local: bool,
        (now, held_before): (u64, Option<u8>),
    ) -> Result<Put, NotEnough> {
        let mut put = Put {
            replicas: SmallVec::new(),
            deadline: now.saturating_add(settings.deadline_us),
            replica_timeout: settings.replica_timeout_us,
            refusals: Refusals::default(),
            settled: 0,
            homes: 0,
            homes_alive: 0,
            w: settings.w.max(1),
            sloppy: settings.sloppy,
            durability: settings.durability,
            verdict: Verdict::Open,
            started: false,
            finished: false,
            local: None,
            held_before,
        };
        put.enlist_homes(me, candidates, local);
        put.enlist_fallbacks(me, candidates, local);
        let fallbacks = put.replicas.len() - usize::from(put.homes);
        let reachable = usize::from(put.homes_alive) + if put.sloppy { fallbacks } else { 0 };
        if put.w > put.homes || reachable < usize::from(put.w) {
            return Err(put.not_enough(false));
        }
        if put.durability == Durability::OneDurable {
            put.choose_first_durable();
        }
        Ok(put)
    }

    /// The home that the coordinator's own copy is a hint for; None when the coordinator is a home itself, or when its
    /// copy is not written by the driver on its own.
    pub fn local_hint(&self) -> Option<NodeId> {
        let index = usize::from(self.local?);
        self.hint_for(index)
    }

    /// Whether the coordinator's own copy must be on stable storage before it is reported.
    pub fn local_sync(&self) -> bool {
        match self.durability {
            Durability::AllDurable => true,
            Durability::OneDurable => {
                self.local.is_some_and(|index| self.replicas[usize::from(index)].stable == Stable::Asked)
            }
            Durability::Buffered => false,
        }
    }

    /// Sends the write out. To be called once, when the coordinator has the state to send; a second call does nothing.
    pub fn start(&mut self, now: u64, effects: &mut PutEffects) {
        if self.started || self.finished {
            return;
        }
        self.started = true;
        for index in 0..usize::from(self.homes) {
            if self.replicas[index].phase == Phase::Idle {
                let sync = self.replicas[index].stable == Stable::Asked;
                self.send(index, sync, now, effects);
            }
        }
        if let Some(index) = self.local {
            let due = now.saturating_add(self.replica_timeout);
            let replica = &mut self.replicas[usize::from(index)];
            if replica.phase == Phase::InFlight {
                replica.due = due;
            }
        }
        for slot in 0..self.homes {
            if matches!(self.replicas[usize::from(slot)].phase, Phase::Absent | Phase::Refused) {
                self.replace(slot, now, effects);
            }
        }
        self.decide(now, effects);
    }

    /// A node has the write; `durable` when it is on stable storage there. Duplicates, late ones and those of nodes
    /// that were never asked do no harm. One that is not durable counts as a refusal under [`Durability::AllDurable`].
    pub fn on_ack(&mut self, from: NodeId, durable: bool, now: u64, effects: &mut PutEffects) {
        let Some(index) = self.asked(from) else { return };
        let replica = &mut self.replicas[index];
        let first = replica.phase != Phase::Acked;
        if !durable && self.durability == Durability::AllDurable {
            // Less than what was asked for, so it is none. (A node that runs with other settings.)
            self.refused(index, now, effects);
            return self.decide(now, effects);
        }
        if durable {
            replica.stable = Stable::Yes;
            replica.due = NEVER;
        }
        if first {
            replica.phase = Phase::Acked;
            replica.due = NEVER;
            if !durable && replica.stable == Stable::Asked {
                replica.stable = Stable::Failed;
            }
            if !replica.spare {
                self.settled |= 1 << replica.slot;
            }
        }
        self.seek_durable(now, effects);
        self.decide(now, effects);
    }

    /// A node did not take the write, or no answer of it will come. One that has acknowledged before still counts.
    pub fn on_refusal(&mut self, from: NodeId, refusal: Refusal, now: u64, effects: &mut PutEffects) {
        let Some(index) = self.asked(from) else { return };
        self.refusals.add(refusal);
        self.refused(index, now, effects);
        self.seek_durable(now, effects);
        self.decide(now, effects);
    }

    /// Time has passed; see [`Put::next_time`]. Too early a call does nothing. Nodes that are silent for too long are
    /// replaced; at the deadline the machine ends, whatever it has.
    pub fn on_time(&mut self, now: u64, effects: &mut PutEffects) {
        if self.finished {
            return;
        }
        if now < self.deadline {
            for index in 0..self.replicas.len() {
                if self.replicas[index].due <= now {
                    self.silent(index, now, effects);
                }
            }
            self.seek_durable(now, effects);
        }
        self.decide(now, effects);
    }

    /// When [`Put::on_time`] has to be called next, microseconds; None when the machine has finished.
    pub fn next_time(&self) -> Option<u64> {
        if self.finished {
            return None;
        }
        self.replicas.iter().map(|replica| replica.due).chain([self.deadline]).min()
    }

    /// Whether [`PutEffect::Finished`] was pushed.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn send(&mut self, index: usize, sync: bool, now: u64, effects: &mut PutEffects) {
        let hint_for = self.hint_for(index);
        let due = now.saturating_add(self.replica_timeout);
        let replica = &mut self.replicas[index];
        replica.due = due;
        if sync {
            replica.stable = Stable::Asked;
        }
        if replica.phase == Phase::Idle {
            replica.phase = Phase::InFlight;
        }
        let sync = sync || self.durability == Durability::AllDurable;
        effects.push(PutEffect::Send { to: replica.node, hint_for, sync });
    }

    /// Index of a node that was asked. An acknowledgement after a refusal counts: the node says that it has the write.
    fn asked(&self, from: NodeId) -> Option<usize> {
        let index = self.position(from)?;
        let asked = !matches!(self.replicas[index].phase, Phase::Absent | Phase::Idle);
        (asked && !self.finished).then_some(index)
    }

    fn position(&self, node: NodeId) -> Option<usize> {
        self.replicas.iter().position(|replica| replica.node == node)
    }

    fn homes(&self) -> &[Replica] {
        &self.replicas[..usize::from(self.homes)]
    }
}
