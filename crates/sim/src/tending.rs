//! A cluster in Kubernetes that operators tend, as data: how many there are, what people ask for, and what befalls pods, disks,
//! machines and operators.
//!
//! Nodes are counted as elsewhere: node `n` is the pod with number `n / zones` of zone `n % zones`.

use serde::{Deserialize, Serialize};

/// The operators, and what is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TendingPlan {
    /// How many operators there are that take themselves for the only one.
    pub operators: u8,
    /// What is done, and when.
    pub deeds: Vec<TimedDeed>,
}

/// A deed and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedDeed {
    /// When, milliseconds.
    pub at_ms: u32,
    /// What.
    pub deed: Deed,
}

/// What people do to the resource or to its objects, and what befalls these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Deed {
    /// So many nodes are wanted.
    Scale {
        /// How many.
        replicas: u32,
    },
    /// Pods are to be made from another template; of a bad one no process comes up.
    Roll {
        /// Its name.
        template: String,
    },
    /// What becomes of disks whose nodes leave.
    Reclaim {
        /// They are deleted.
        delete: bool,
    },
    /// Disks are to be larger.
    Grow,
    /// A person gives a disk up.
    GiveUp {
        /// Whose.
        node: u8,
    },
    /// A pod is deleted by nobody's plan.
    DeletePod {
        /// Whose.
        node: u8,
    },
    /// All pods are.
    DeleteAllPods,
    /// A pod is deleted, and its next process does not come up for a while.
    HoldUp {
        /// Whose.
        node: u8,
        /// For how long, seconds.
        for_s: u32,
    },
    /// A claim is deleted, if all else is whole; with its pod, or under it.
    DeleteClaim {
        /// Whose.
        node: u8,
        /// With its pod.
        pod: bool,
    },
    /// The machine of a pod is off for good, with the disk that it has, if all else is whole.
    LoseMachine {
        /// Whose.
        node: u8,
    },
    /// Somebody scales a StatefulSet without asking the ring.
    ScaleByHand {
        /// One of its nodes.
        node: u8,
    },
    /// Somebody edits a StatefulSet's template.
    EditByHand {
        /// One of its nodes.
        node: u8,
    },
    /// An operator dies, with whatever it was about to write, and is back in a while.
    OperatorDies {
        /// Which.
        operator: u8,
        /// After how long, seconds.
        for_s: u32,
    },
    /// An operator stands still with whatever it was about to write.
    OperatorSleeps {
        /// Which.
        operator: u8,
        /// For how long, seconds.
        for_s: u32,
    },
    /// Operators see what is old, write slowly, lose answers, sleep and die.
    RoughWeather {
        /// For how long, seconds.
        for_s: u32,
    },
}

impl Deed {
    /// Whether a cluster with so many nodes and operators has whom it concerns.
    pub(crate) fn fits(&self, nodes: u8, operators: u8) -> bool {
        match self {
            Self::GiveUp { node }
            | Self::DeletePod { node }
            | Self::HoldUp { node, .. }
            | Self::DeleteClaim { node, .. }
            | Self::LoseMachine { node }
            | Self::ScaleByHand { node }
            | Self::EditByHand { node } => *node < nodes,
            Self::OperatorDies { operator, .. } | Self::OperatorSleeps { operator, .. } => *operator < operators,
            Self::Scale { replicas } => *replicas > 0 && *replicas <= u32::from(nodes),
            Self::Roll { .. } | Self::Reclaim { .. } | Self::Grow | Self::DeleteAllPods | Self::RoughWeather { .. } => {
                true
            }
        }
    }
}
