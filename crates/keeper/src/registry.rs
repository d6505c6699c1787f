//! This node's part in the ring's register: its vote, its attempts to change it, and the newest value that it knows.
//!
//! A value counts as known once it is on this node's disk; before that nothing is said or done by it. Changes are made one
//! after the other, each planned on one version; what is preempted is tried again after a pause drawn by lot.
//!
//! *The first votes.* The first value names its voters by configuration, before anybody knows which disks they have. So a
//! node votes under life 0 only when a majority of the other first members have durably noted its present disk as the
//! first that they heard of (any two such majorities share a node, and it notes one disk only). A first member whose disk
//! was emptied before the first change finds its old life noted, and has no vote until a change admits it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use dynamo_ring::{
    NodeId,
    charter::Charter,
    register::{
        Acceptor, AcceptorEffect, Answer, Change, Outcome, Proposer, ProposerEffect, Reply, Request, State, Value,
        Voter,
    },
};

use crate::{
    effect::ChangeError,
    looking::{Looks, Wants},
};

/// An attempt's messages are sent again after so long without an answer, microseconds.
const RESEND_US: u64 = 250_000;
/// An attempt is given up after so long.
const GIVE_UP_US: u64 = 2_000_000;
/// A change is given up after so long.
const PATIENCE_US: u64 = 12_000_000;
/// The longest pause after an attempt that was preempted.
const PAUSE_US: u64 = 400_000;
/// First lives are asked for so often.
const ATTEST_US: u64 = 1_000_000;

/// Where the voter's state is kept.
pub const STATE_KEY: &str = "register/state";
/// Where the newest known value is kept.
pub const KNOWN_KEY: &str = "register/known";
/// Where the first lives that were heard of are kept, and whether this node's own was attested.
pub const LIVES_KEY: &str = "register/lives";

/// What the keeper has to do for the register.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistryEffect {
    /// Send a question to a voter.
    Vote(Request),
    /// Answer a voter's question.
    Voted {
        /// The driver's name for it.
        call: u64,
        /// The answer.
        reply: Reply,
    },
    /// Ask a first member which life of this node it heard of first.
    Attest(NodeId),
    /// Answer that.
    Attested {
        /// The driver's name for it.
        call: u64,
        /// The first life heard of.
        incarnation: u64,
    },
    /// Keep this; then call [`Registry::on_kept`] with the write.
    Put {
        /// Which write.
        write: Write,
        /// Under which name.
        key: &'static str,
        /// What.
        value: Bytes,
    },
    /// A newer value is chosen: fence, keep it, then call [`Registry::on_known`].
    Learnt(Value),
    /// A look's end: which version was known to be the newest, or why that is not known.
    Looked {
        /// The request.
        request: u64,
        /// What came of it.
        result: Result<u64, String>,
    },
    /// A change's end.
    Done {
        /// The request.
        request: u64,
        /// What came of it.
        result: Result<u64, ChangeError>,
    },
}

/// A write of the registry's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The voter's state, by its ticket.
    State(u64),
    /// The lives.
    Lives,
}

/// What a disk holds of the register.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Under [`STATE_KEY`].
    pub state: Option<Bytes>,
    /// Under [`KNOWN_KEY`].
    pub known: Option<Bytes>,
    /// Under [`LIVES_KEY`].
    pub lives: Option<Bytes>,
}

/// A change, or a read for a look's sake.
struct Wanted {
    /// None: it is a read.
    change: Option<(u64, u64, Charter)>,
    until: u64,
    not_before: u64,
    beyond: Option<dynamo_ring::register::Ballot>,
    /// An attempt ended without it being known what came of it.
    maybe: bool,
    last: Option<String>,
}

enum Attempt {
    /// Waits for its ballot.
    Minting,
    Running {
        proposer: Box<Proposer>,
        resend_at: u64,
        give_up_at: u64,
    },
}

