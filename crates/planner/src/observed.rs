//! What was seen of Kubernetes and of the ring.
//!
//! Kubernetes' part comes from watches and may be old: every write that matters names the versions that it was planned
//! on. The ring's part is asked for each plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    certificates::Authorities,
    names::{PodId, Uid, Version, listed},
    turn::TurnRecord,
};

/// Everything that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Seconds: the wall clock's when this operator started, and counted from there by one that does not jump.
    pub now_s: u64,
    /// The members of the first ring.
    pub founders: Option<Founders>,
    /// The zones as they were last decided, from the resource's status; empty if that was lost.
    pub recorded_zones: Vec<String>,
    /// Machines by name; None without the right to see them.
    pub hosts: Option<BTreeMap<String, HostView>>,
    /// StatefulSets by name.
    pub sets: BTreeMap<String, SetView>,
    /// Pods.
    pub pods: BTreeMap<PodId, PodView>,
    /// Claims, by the pod that they are for.
    pub claims: BTreeMap<PodId, ClaimView>,
    /// Whose turn it is.
    pub turn: TurnRecord,
    /// `maxUnavailable` of the disruption budget; None: there is none.
    pub budget: Option<u32>,
    /// As the nodes are told by their configuration: a disk whose life is this one or an earlier one left for good, and is to
    /// be emptied before its node starts.
    pub retired: BTreeMap<PodId, u64>,
    /// Whether volumes of the class can grow; None: the class is not to be seen.
    pub expandable: Option<bool>,
    /// The ring; None: no node answers.
    pub ring: Option<RingView>,
    /// What nodes that are to go said of what they still have, by name.
    pub receipts: BTreeMap<PodId, ReceiptView>,
    /// The cluster's own certificate authorities; None: TLS is off, or somebody else's.
    pub authorities: Option<Authorities>,
}

/// The members of the first ring, kept in an object of its own, since it can't be worked out again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Founders {
    /// How many in each zone.
    pub zones: BTreeMap<String, u32>,
}

/// A machine of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostView {
    /// Its zone, if it has the label.
    pub zone: Option<String>,
    /// It has the out-of-service taint: a person says that it is off.
    pub out_of_service: bool,
}

/// A StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetView {
    /// Its uid.
    pub uid: Uid,
    /// Its version.
    pub version: Version,
    /// The generation of its spec (`metadata.generation`).
    pub generation: u64,
    /// The zone that its label names.
    pub zone: String,
    /// Wanted pods.
    pub replicas: u32,
    /// Pods with a lower number come back as they were.
    pub partition: u32,
    /// The template's name, from its label.
    pub template: String,
    /// The size in its claim template.
    pub storage_bytes: u64,
    /// The controller's current revision is the update's: pods that come back are made from the present template. (Those that
    /// are there may be older, where it was made anew around them.)
    pub rolled: bool,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its uid.
    pub uid: Uid,
    /// The machine that it was given to.
    pub host: Option<String>,
    /// Whether it is ready.
    pub ready: bool,
    /// From which template it was made, from its label.
    pub template: String,
    /// It is being deleted.
    pub deleting: bool,
}

/// A claim on a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimView {
    /// Its uid.
    pub uid: Uid,
    /// Its version.
    pub version: Version,
    /// The size that it asks for.
    pub size_bytes: u64,
    /// What is known of its disk: an annotation that this operator wrote.
    pub mark: Option<Mark>,
    /// It is being deleted.
    pub deleting: bool,
    /// Its volume is lost, by Kubernetes' own word.
    pub lost: bool,
    /// The only machine that its volume can be reached from.
    pub pinned_to: Option<String>,
}

/// Why a disk is not needed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// This life of it left the ring, with a receipt.
    Left {
        /// Which.
        incarnation: u64,
        /// It is to stay: so said the policy when it left, whatever it says now.
        kept: bool,
    },
    /// It never was in the ring, or its join was taken back and it said that it has nothing.
    NeverJoined,
    /// Its machine is gone for good, and the ring has removed its node.
    Lost,
}

