//! Local failure detection (§4.8.3): a peer is down for me when it does not answer me.
//!
//! Nobody votes and nobody is told: what one node thinks of another is its own affair. What others see of the peer
//! is asked (indirect probes) only to tell a person a dead node from a bad link.

/// What this node thinks of another (§4.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PeerState {
    /// Never heard of, directly.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It has let three requests in a row time out; requests go elsewhere meanwhile.
    Suspect,
    /// It refuses connections, or has been silent for too long; until it answers.
    Down,
}

/// How an attempt to reach a peer failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Refused or reset: nothing is listening there.
    Refused,
    /// No answer in time, or no way to ask: it may be this node's own network.
    Timeout,
}

const TIMEOUTS_BEFORE_SUSPECT: u32 = 3;

/// What is remembered of one peer (§4.8.3). All times are in microseconds, by the clock that is passed in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Detector {
    state: PeerState,
    since_us: u64,
    heard_us: u64,
    timeouts: u32,
    others_heard_us: u64,
}

impl Detector {
    /// What this node thinks of it.
    pub fn state(&self) -> PeerState {
        self.state
    }

    /// Since when, in microseconds; 0: from the beginning.
    pub fn since_us(&self) -> u64 {
        self.since_us
    }

    /// When it last answered, in microseconds; 0: never.
    pub fn heard_us(&self) -> u64 {
        self.heard_us
    }

    /// When another node last said that the peer answers it, in microseconds; 0: never.
    pub fn others_heard_us(&self) -> u64 {
        self.others_heard_us
    }

    /// It answered at `now`, in microseconds.
    pub fn heard(&mut self, now: u64) {
        self.heard_us = now;
        self.timeouts = 0;
        self.turn(PeerState::Up, now);
    }

    /// It did not, as was noticed at `now`, in microseconds.
    pub fn failed(&mut self, failure: Failure, now: u64) {
        match failure {
            Failure::Refused => self.turn(PeerState::Down, now),
            Failure::Timeout => {
                self.timeouts = self.timeouts.saturating_add(1);
                if self.timeouts >= TIMEOUTS_BEFORE_SUSPECT && self.state != PeerState::Down {
                    self.turn(PeerState::Suspect, now);
                }
            }
        }
    }

    /// Another node said at `now`, in microseconds, that it answers.
    pub fn others_heard(&mut self, now: u64) {
        self.others_heard_us = now;
    }

    /// Time passes: suspicion becomes certainty after `down_after_us` microseconds.
    pub fn tick(&mut self, now: u64, down_after_us: u64) {
        if self.state == PeerState::Suspect && now.saturating_sub(self.since_us) >= down_after_us {
            self.turn(PeerState::Down, now);
        }
    }

    fn turn(&mut self, state: PeerState, now: u64) {
        if self.state != state {
            self.state = state;
            self.since_us = now;
        }
    }
}
