//! Whose turn it is: the one thing that is done at a time of all that stops pods, moves data or deletes disks.
//!
//! A Lease fences nothing: one who held it may wake up and act. So what is disruptive is done in *turns*. A turn stands
//! in one object, taken and ended by compare-and-set on that object's version, and every disruptive action belongs to
//! one. Whoever carries such an action out first reads the object from the API server itself, and acts within
//! [`VALID_S`] or not at all. A turn's own actions begin no sooner than [`QUARANTINE_S`] after it was first seen here.
//! So what was meant under an earlier turn has happened, or never will, before anything of a later one is decided; and
//! what a later one decides, it decides by what it sees after that.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{PodId, Uid, Version};

/// How long after the turn was read an action may still be sent.
pub const VALID_S: u64 = 5;

/// How long a node that is down may be taken for up.
pub const NOTICED_S: u64 = 5;

/// How long a turn stands before anything is done under it: the last write of an earlier one has been sent by then, and what
/// it did has been noticed.
pub const QUARANTINE_S: u64 = VALID_S + NOTICED_S + 2;

/// The object that says whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TurnRecord {
    /// The object's version; None: there is none yet, and the first turn creates it.
    pub version: Option<Version>,
    /// The last turn's number, also after its end.
    pub last: u64,
    /// What is being done.
    pub turn: Option<Turn>,
}

/// A turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Its number; no two turns have the same.
    pub id: u64,
    /// What it is for.
    pub work: Work,
}

/// What a turn is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Pods are made anew from another template.
    Restart {
        /// Which, each by the uid that it is to lose.
        pods: BTreeMap<PodId, Uid>,
        /// The template that they are to have.
        template: String,
    },
    /// Nodes join, leave, are removed or weigh otherwise.
    Ring,
    /// Pods that have their receipt go, and disks that nobody needs.
    Shrink {
        /// Whose.
        pods: BTreeSet<PodId>,
    },
    /// A disk is given up; the pod comes back with an empty one, which is filled from the other replicas.
    Replace {
        /// Whose.
        pod: PodId,
        /// Its claim's uid.
        claim: Uid,
        /// The life that ends.
        incarnation: u64,
    },
}

impl Work {
    /// In words.
    pub fn in_words(&self) -> String {
        match self {
            Work::Restart { pods, .. } => format!("restarting {}", crate::names::listed(pods.keys())),
            Work::Ring => "changing the ring".to_owned(),
            Work::Shrink { pods } => format!("taking away {}", crate::names::listed(pods)),
            Work::Replace { pod, .. } => format!("giving {pod} an empty disk"),
        }
    }
}