/// The ring, its nodes and what is under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RingView {
    /// The register's version.
    pub version: u64,
    /// The ring's epoch.
    pub epoch: u64,
    /// A majority of the members said that this version is the newest. What a node that is cut off says may be old.
    pub confirmed: bool,
    /// Weights of the members.
    pub members: BTreeMap<PodId, u32>,
    /// The preference lists, each once.
    pub homes: BTreeSet<Vec<PodId>>,
    /// What is under way.
    pub change: Option<ChangeView>,
    /// Who is no member and may still hold something for others.
    pub leavers: BTreeSet<PodId>,
    /// The last life of each pod's disk that is not to return: it left, or was removed.
    pub gone: BTreeMap<PodId, u64>,
    /// Members that have not heard of this epoch.
    pub behind: BTreeSet<PodId>,
    /// What each node says, members or not.
    pub nodes: BTreeMap<PodId, NodeView>,
    /// The largest R or W of the buckets: so many homes of each range have to answer.
    pub quorum: u32,
    /// max(R, N - R + 1), the largest over the buckets: so many whole homes have everything that was acknowledged.
    pub sources: u32,
}

/// A change of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeView {
    /// Its name.
    pub id: u64,
    /// Who joins.
    pub joins: BTreeSet<PodId>,
    /// Who leaves.
    pub leaves: BTreeSet<PodId>,
    /// It is being taken back.
    pub cancelled: bool,
    /// Why it does not go on, in the nodes' words.
    pub blocked_by: Vec<String>,
}

impl ChangeView {
    /// What changes, as people say it.
    pub fn in_words(&self) -> String {
        let words = self.joins.iter().map(|pod| format!("{pod} joins"));
        let words: Vec<String> = words.chain(self.leaves.iter().map(|pod| format!("{pod} leaves"))).collect();
        if words.is_empty() { "the ring is being balanced".to_owned() } else { listed(words) }
    }
}

/// A node, as the ring sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeView {
    /// It answers the others.
    pub up: bool,
    /// Which life of its disk; 0: nobody has heard of it.
    pub incarnation: u64,
    /// Partitions that it is not whole in.
    pub refilling: u32,
    /// Hints that it holds for others.
    pub hints: u64,
    /// It refuses writes, since its disk is full or failing.
    pub disk_refuses: bool,
    /// The fingerprints of the authorities that it trusts by now.
    pub trusts: BTreeSet<String>,
    /// The fingerprint of the authority that signed the certificate that it shows by now.
    pub signed_by: Option<String>,
}

/// What a node that is to go still has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReceiptView {
    /// Nothing.
    pub complete: bool,
    /// Which life of its disk says so.
    pub incarnation: u64,
    /// What is missing, in its words.
    pub missing: Vec<String>,
}

impl Observed {
    /// The machine is gone for good: it was deleted, or a person says so by the taint. One that is only not ready is not.
    pub fn is_gone(&self, host: &str) -> bool {
        let Some(hosts) = &self.hosts else { return false };
        hosts.get(host).is_none_or(|host| host.out_of_service)
    }

    /// What the ring says of a node.
    pub fn node(&self, pod: &PodId) -> Option<&NodeView> {
        self.ring.as_ref()?.nodes.get(pod)
    }

    /// Pods of a StatefulSet, lowest first.
    pub fn pods_of(&self, set: &str) -> impl DoubleEndedIterator<Item = (&PodId, &PodView)> {
        self.pods.range(PodId::new(set, 0)..=PodId::new(set, u32::MAX))
    }

    /// Claims of a StatefulSet's pods, lowest first.
    pub fn claims_of(&self, set: &str) -> impl DoubleEndedIterator<Item = (&PodId, &ClaimView)> {
        self.claims.range(PodId::new(set, 0)..=PodId::new(set, u32::MAX))
    }
}

impl RingView {
    /// Whether a life of a pod's disk is not to return. Lives count up, so one that is older than one that is gone is, too.
    pub fn is_gone(&self, pod: &PodId, incarnation: u64) -> bool {
        self.gone.get(pod).is_some_and(|gone| *gone >= incarnation)
    }

    /// Whether the ring has anything to do with a node: it is a member, joins, leaves, or still hands over.
    pub fn concerns(&self, pod: &PodId) -> bool {
        let moves = |change: &ChangeView| change.joins.contains(pod) || change.leaves.contains(pod);
        self.members.contains_key(pod) || self.leavers.contains(pod) || self.change.as_ref().is_some_and(moves)
    }
}