/// The node's part in the register.
pub struct Registry {
    me: NodeId,
    incarnation: u64,
    known: Value,
    charter: Arc<Charter>,
    acceptor: Acceptor,
    /// The last state that the disk is known to hold.
    durable: Option<State>,
    pending_states: BTreeMap<u64, State>,
    attested: bool,
    /// This node may be an old copy of itself: it gives no vote, and begins no attempt, until that is known.
    held: bool,
    /// Another life of this node was noted first somewhere: this one.
    first_life: Option<u64>,
    /// Who noted this life first.
    attestors: BTreeSet<NodeId>,
    lives: BTreeMap<NodeId, u64>,
    /// Answers that wait for the lives to be durable.
    lives_waiting: Vec<(u64, u64)>,
    next_attest: u64,
    wanted: VecDeque<Wanted>,
    attempt: Option<Attempt>,
    looks: Looks,
}

impl Registry {
    /// With what the disk holds. `first` is the charter that the configuration makes.
    ///
    /// # Errors
    /// What the disk holds is damaged or of a newer version, in words.
    pub fn new(me: NodeId, incarnation: u64, first: &Charter, kept: &Kept) -> Result<Registry, String> {
        let damaged = |what: &str, error: &dyn std::fmt::Display| {
            format!(
                "{what} on this disk can't be read ({error}): nothing was changed; run the version that wrote it, or move the data directory away and let the node be rebuilt from its replicas"
            )
        };
        let known = match &kept.known {
            Some(bytes) => Value::decode(bytes).map_err(|error| damaged("the ring's value", &error))?,
            None => Value::first(first.voters(), first.encode()).map_err(|error| error.to_string())?,
        };
        let charter = Charter::decode(known.payload()).map_err(|error| damaged("the ring's value", &error))?;
        let state = match &kept.state {
            Some(bytes) => Some(State::decode(bytes).map_err(|error| damaged("this node's vote", &error))?),
            None => None,
        };
        let (attested, lives) = match &kept.lives {
            Some(bytes) => decode_lives(bytes).ok_or_else(|| damaged("the first lives of nodes", &"cut short"))?,
            None => (None, BTreeMap::new()),
        };
        // What was attested to an earlier life is not this one's.
        let attested = attested == Some(incarnation);
        let voter = Voter { id: me, incarnation: if attested { 0 } else { incarnation } };
        Ok(Registry {
            me,
            incarnation,
            charter: Arc::new(charter),
            known,
            acceptor: Acceptor::new(voter, state.clone()),
            durable: state,
            pending_states: BTreeMap::new(),
            attested,
            held: false,
            first_life: None,
            attestors: BTreeSet::new(),
            lives,
            lives_waiting: Vec::new(),
            next_attest: 0,
            wanted: VecDeque::new(),
            attempt: None,
            looks: Looks::new(me),
        })
    }

    /// The newest value known to be chosen.
    pub fn known(&self) -> &Value {
        &self.known
    }

    /// What it says.
    pub fn charter(&self) -> &Arc<Charter> {
        &self.charter
    }

    /// Whether this node's disk gives a vote that counts now.
    pub fn votes(&self) -> bool {
        !self.held && self.charter.voter(self.me) == Some(self.acceptor.state().me())
    }

    /// Whether this node keeps out of votes for now.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Which life of this node would have to be admitted for it to vote; None: it votes, may yet be attested, or is no member.
    pub fn to_admit(&self) -> Option<u64> {
        let voter = self.charter.voter(self.me)?;
        let founding = voter.incarnation == 0 && self.first_life.is_none();
        (voter != self.acceptor.state().me() && !founding).then_some(self.incarnation)
    }

    /// The life of this node that others heard of before this one.
    pub fn first_life(&self) -> Option<u64> {
        self.first_life
    }

    /// Asks for a change: `charter` is to be the value after version `expected`.
    pub fn change(
        &mut self,
        request: u64,
        expected: u64,
        charter: Charter,
        now: u64,
        effects: &mut Vec<RegistryEffect>,
    ) {
        self.want(Some((request, expected, charter)), now.saturating_add(PATIENCE_US));
        self.advance(now, effects);
    }

    fn want(&mut self, change: Option<(u64, u64, Charter)>, until: u64) {
        self.wanted.push_back(Wanted { change, until, not_before: 0, beyond: None, maybe: false, last: None });
    }

