//! What may be done, and why something is not done.

use std::collections::BTreeMap;

use crate::{
    certificates::Step,
    names::{PodId, Uid, Version},
    observed::{Founders, Mark},
    receipt::Cleared,
    turn::Turn,
    why::Why,
};

/// The partition of a StatefulSet in which nothing is rolled: whoever comes back, comes back as it was, and a template that
/// somebody else edits restarts nobody.
pub const PARKED: u32 = i32::MAX as u32;

/// What to do next.
///
/// Actions are carried out in order; after the first that fails the rest is dropped, and everything is observed again.
/// Each may be done twice, and each may be the last before a crash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// To be done.
    pub actions: Vec<Action>,
    /// What would be done, but for the maintenance that was asked for.
    pub withheld: Vec<Action>,
    /// What does not go on, and why.
    pub waits: Vec<Why>,
}

impl Plan {
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn wait(&mut self, why: Why) {
        if !self.waits.contains(&why) {
            self.waits.push(why);
        }
    }
}

/// One write.
///
/// A `version` or `uid` in it is a precondition: the write is refused when the object is another by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The zones are these, for status.
    RecordZones(Vec<String>),
    /// The first ring's members, in an object that is only ever created.
    CreateFounders(Founders),
    /// A StatefulSet that is not there, with its partition parked and both retention policies `Retain`.
    CreateSet {
        /// Its name.
        set: String,
        /// Its zone.
        zone: String,
        /// Pods.
        replicas: u32,
        /// The template.
        template: String,
        /// The size of new volumes.
        storage_bytes: u64,
    },
    /// More pods.
    RaiseSet {
        /// Whose.
        set: String,
        /// How many in all.
        to: u32,
        /// Precondition.
        version: Version,
    },
    /// Fewer pods: those whose receipts are in `cleared` go.
    ShrinkSet {
        /// Whose.
        set: String,
        /// How many stay.
        to: u32,
        /// Precondition.
        version: Version,
        /// Of each pod that goes.
        cleared: Vec<Cleared>,
        /// The turn.
        under: u64,
    },
    /// A StatefulSet goes: one of a zone that is no more, or, with its pods orphaned, to come back with larger claims.
    DeleteSet {
        /// Which.
        set: String,
        /// Precondition.
        uid: Uid,
        /// Precondition.
        version: Version,
        /// Its pods stay.
        orphan: bool,
    },
    /// Another template; in the same write the partition is parked, so that nobody restarts by it.
    SetTemplate {
        /// Whose.
        set: String,
        /// The template.
        template: String,
        /// Precondition.
        version: Version,
    },
    /// Pods from this number on may be made anew.
    LowerPartition {
        /// Whose.
        set: String,
        /// The number.
        to: u32,
        /// Precondition.
        version: Version,
        /// The turn.
        under: u64,
    },
    /// All have been made anew, or nobody is to be any more.
    ParkPartition {
        /// Whose.
        set: String,
        /// Precondition.
        version: Version,
    },
    /// No write: each of these StatefulSets is read from the API server, and if one's spec is of another generation, the rest of the
    /// plan is dropped. Whoever has not heard yet that a partition was lowered must not think that nobody restarts.
    CheckSets(BTreeMap<String, u64>),
    /// A pod is made anew.
    DeletePod {
        /// Which.
        pod: PodId,
        /// Precondition.
        uid: Uid,
        /// The turn.
        under: u64,
    },
    /// What is known of a claim's disk.
    MarkClaim {
        /// Whose.
        pod: PodId,
        /// Precondition.
        version: Version,
        /// None: its node is a new one.
        mark: Option<Mark>,
        /// The turn.
        under: Option<u64>,
    },
    /// A disk is deleted.
    DeleteClaim {
        /// Whose.
        pod: PodId,
        /// Precondition.
        uid: Uid,
        /// Precondition.
        version: Version,
        /// Why nobody needs it.
        cleared: Cleared,
        /// The turn.
        under: u64,
    },
    /// A claim asks for more.
    GrowClaim {
        /// Whose.
        pod: PodId,
        /// Precondition.
        version: Version,
        /// How much.
        to_bytes: u64,
    },
    /// The nodes' configuration names for each pod the last life that left: a disk of that one, or of one before, is emptied
    /// before its node starts.
    Retire(BTreeMap<PodId, u64>),
    /// A turn begins.
    TakeTurn {
        /// Precondition; None: the object is created.
        version: Option<Version>,
        /// The turn.
        turn: Turn,
    },
    /// A turn ends.
    EndTurn {
        /// Precondition.
        version: Version,
        /// Which.
        id: u64,
    },
    /// A change of the ring.
    ChangeRing {
        /// The register's version that it was planned on: a precondition.
        version: u64,
        /// What is to become of whom.
        edits: Vec<Edit>,
        /// Fewer zones than N are meant.
        fewer_zones: bool,
        /// The turn.
        under: u64,
    },
    /// The change that is under way is taken back.
    CancelChange {
        /// Which.
        id: u64,
    },
    /// The disruption budget's `maxUnavailable`.
    SetBudget(u32),
    /// A step of the certificates' rotation.
    Certificates(Step),
}

impl Action {
    /// The turn without which it must not be sent. Whoever sends it reads the turn first (see [`crate::turn`]).
    pub fn under(&self) -> Option<u64> {
        match self {
            Action::ShrinkSet { under, .. }
            | Action::LowerPartition { under, .. }
            | Action::DeletePod { under, .. }
            | Action::DeleteClaim { under, .. }
            | Action::ChangeRing { under, .. } => Some(*under),
            Action::MarkClaim { under, .. } => *under,
            _ => None,
        }
    }

    /// Whether it stops pods, moves data, deletes something, or leads there.
    pub fn disrupts(&self) -> bool {
        let sets = matches!(self, Action::DeleteSet { .. } | Action::SetTemplate { .. } | Action::TakeTurn { .. });
        sets || self.under().is_some() || matches!(self, Action::CancelChange { .. })
    }
}

/// What is to become of one node of the ring.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edit {
    /// It gets tokens.
    Join {
        /// Who.
        pod: PodId,
        /// How much it takes.
        weight: u32,
    },
    /// It gives its tokens up, and what it has to others.
    Leave {
        /// Who.
        pod: PodId,
    },
    /// It is down for good; its partitions are filled from the others. Of one that left: it is not waited for.
    Remove {
        /// Who.
        pod: PodId,
    },
    /// It takes more or less.
    Reweigh {
        /// Who.
        pod: PodId,
        /// How much.
        weight: u32,
    },
}
