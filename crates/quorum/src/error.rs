//! Why a request failed, in counts that a driver can act on and a sentence that a person can.

use std::fmt;

/// Why a node did not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No connection, or it broke before the answer: what was asked may have been done all the same.
    Unreachable,
    /// Its disk is full or failing.
    DiskFull,
    /// It holds as many hints as it may.
    HintsFull,
    /// Its queues are full.
    Overloaded,
    /// It no longer serves this partition under the coordinator's ring epoch.
    Sealed,
    /// Its record is damaged. Never the same as "never written".
    Corrupt,
    /// It did not understand the request, or its answer made no sense.
    Invalid,
    /// It is shutting down.
    Stopping,
    /// It is a home, but may lack what it acknowledged once: its disk was emptied, or is an old copy, and is being filled.
    /// It has no say in a strict read until that is done.
    Refilling,
}

impl Refusal {
    const ALL: [(Refusal, &'static str); 9] = [
        (Refusal::Unreachable, "unreachable"),
        (Refusal::DiskFull, "with a full disk"),
        (Refusal::HintsFull, "with no room for hints"),
        (Refusal::Overloaded, "overloaded"),
        (Refusal::Sealed, "sealed for a newer ring"),
        (Refusal::Corrupt, "with a damaged record"),
        (Refusal::Invalid, "that did not understand"),
        (Refusal::Stopping, "shutting down"),
        (Refusal::Refilling, "being filled from the others"),
    ];
}

/// How many refusals of each kind a request met, 255 at most of each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refusals([u8; 9]);

impl Refusals {
    pub(crate) fn add(&mut self, refusal: Refusal) {
        let count = &mut self.0[refusal as usize];
        *count = count.saturating_add(1);
    }

    /// Refusals of this kind.
    pub fn count(&self, refusal: Refusal) -> u8 {
        self.0[refusal as usize]
    }

    /// Refusals of all kinds together.
    pub fn total(&self) -> u32 {
        self.0.iter().map(|&count| u32::from(count)).sum()
    }
}

/// Which kind of request failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// A get.
    Read,
    /// A put or delete.
    Write,
}

/// R or W could not be met (§4.5). Its text says what is missing, what became of the data, and what to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotEnough {
    /// Read or write.
    pub operation: Operation,
    /// Whether only home replicas counted.
    pub strict: bool,
    /// R or W.
    pub needed: u8,
    /// Distinct nodes that answered, or acknowledged in a way that counts. Not less than `needed` where `lacks_durable`, and
    /// where a read waited in vain for a home while fallbacks had answered.
    pub acked: u8,
    /// For a write: nodes known to have it, also those that do not count. 0 for a read.
    pub holding: u8,
    /// Home replicas of the key.
    pub homes: u8,
    /// Of these, how many could be asked when the request began.
    pub homes_alive: u8,
    /// For a write with enough acknowledgements, none of which is durable although one has to be (§6.1).
    pub lacks_durable: bool,
    /// Whether any replica was asked. If not, nothing was changed anywhere; of a write that has begun and failed, replicas
    /// may have it or get it, and a later read may find it.
    pub begun: bool,
    /// Whether the time was up; else it failed because nobody was left to ask.
    pub timed_out: bool,
    /// How many refused, by their reasons.
    pub refusals: Refusals,
}

impl fmt::Display for NotEnough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, acked, homes, homes_alive, .. } = *self;
        let kind = if self.strict { "home replicas" } else { "replicas" };
        match self.operation {
            Operation::Read if acked >= needed => write!(
                f,
                "the read got answers of {acked} {kind}, but a home that is alive did not give its own in time"
            )?,
            Operation::Read => write!(f, "the read needs answers of {needed} {kind} and got {acked}")?,
            Operation::Write if self.lacks_durable => {
                write!(f, "the write reached {acked} {kind} but none could make it durable, and one has to")?
            }
            Operation::Write => write!(f, "the write needs {needed} {kind} and {acked} acknowledged it")?,
        }
        write!(f, " ({homes_alive} of the key's {homes} homes were alive")?;
        for (refusal, words) in Refusal::ALL {
            match self.refusals.count(refusal) {
                0 => {}
                count => write!(f, ", {count} {words}")?,
            }
        }
        f.write_str(if self.timed_out { ", time was up)" } else { ")" })?;
        match (self.operation, self.begun, self.holding) {
            (Operation::Read, ..) => f.write_str("; nothing was changed"),
            (Operation::Write, false, _) => f.write_str("; nothing was written"),
            (Operation::Write, true, 0) => {
                f.write_str("; no replica is known to have it, but it may become visible later")
            }
            (Operation::Write, true, 1) => f.write_str("; 1 replica has it, so it may become visible later"),
            (Operation::Write, true, held) => write!(f, "; {held} replicas have it, so it may become visible later"),
        }?;
        f.write_str(if needed > homes {
            "; ask for fewer replicas, or add nodes"
        } else if self.refusals.count(Refusal::Sealed) > 0 {
            "; fetch the ring and retry"
        } else if self.refusals.count(Refusal::Refilling) > 0 {
            "; retry when the homes that are being filled have everything again, or ask for fewer replicas"
        } else if self.refusals.count(Refusal::DiskFull) > 0 {
            "; make room on the full disks, or grow them, and retry: their nodes take writes again by themselves"
        } else if self.strict {
            "; retry when more home replicas are up, or use a sloppy quorum"
        } else {
            "; retry when more nodes are up"
        })
    }
}

impl std::error::Error for NotEnough {}
