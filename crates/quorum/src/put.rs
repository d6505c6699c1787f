//! A write (§4.5, 4.6): W distinct nodes, then every home settled.
//!
//! Every home replica is a *slot*. A slot is settled when the home has the write, or a fallback holds a hint for it, or
//! the coordinator itself keeps note of what the home misses ([`PutEffect::KeepHint`]). A home that is down, refuses or
//! stays silent has its slot given to the next fallback of the walk. The client hears once W distinct nodes have the
//! write; the machine goes on until no home would miss it silently.
//!
//! It does not carry the state that is written: the driver has it and sends it.

use dynamo_ring::NodeId;
use smallvec::SmallVec;

use crate::{Candidate, Durability, NodeState, NotEnough, Operation, PutSettings, Refusal, Refusals};

/// What the driver has to do for a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PutEffect {
    /// Send the write to a node.
    Send {
        /// The receiver, possibly the coordinator itself.
        to: NodeId,
        /// The home that the receiver shall keep it for; None when it is one.
        hint_for: Option<NodeId>,
        /// It must be on stable storage before the receiver acknowledges.
        sync: bool,
    },
    /// Tell the client that the write is safe.
    Acknowledge {
        /// Distinct nodes that count.
        acks: u8,
        /// Of these, fallbacks that hold it as a hint.
        hinted: u8,
    },
    /// Tell the client that it is not.
    Fail(NotEnough),
    /// Nobody else can keep a hint: the coordinator remembers that this home misses the write. Never counted toward W.
    KeepHint {
        /// The home.
        hint_for: NodeId,
    },
    /// Always the last one: the machine may be dropped.
    Finished,
}

/// Effects in the order in which they have to be carried out. Inline for every N up to 8.
pub type PutEffects = SmallVec<[PutEffect; 8]>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// A home that takes no writes now. It is never asked.
    Absent,
    /// Not asked yet.
    Idle,
    /// Asked; once its time is up (`due` is NEVER) still hoped for, but no longer waited for.
    InFlight,
    Acked,
    Refused,
}

/// What is known of a node's stable storage, of interest to `OneDurable`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stable {
    NotAsked,
    Asked,
    Yes,
    Failed,
}

const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
struct Replica {
    node: NodeId,
    due: u64,
    phase: Phase,
    stable: Stable,
    /// The home (index) that it is, or that it holds a hint for.
    slot: u8,
    /// Whether its acknowledgement counts toward W.
    counts: bool,
    /// The coordinator's own copy while all homes are thought alive: it stands for nobody yet, so it does not count.
    spare: bool,
}