    /// Whether a change is being made.
    pub fn is_changing(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Asks whether the value that is known here is the register's newest; [`RegistryEffect::Looked`] tells.
    pub fn look(&mut self, request: u64, now: u64, effects: &mut Vec<RegistryEffect>) {
        let mut wants = Wants::default();
        self.looks.begin(request, now, &mut wants);
        self.look_on(wants, now, effects);
    }

    /// Whether somebody looks.
    pub fn is_looked_at(&self) -> bool {
        !self.looks.is_empty()
    }

    fn look_on(&mut self, mut wants: Wants, now: u64, effects: &mut Vec<RegistryEffect>) {
        self.looks.advance(&self.known, now, &mut wants);
        effects.extend(wants.ask.into_iter().map(RegistryEffect::Vote));
        if let Some(value) = wants.learn {
            self.on_chosen(value, effects);
        }
        if wants.finish && self.wanted.is_empty() {
            self.want(None, now.saturating_add(GIVE_UP_US));
            self.advance(now, effects);
        }
        effects.extend(wants.ended.into_iter().map(|(request, result)| RegistryEffect::Looked { request, result }));
    }

    /// A voter is asked.
    pub fn on_vote(&mut self, call: u64, request: Request, effects: &mut Vec<RegistryEffect>) {
        if self.held {
            return;
        }
        let mut out = Vec::new();
        self.acceptor.on_request(call, request, &mut out);
        self.carry_out(out, 0, effects);
    }

    /// A voter's answer.
    pub fn on_voted(&mut self, reply: Reply, now: u64, random: u64, effects: &mut Vec<RegistryEffect>) {
        if let Answer::Seen { .. } = reply.answer {
            self.looks.on_reply(&reply);
            return self.look_on(Wants::default(), now, effects);
        }
        let mut out = Vec::new();
        if let Some(Attempt::Running { proposer, .. }) = &mut self.attempt {
            proposer.on_reply(reply, &mut out);
        }
        self.proposed(out, now, random, effects);
    }

    /// A node asks which life of it was heard of first.
    pub fn on_attest(&mut self, from: NodeId, call: u64, incarnation: u64, effects: &mut Vec<RegistryEffect>) {
        if let Some(&first) = self.lives.get(&from) {
            if self.lives_waiting.is_empty() {
                return effects.push(RegistryEffect::Attested { call, incarnation: first });
            }
            return self.lives_waiting.push((call, first));
        }
        self.lives.insert(from, incarnation);
        self.lives_waiting.push((call, incarnation));
        self.put_lives(effects);
    }

    /// A first member says which life of this node it heard of first.
    pub fn on_attested(&mut self, from: NodeId, incarnation: u64, effects: &mut Vec<RegistryEffect>) {
        if incarnation != self.incarnation {
            self.first_life = Some(incarnation);
        } else if self.charter.ring().member(from).is_some() {
            self.attestors.insert(from);
        }
        self.attest(effects);
    }

    /// A write is durable, or failed.
    pub fn on_kept(&mut self, write: Write, kept: bool, now: u64, effects: &mut Vec<RegistryEffect>) {
        match (write, kept) {
            (Write::State(ticket), true) => {
                self.pending_states = self.pending_states.split_off(&ticket);
                self.durable = self.pending_states.remove(&ticket).or(self.durable.take());
                let mut out = Vec::new();
                self.acceptor.on_persisted(ticket, &mut out);
                self.carry_out(out, now, effects);
            }
            (Write::State(_), false) => {
                // What was promised and not kept was not told to anyone.
                self.pending_states.clear();
                self.acceptor = Acceptor::new(self.acceptor.state().me(), self.durable.clone());
                self.end(Err(ChangeError::Unable("this node's disk takes no writes".into())), effects);
            }
            (Write::Lives, true) => {
                for (call, incarnation) in std::mem::take(&mut self.lives_waiting) {
                    effects.push(RegistryEffect::Attested { call, incarnation });
                }
            }
            (Write::Lives, false) => self.lives_waiting.clear(),
        }
    }

    /// A value is known to be chosen: by gossip, or by an attempt.
    pub fn on_chosen(&self, value: Value, effects: &mut Vec<RegistryEffect>) {
        if value.is_newer(&self.known) {
            effects.push(RegistryEffect::Learnt(value));
        }
    }

    /// A learnt value is on this disk.
    ///
    /// # Errors
    /// Its payload is no charter: nothing is done with it.
    pub fn on_known(&mut self, value: Value) -> Result<bool, dynamo_ring::charter::CharterError> {
        if !value.is_newer(&self.known) {
            return Ok(false);
        }
        self.charter = Arc::new(Charter::decode(value.payload())?);
        self.known = value;
        Ok(true)
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: u64, random: u64, effects: &mut Vec<RegistryEffect>) {
        let mut out = Vec::new();
        if let Some(Attempt::Running { proposer, resend_at, give_up_at }) = &mut self.attempt {
            if now >= *give_up_at {
                proposer.give_up(&mut out);
            } else if now >= *resend_at {
                *resend_at = now.saturating_add(RESEND_US);
                proposer.resend(&mut out);
            }
        }
        self.proposed(out, now, random, effects);
        self.advance(now, effects);
        if !self.looks.is_empty() {
            self.look_on(Wants::default(), now, effects);
        }
        if now >= self.next_attest {
            self.next_attest = now.saturating_add(ATTEST_US);
            self.ask_for_attests(effects);
        }
    }

    fn may_be_founder(&self) -> bool {
        let founder = self.charter.voter(self.me).is_some_and(|voter| voter.incarnation == 0);
        !self.held && founder && !self.attested && self.first_life.is_none()
    }

    fn ask_for_attests(&mut self, effects: &mut Vec<RegistryEffect>) {
        if !self.may_be_founder() {
            return;
        }
        for member in self.charter.ring().members() {
            if member.id != self.me && !self.attestors.contains(&member.id) {
                effects.push(RegistryEffect::Attest(member.id));
            }
        }
        self.attest(effects);
    }

    fn attest(&mut self, effects: &mut Vec<RegistryEffect>) {
        let others = self.charter.ring().members().len() - 1;
        let needed = if others == 0 { 0 } else { others / 2 + 1 };
        if !self.may_be_founder() || self.attestors.len() < needed {
            return;
        }
        self.attested = true;
        self.acceptor = Acceptor::new(Voter { id: self.me, incarnation: 0 }, None);
        (self.durable, self.attempt) = (None, None);
        self.pending_states.clear();
        self.put_lives(effects);
    }

    fn put_lives(&self, effects: &mut Vec<RegistryEffect>) {
        let value = encode_lives(self.attested.then_some(self.incarnation), &self.lives).into();
        effects.push(RegistryEffect::Put { write: Write::Lives, key: LIVES_KEY, value });
    }

    /// Begins the next attempt.
    fn advance(&mut self, now: u64, effects: &mut Vec<RegistryEffect>) {
        if self.attempt.is_some() {
            return;
        }
        let Some(wanted) = self.wanted.front() else { return };
        if now >= wanted.until {
            return self.give_up(effects);
        }
        if self.held || now < wanted.not_before {
            return;
        }
        let mut out = Vec::new();
        match self.acceptor.mint(wanted.beyond, &mut out) {
            Ok(()) => {
                self.attempt = Some(Attempt::Minting);
                self.carry_out(out, now, effects);
            }
            Err(error) => self.end(Err(ChangeError::Unable(error.to_string())), effects),
        }
    }

    fn give_up(&mut self, effects: &mut Vec<RegistryEffect>) {
        let Some(wanted) = self.wanted.front() else { return };
        let error = match (&wanted.last, wanted.maybe) {
            (_, true) => ChangeError::Unknown,
            (Some(what), false) => ChangeError::NoMajority(what.clone()),
            (None, false) => ChangeError::NoMajority("the members did not answer in time: nothing was changed".into()),
        };
        self.end(Err(error), effects);
    }

    fn end(&mut self, result: Result<u64, ChangeError>, effects: &mut Vec<RegistryEffect>) {
        self.attempt = None;
        if let Some((request, ..)) = self.wanted.pop_front().and_then(|wanted| wanted.change) {
            effects.push(RegistryEffect::Done { request, result });
        }
    }

    fn carry_out(&mut self, out: Vec<AcceptorEffect>, now: u64, effects: &mut Vec<RegistryEffect>) {
        for effect in out {
            match effect {
                AcceptorEffect::Persist { ticket, state } => {
                    let value = state.encode().into();
                    self.pending_states.insert(ticket, state);
                    effects.push(RegistryEffect::Put { write: Write::State(ticket), key: STATE_KEY, value });
                }
                AcceptorEffect::Reply { call, reply } => effects.push(RegistryEffect::Voted { call, reply }),
                AcceptorEffect::Minted(ballot) => self.minted(ballot, now, effects),
            }
        }
    }

    fn minted(&mut self, ballot: dynamo_ring::register::Ballot, now: u64, effects: &mut Vec<RegistryEffect>) {
        let (Some(Attempt::Minting), Some(wanted)) = (&self.attempt, self.wanted.front()) else { return };
        let proposer = match &wanted.change {
            None => Ok(Proposer::read(ballot, self.known.clone())),
            Some((_, expected, charter)) => {
                let change =
                    Change { expected_version: *expected, voters: charter.voters(), payload: charter.encode() };
                Proposer::change(ballot, self.known.clone(), change)
            }
        };
        let mut proposer = match proposer {
            Ok(proposer) => proposer,
            Err(error) => return self.end(Err(ChangeError::Unable(error.to_string())), effects),
        };
        let mut out = Vec::new();
        proposer.start(&mut out);
        let (resend_at, give_up_at) = (now.saturating_add(RESEND_US), now.saturating_add(GIVE_UP_US));
        self.attempt = Some(Attempt::Running { proposer: Box::new(proposer), resend_at, give_up_at });
        // Whoever begins an attempt has a fresh ballot: there is nothing to draw lots about yet.
        self.proposed(out, now, 0, effects);
    }

    fn proposed(&mut self, out: Vec<ProposerEffect>, now: u64, random: u64, effects: &mut Vec<RegistryEffect>) {
        for effect in out {
            match effect {
                ProposerEffect::Send(request) => effects.push(RegistryEffect::Vote(request)),
                ProposerEffect::Finished(outcome) => self.finished(outcome, now, random, effects),
            }
        }
    }

    fn finished(&mut self, outcome: Outcome, now: u64, random: u64, effects: &mut Vec<RegistryEffect>) {
        self.attempt = None;
        let said = outcome.to_string();
        let Some(wanted) = self.wanted.front_mut() else { return };
        let pause = now.saturating_add(1 + random % PAUSE_US);
        match outcome {
            Outcome::Chosen(value) => {
                let version = value.version();
                self.on_chosen(value, effects);
                self.end(Ok(version), effects);
            }
            Outcome::Outdated { current } => {
                let version = current.version();
                self.on_chosen(current, effects);
                self.end(Err(ChangeError::Outdated { version }), effects);
            }
            Outcome::Preempted { by } => (wanted.beyond, wanted.not_before) = (Some(by), pause),
            Outcome::NoMajority { .. } => (wanted.last, wanted.not_before) = (Some(said), pause),
            Outcome::Unknown { by, .. } => {
                (wanted.beyond, wanted.not_before, wanted.maybe) = (by.or(wanted.beyond), pause, true);
            }
        }
        self.advance(now, effects);
    }
}

/// `the life that was attested u64, or 0 | (id 16 | incarnation u64)*`, numbers big-endian.
fn encode_lives(attested: Option<u64>, lives: &BTreeMap<NodeId, u64>) -> Vec<u8> {
    let mut out = attested.unwrap_or(0).to_be_bytes().to_vec();
    for (id, incarnation) in lives {
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&incarnation.to_be_bytes());
    }
    out
}

fn decode_lives(bytes: &[u8]) -> Option<(Option<u64>, BTreeMap<NodeId, u64>)> {
    let (attested, rest) = bytes.split_first_chunk::<8>()?;
    let (lives, []) = rest.as_chunks::<24>() else { return None };
    let life = |life: &[u8; 24]| {
        let (id, incarnation) = life.split_at(16);
        let id = u128::from_be_bytes(id.try_into().expect("16 bytes"));
        (NodeId(id), u64::from_be_bytes(incarnation.try_into().expect("8 bytes")))
    };
    let attested = Some(u64::from_be_bytes(*attested)).filter(|life| *life != 0);
    Some((attested, lives.iter().map(life).collect()))
}
