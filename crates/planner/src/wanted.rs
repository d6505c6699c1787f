//! What a DynamoCluster asks for, as far as the planner decides anything by it.
//!
//! A thin layer fills this from the resource. What needs no decision (Services, roles, policies) is applied beside it.

use std::collections::BTreeMap;

use crate::names::{PodId, Uid};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The resource's name: StatefulSets are called `<cluster>-<zone>`.
    pub cluster: String,
    /// Nodes in the whole cluster.
    pub replicas: u32,
    /// The zones, in the order in which they are filled; None: those that are found when the cluster is founded.
    pub zones: Option<Vec<ZoneWanted>>,
    /// N.
    pub n: u32,
    /// Names what pods are made of: the hash of the parts of the spec that pods are rendered from, never of what was
    /// rendered. An operator that renders otherwise than the last one did thus restarts nobody.
    pub template: String,
    /// The volumes.
    pub storage: StorageWanted,
    /// What a person asks for beside the spec.
    pub maintenance: Maintenance,
    /// How long a machine has to be gone before the disk that it had is given up.
    pub replace_after_s: u64,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneWanted {
    /// Its name: the value of the label on machines, safe as a part of a DNS name.
    pub name: String,
    /// The weight of each of its nodes in the ring.
    pub weight: u32,
    /// The size of its volumes, where it is another than elsewhere.
    pub storage_bytes: Option<u64>,
}

/// Volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageWanted {
    /// Of each, where its zone does not say otherwise.
    pub size_bytes: u64,
    /// What becomes of a volume when its node has left.
    pub on_scale_down: Reclaim,
}

/// What becomes of a volume that nobody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaim {
    /// It is deleted.
    Delete,
    /// It stays. If its pod is wanted again, it is emptied and begins another life.
    Retain,
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintenance {
    /// Say what would be done, and do nothing.
    pub plan_only: bool,
    /// Do nothing that moves data or stops a pod.
    pub paused: bool,
    /// These disks are to be given up now, each named by its claim's uid, so that it happens once.
    pub replace: BTreeMap<PodId, Uid>,
    /// Restart for this template one pod at a time even where a range loses its quorum by it.
    pub restart_anyway: Option<String>,
}