impl Replica {
    fn idle(node: NodeId) -> Replica {
        let (phase, stable) = (Phase::Idle, Stable::NotAsked);
        Replica { node, due: NEVER, phase, stable, slot: 0, counts: false, spare: false }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Open,
    Acknowledged,
    Failed,
}

/// One write.
#[derive(Debug)]
pub struct Put {
    /// The homes in walk order, then the usable fallbacks in walk order; each node once.
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
}

impl Put {
    /// Prepares a write over the ring's walk. With `local` the coordinator's own copy is written by the driver before
    /// [`Put::start`] (it mints the version), as [`Put::local_hint`] and [`Put::local_sync`] say, and reported by
    /// `on_ack(me, ..)` or `on_refusal(me, ..)` like any other; the coordinator need then not be in the walk.
    ///
    /// Tells at once when W cannot be met by the nodes that are alive, so that nothing is minted in vain.
    pub fn new(
        me: NodeId,
        candidates: &[Candidate],
        settings: PutSettings,
        local: bool,
        now: u64,
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

    fn enlist_homes(&mut self, me: NodeId, candidates: &[Candidate], local: bool) {
        for candidate in candidates.iter().filter(|candidate| candidate.home) {
            if self.position(candidate.node).is_some() {
                continue;
            }
            let slot = self.homes;
            assert!(slot < 32, "a preference list of more than 32 nodes");
            let mine = local && candidate.node == me;
            let phase = match candidate.state {
                _ if mine => Phase::InFlight,
                NodeState::Up => Phase::Idle,
                NodeState::Down | NodeState::ReadOnly => Phase::Absent,
            };
            if mine {
                self.local = Some(slot);
            }
            if phase == Phase::Absent && candidate.state == NodeState::ReadOnly {
                self.refusals.add(Refusal::DiskFull);
            }
            self.homes_alive += u8::from(phase != Phase::Absent);
            self.homes += 1;
            self.replicas.push(Replica { phase, slot, counts: true, ..Replica::idle(candidate.node) });
        }
    }

    fn enlist_fallbacks(&mut self, me: NodeId, candidates: &[Candidate], local: bool) {
        if local && self.local.is_none() && self.homes > 0 {
            // The coordinator's own copy stands for the first home that is not there. When all are, it is a spare for
            // the last: counting it would make W nodes of N + 1, which R of N need not meet.
            let absent = self.replicas.iter().position(|home| home.phase == Phase::Absent);
            let slot = absent.map_or(self.homes - 1, |slot| slot as u8);
            let spare = absent.is_none();
            self.local = Some(self.replicas.len() as u8);
            self.replicas.push(Replica {
                phase: Phase::InFlight,
                slot,
                spare,
                counts: self.sloppy && !spare,
                ..Replica::idle(me)
            });
        }
        for candidate in candidates.iter().filter(|candidate| !candidate.home) {
            let usable = candidate.state == NodeState::Up;
            if usable && self.replicas.len() < 64 && self.position(candidate.node).is_none() {
                self.replicas.push(Replica::idle(candidate.node));
            }
        }
    }

    /// Whom to ask for the durable copy of `OneDurable`: the coordinator itself when its copy counts, for that costs no
    /// hop, or else the first home. When there is neither, the first fallback gets it at the start.
    fn choose_first_durable(&mut self) {
        let local = self.local.map(usize::from).filter(|&index| self.replicas[index].counts);
        let first = local.or_else(|| self.homes().iter().position(|home| home.phase != Phase::Absent));
        if let Some(index) = first {
            self.replicas[index].stable = Stable::Asked;
        }
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

    /// Sends the write out. To be called once, when the coordinator has the state to send.
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
    /// that were never asked do no harm.
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

    /// A node did not take the write.
    pub fn on_refusal(&mut self, from: NodeId, refusal: Refusal, now: u64, effects: &mut PutEffects) {
        let Some(index) = self.asked(from) else { return };
        self.refusals.add(refusal);
        self.refused(index, now, effects);
        self.seek_durable(now, effects);
        self.decide(now, effects);
    }

    /// Time has passed; see [`Put::next_time`]. Too early a call does nothing.
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

    /// When [`Put::on_time`] has to be called next; None when the machine has finished.
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

    fn refused(&mut self, index: usize, now: u64, effects: &mut PutEffects) {
        let replica = &mut self.replicas[index];
        replica.due = NEVER;
        if replica.stable != Stable::Yes {
            replica.stable = Stable::Failed;
        }
        // One that has the write already and refuses to sync it still has it.
        if replica.phase == Phase::InFlight {
            replica.phase = Phase::Refused;
            let (slot, spare) = (replica.slot, replica.spare);
            if self.started && !spare {
                self.replace(slot, now, effects);
            }
        }
    }

    fn silent(&mut self, index: usize, now: u64, effects: &mut PutEffects) {
        let replica = &mut self.replicas[index];
        replica.due = NEVER;
        if replica.phase == Phase::InFlight && !replica.spare {
            let slot = replica.slot;
            self.replace(slot, now, effects);
        }
    }

    /// Gives a home's slot to the next fallback, unless somebody has it or is still waited for.
    fn replace(&mut self, slot: u8, now: u64, effects: &mut PutEffects) {
        let covered = |replica: &Replica| replica.slot == slot && replica.due != NEVER && !replica.spare;
        let waiting = self.replicas.iter().any(|replica| replica.phase == Phase::InFlight && covered(replica));
        if self.is_settled(slot) || waiting || self.verdict == Verdict::Failed {
            return;
        }
        let spare = self.replicas.iter().position(|replica| replica.spare && replica.phase != Phase::Refused);
        if let Some(index) = spare.filter(|&index| self.replicas[index].slot == slot) {
            return self.use_spare(index);
        }
        let first_fallback = usize::from(self.homes);
        let next = (first_fallback..self.replicas.len()).find(|&index| self.replicas[index].phase == Phase::Idle);
        if let Some(index) = next {
            let sync = self.wants_durable() && self.sloppy && self.resend_candidate().is_none();
            self.replicas[index].slot = slot;
            self.replicas[index].counts = self.sloppy;
            return self.send(index, sync, now, effects);
        }
        // The spare copy keeps a hint for another home, but it is a node of its own and has the write.
        if let Some(index) = spare {
            self.use_spare(index);
        }
        self.settled |= 1 << slot;
        effects.push(PutEffect::KeepHint { hint_for: self.replicas[usize::from(slot)].node });
    }

    fn use_spare(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        replica.spare = false;
        replica.counts = self.sloppy;
        if replica.phase == Phase::Acked {
            self.settled |= 1 << replica.slot;
        }
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

    /// `OneDurable`: when whoever was to make it durable failed, asks another. One that already has the write is asked
    /// first, because it is alive; while others are still in flight their answer is waited for, so that a node never has
    /// two requests of one write under way.
    fn seek_durable(&mut self, now: u64, effects: &mut PutEffects) {
        if !self.started || !self.wants_durable() {
            return;
        }
        if let Some(index) = self.resend_candidate() {
            return self.send(index, true, now, effects);
        }
        let awaited = |replica: &Replica| replica.counts && replica.phase == Phase::InFlight && replica.due != NEVER;
        if self.sloppy && !self.replicas.iter().any(awaited) {
            let first_fallback = usize::from(self.homes);
            let next = (first_fallback..self.replicas.len()).find(|&index| self.replicas[index].phase == Phase::Idle);
            if let Some(index) = next {
                self.replicas[index].counts = true;
                self.send(index, true, now, effects);
            }
        }
    }

    /// `OneDurable`, no counted copy is durable, and nobody is being waited for to make one so.
    fn wants_durable(&self) -> bool {
        let promising = |replica: &Replica| match replica.stable {
            Stable::Yes => true,
            Stable::Asked => replica.due != NEVER,
            Stable::NotAsked | Stable::Failed => false,
        };
        self.durability == Durability::OneDurable
            && self.verdict == Verdict::Open
            && !self.replicas.iter().any(|replica| replica.counts && promising(replica))
    }

    fn resend_candidate(&self) -> Option<usize> {
        self.replicas
            .iter()
            .position(|replica| replica.counts && replica.phase == Phase::Acked && replica.stable == Stable::NotAsked)
    }

    fn decide(&mut self, now: u64, effects: &mut PutEffects) {
        if self.finished {
            return;
        }
        let late = now >= self.deadline;
        if self.verdict == Verdict::Open {
            let (acks, durable) = self.counted();
            if acks >= self.w && (durable || self.durability != Durability::OneDurable) {
                self.verdict = Verdict::Acknowledged;
                let fallbacks = &self.replicas[usize::from(self.homes)..];
                let hinted = fallbacks.iter().filter(|replica| replica.counts && replica.phase == Phase::Acked).count();
                effects.push(PutEffect::Acknowledge { acks, hinted: hinted as u8 });
            } else if late || (self.started && !self.possible()) {
                // Nothing is left that could help the homes: a sloppy write fails early only when all fallbacks are
                // used up, and a late one has no time. What is under way arrives by itself.
                self.verdict = Verdict::Failed;
                effects.push(PutEffect::Fail(self.not_enough(late)));
                self.finish(effects);
                return;
            }
        }
        if self.verdict == Verdict::Acknowledged {
            for slot in 0..self.homes {
                if late && !self.is_settled(slot) {
                    self.settled |= 1 << slot;
                    effects.push(PutEffect::KeepHint { hint_for: self.replicas[usize::from(slot)].node });
                }
            }
            if (0..self.homes).all(|slot| self.is_settled(slot)) {
                self.finish(effects);
            }
        }
    }

    fn finish(&mut self, effects: &mut PutEffects) {
        self.finished = true;
        effects.push(PutEffect::Finished);
    }

    /// Whether W, and the durable copy, can still be had. While an idle fallback is left, every slot is held or in
    /// flight, so counting it as one more node is never too little, and the deadline bounds what it is too much.
    fn possible(&self) -> bool {
        let hopeful = |replica: &&Replica| {
            let alive = matches!(replica.phase, Phase::Acked | Phase::InFlight);
            let counts = replica.counts || (self.sloppy && replica.spare);
            (alive && counts) || (self.sloppy && replica.phase == Phase::Idle)
        };
        let durable = self.durability != Durability::OneDurable
            || self.replicas.iter().filter(hopeful).any(|replica| replica.stable != Stable::Failed);
        durable && self.replicas.iter().filter(hopeful).count() >= usize::from(self.w)
    }

    fn counted(&self) -> (u8, bool) {
        let counted = self.replicas.iter().filter(|replica| replica.counts && replica.phase == Phase::Acked);
        counted.fold((0, false), |(acks, durable), replica| (acks + 1, durable || replica.stable == Stable::Yes))
    }

    fn not_enough(&self, timed_out: bool) -> NotEnough {
        let (acked, durable) = self.counted();
        NotEnough {
            operation: Operation::Write,
            strict: !self.sloppy,
            needed: self.w,
            acked,
            holding: self.replicas.iter().filter(|replica| replica.phase == Phase::Acked).count() as u8,
            homes: self.homes,
            homes_alive: self.homes_alive,
            lacks_durable: acked >= self.w && !durable && self.durability == Durability::OneDurable,
            begun: self.started || self.replicas.iter().any(|replica| replica.phase == Phase::Acked),
            timed_out,
            refusals: self.refusals,
        }
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

    fn hint_for(&self, index: usize) -> Option<NodeId> {
        let slot = usize::from(self.replicas[index].slot);
        (index != slot).then(|| self.replicas[slot].node)
    }

    fn is_settled(&self, slot: u8) -> bool {
        self.settled & (1 << slot) != 0
    }
}
