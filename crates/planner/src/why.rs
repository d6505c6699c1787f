//! Why something does not go on: names for programs, sentences for people, shown in status and by `kubectl dynamo why`.

use std::fmt;

use crate::{
    names::{PodId, listed, said_of},
    words::{about, within},
};

/// Why. Each says what is waited for and, where a person has to do something, what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the sentence of each stands below")]
pub enum Why {
    NoZone,
    NoHostIn { zone: String },
    NewZone { zone: String },
    FoundersLost,
    NoNodeAnswers,
    RingNotConfirmed,
    PodsNotReady { pods: Vec<PodId> },
    ChangeUnderWay { id: u64, what: &'static str },
    ChangeBlocked { id: u64, reason: String },
    DiskLeft { pod: PodId },
    DiskGoes { pod: PodId },
    LeaverIsDown { pod: PodId },
    TooFewWouldStay { members: usize, n: u32 },
    RemovalWouldLose { pod: PodId },
    StillMember { pod: PodId },
    HandsOver { pod: PodId },
    NoReceipt { pod: PodId, missing: Vec<String> },
    PodsGo { pods: Vec<PodId> },
    MachineGone { pod: PodId, host: String, left_s: u64 },
    OnlyCopies { pod: PodId },
    ReplacementWouldBreakQuorum { pod: PodId },
    Refilling { pods: Vec<PodId> },
    HintsUndelivered { hints: u64 },
    NodesBehind { pods: Vec<PodId> },
    UpdatedNotReady { pods: Vec<PodId> },
    RestartWouldBreakQuorum { pod: PodId, down: Vec<PodId> },
    TurnBegins { what: String },
    InTurn { what: String },
    VolumesCannotGrow,
    VolumesGrow { pods: Vec<PodId> },
    GrowthWaitsForRollout { set: String },
    DiskRefuses { pods: Vec<PodId> },
    CertificatesNotLoaded { pods: Vec<PodId>, what: &'static str },
    EvictionsHeld { because: &'static str },
    Paused,
    PlanOnly,
}

impl Why {
    /// Its name, in CamelCase as conditions and events have them.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split([' ', '{']).next().unwrap_or_default().to_owned()
    }

    /// Whether it is worth knowing only: nothing that is wanted waits for it.
    pub fn is_notice(&self) -> bool {
        matches!(self, Why::NewZone { .. } | Why::EvictionsHeld { .. })
    }

    /// Whether a person has to do something, rather than wait.
    pub fn wants_a_person(&self) -> bool {
        matches!(
            self,
            Why::NoZone
                | Why::NoHostIn { .. }
                | Why::FoundersLost
                | Why::LeaverIsDown { .. }
                | Why::RemovalWouldLose { .. }
                | Why::OnlyCopies { .. }
                | Why::UpdatedNotReady { .. }
                | Why::VolumesCannotGrow
                | Why::DiskRefuses { .. }
        )
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoZone => f.write_str("no zone is known: label machines with topology.kubernetes.io/zone, or name the zones in spec.zones (an operator without rights on machines needs them named)"),
            Why::NoHostIn { zone } => write!(f, "zone {zone} has no machine: label one, or take the zone out of spec.zones"),
            Why::NewZone { zone } => write!(f, "machines in zone {zone} have come, which this cluster does not use: name it in spec.zones to have nodes there"),
            Why::FoundersLost => f.write_str("there are volumes, but the ConfigMap that names the members of the first ring is gone, and it can't be made anew from the present spec: restore <cluster>-founders from a backup, or, if nothing on the volumes is needed, delete them"),
            Why::NoNodeAnswers => f.write_str("no node answers: the ring is unknown, so nothing that needs it is done"),
            Why::RingNotConfirmed => f.write_str("no majority of the members confirms the ring: nothing that depends on who is in it is done"),
            Why::PodsNotReady { pods } => write!(f, "waiting for {} to be ready, to let all new nodes join at once", listed(pods)),
            Why::ChangeUnderWay { id, what } => write!(f, "change {id} of the ring is under way: {what} waits for its end"),
            Why::ChangeBlocked { id, reason } => write!(f, "change {id} of the ring does not go on: {reason}"),
            Why::DiskLeft { pod } => write!(f, "{pod} has the disk that left the ring with it: it joins once it runs on an empty one"),
            Why::DiskGoes { pod } => write!(f, "the volume of the earlier {pod} is being deleted before there is another {pod}"),
            Why::LeaverIsDown { pod } => write!(f, "{pod} is to leave and does not answer: start it, so that it hands over what it has, or give its disk up with `kubectl dynamo replace {pod}`"),
            Why::TooFewWouldStay { members, n } => write!(f, "{members} {} would stay, and each key has {n} replicas: leaving waits for those that are to join", said_of(*members, "node", "nodes")),
            Why::RemovalWouldLose { pod } => write!(f, "{pod} is gone for good, but without it too few whole replicas of some ranges are left: waiting for the others; if they will not return, accept the loss with `dynamo node remove {pod} --accept-loss`, as docs/OPERATIONS.md shows"),
            Why::StillMember { pod } => write!(f, "{pod} is still in the ring"),
            Why::HandsOver { pod } => write!(f, "{pod} has left the ring and still hands over what it has"),
            Why::NoReceipt { pod, missing } => write!(f, "{pod} has no receipt yet: {}", listed(missing)),
            Why::PodsGo { pods } => write!(f, "waiting for {} to be gone", listed(pods)),
            Why::MachineGone { pod, host, left_s } => write!(f, "the volume of {pod} is on machine {host}, which is gone: its disk is given up within {}", within(*left_s)),
            Why::OnlyCopies { pod } => write!(f, "the disk of {pod} is lost or to be given up, but too few whole replicas of some ranges are elsewhere: waiting for the others"),
            Why::ReplacementWouldBreakQuorum { pod } => write!(f, "giving {pod} an empty disk now would leave ranges without their quorum: waiting for the others"),
            Why::Refilling { pods } => write!(f, "{} {} replicas", listed(pods), said_of(pods.len(), "is being filled from its", "are being filled from their")),
            Why::HintsUndelivered { hints } => write!(f, "{} hints are not delivered yet: restarts wait for them", about(*hints)),
            Why::NodesBehind { pods } => write!(f, "{} {} not heard of the present ring yet: restarts wait for {}", listed(pods), said_of(pods.len(), "has", "have"), said_of(pods.len(), "it", "them")),
            Why::UpdatedNotReady { pods } => {
                let (were, are) = (said_of(pods.len(), "was", "were"), said_of(pods.len(), "is", "are"));
                write!(f, "{} {were} restarted for the present template and {are} not ready: no other node is restarted; look at {} logs, and correct or revert the spec", listed(pods), said_of(pods.len(), "its", "their"))
            },
            Why::RestartWouldBreakQuorum { pod, down } => write!(f, "restarting {pod} would leave ranges without their quorum while {} can't serve", listed(down)),
            Why::TurnBegins { what } => write!(f, "{what}: begins in some seconds, once nothing of an earlier turn can be under way any more"),
            Why::InTurn { what } => write!(f, "{what}"),
            Why::VolumesCannotGrow => f.write_str("the volumes' storage class does not allow them to grow: set allowVolumeExpansion in the class, or set spec.storage.size back"),
            Why::VolumesGrow { pods } => write!(f, "the {} asked to grow", said_of(pods.len(), &format!("volume of {} is", listed(pods)), &format!("volumes of {} are", listed(pods)))),
            Why::GrowthWaitsForRollout { set } => write!(f, "StatefulSet {set} is made anew with larger claims once its rollout is through and nothing else is under way"),
            Why::DiskRefuses { pods } => write!(f, "the {} no writes (full or failing): raise spec.storage.size, or replace the disk", said_of(pods.len(), &format!("disk of {} takes", listed(pods)), &format!("disks of {} take", listed(pods)))),
            Why::CertificatesNotLoaded { pods, what } => write!(f, "{} {} not loaded {what} yet", listed(pods), said_of(pods.len(), "has", "have")),
            Why::EvictionsHeld { because } => write!(f, "no pod may be evicted now: {because}"),
            Why::Paused => f.write_str("spec.maintenance.pause is set: nothing that stops a pod or moves data is done"),
            Why::PlanOnly => f.write_str("spec.maintenance.planOnly is set: nothing is done, but that evictions are held back where they would do harm"),
        }
    }
}
