//! The nodes' word on the ring: what they are asked, and what is asked of them.
//!
//! Each question has a bounded time, since a plan is worth nothing when it is old. A node is asked where its pod is, and
//! by no name that had to be looked up.

mod link;
mod own;
mod view;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use dynamo_planner::{Edit, PodId, ReceiptView};
use dynamo_wire::v1::{
    ApplyRequest, CancelRequest, JoinEdit, LeaveEdit, ReceiptRequest, RemoveEdit, RingEdit, UpdateEdit, ViewRequest,
    ViewResponse, ring_admin_client::RingAdminClient, ring_edit,
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Code, Status, transport::Channel};

use crate::context::ClusterId;

pub use link::{Security, Target};
pub use own::{Loaded, by_own_word};
pub use view::{StrangerError, ring_view};

use link::Links;

/// How long the ring may be asked for in all; a node takes two seconds at most to find a majority.
const VIEW: Duration = Duration::from_millis(3000);
/// So many nodes are asked at once, and as many more after this time, or when one can't be reached.
const WAVE: usize = 3;
const NEXT_WAVE: Duration = Duration::from_millis(700);
/// So many are asked in all.
const ASKED_MAX: usize = 12;
/// How long a receipt may take.
const RECEIPT: Duration = Duration::from_millis(1500);
/// How long a node may take to say what it has loaded.
const OWN_WORD: Duration = Duration::from_millis(1500);
/// How long a change may take to be registered.
const CHANGE: Duration = Duration::from_secs(5);
/// An answer about a thousand nodes fits well.
const ANSWER_BYTES: usize = 64 << 20;

/// Asks the nodes of all clusters.
pub struct Asker {
    port: u16,
    links: Links,
    /// Who is asked first, so that it is not always the same one.
    turn: AtomicUsize,
}

/// The nodes of one cluster, as they can be asked now.
pub struct Nodes<'a> {
    asker: &'a Asker,
    cluster: ClusterId,
    targets: Vec<Target>,
    security: Security,
}

/// What the nodes said of the ring.
#[derive(Debug, Clone)]
pub struct Heard {
    /// What.
    pub view: ViewResponse,
    /// Who.
    pub asked: PodId,
}

/// Why a change of the ring was not made, or may not have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The nodes refused it: nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// It may have been made: the ring is looked at again.
    #[error("{0}: the change may or may not have begun, which is looked at next")]
    Lost(String),
}

impl Asker {
    /// One that asks at this port.
    pub fn new(port: u16) -> Asker {
        Asker { port, links: Links::default(), turn: AtomicUsize::new(0) }
    }

    /// Of a cluster that has these pods.
    pub fn nodes(&self, cluster: ClusterId, targets: Vec<Target>, security: Security) -> Nodes<'_> {
        self.links.keep(&cluster, &targets);
        Nodes { asker: self, cluster, targets, security }
    }

    /// The cluster is no more.
    pub fn forget(&self, cluster: &ClusterId) {
        self.links.keep(cluster, &[]);
    }
}

impl Nodes<'_> {
    /// Connections to those that can be asked, in the order in which they would be.
    pub fn channels(&self) -> Vec<Channel> {
        let link = |target| self.asker.links.to(&self.cluster, target, self.asker.port, &self.security);
        self.order().into_iter().map(link).collect()
    }

    /// The ring, as a majority of its members confirms it; or else the newest that is known; or nothing, if nobody answers.
    pub async fn view(&self) -> Option<Heard> {
        let began = Instant::now();
        let (until, mut next_wave) = (began + VIEW, began + NEXT_WAVE);
        let mut waiting = self.order().into_iter().take(ASKED_MAX);
        let mut asked: FuturesUnordered<_> = waiting.by_ref().take(WAVE).map(|target| self.ask_view(target)).collect();
        let mut newest: Option<Heard> = None;
        while !asked.is_empty() {
            tokio::select! {
                answer = asked.next() => match answer {
                    Some(Some(heard)) if heard.view.confirmed => return Some(heard),
                    Some(heard) => {
                        asked.extend(waiting.next().map(|target| self.ask_view(target)));
                        let is_newer = |heard: &Heard| {
                            newest.as_ref().is_none_or(|newest| newest.view.version < heard.view.version)
                        };
                        newest = heard.filter(is_newer).or(newest);
                    }
                    None => break,
                },
                () = sleep_until(next_wave) => {
                    next_wave += NEXT_WAVE;
                    asked.extend(waiting.by_ref().take(WAVE).map(|target| self.ask_view(target)));
                }
                () = sleep_until(until) => break,
            }
        }
        newest
    }

    /// Those that serve first; of these another one each time.
    fn order(&self) -> Vec<&Target> {
        let (mut ready, others): (Vec<&Target>, Vec<&Target>) = self.targets.iter().partition(|target| target.ready);
        let first = self.asker.turn.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
        ready.rotate_left(first);
        ready.into_iter().chain(others).collect()
    }

    async fn ask_view(&self, target: &Target) -> Option<Heard> {
        let mut admin = self.admin(target);
        match timeout(VIEW, admin.view(ViewRequest { confirm: true })).await {
            Ok(Ok(view)) => Some(Heard { view: view.into_inner(), asked: target.pod.clone() }),
            Ok(Err(status)) => {
                tracing::debug!(pod = %target.pod, %status, "a node did not tell the ring");
                self.failed(target, &status);
                None
            }
            Err(_) => {
                self.asker.links.drop_one(&self.cluster, &target.pod);
                None
            }
        }
    }

    /// What each of these nodes says of what it still has, as far as they answer.
    pub async fn receipts(&self, pods: &[PodId]) -> BTreeMap<PodId, ReceiptView> {
        let mut asked = FuturesUnordered::new();
        for target in &self.targets {
            if pods.contains(&target.pod) {
                asked.push(self.receipt(target));
            }
        }
        let mut receipts = BTreeMap::new();
        while let Some(receipt) = asked.next().await {
            receipts.extend(receipt);
        }
        receipts
    }

    async fn receipt(&self, target: &Target) -> Option<(PodId, ReceiptView)> {
        let request = ReceiptRequest { node: target.pod.to_string() };
        let mut admin = self.admin(target);
        let response = timeout(RECEIPT, admin.receipt(request)).await.ok()?.ok()?.into_inner();
        let (complete, incarnation, missing) = (response.complete, response.incarnation, response.missing);
        Some((target.pod.clone(), ReceiptView { complete, incarnation, missing }))
    }

    /// Begins a change of the ring, by the node that told of it.
    ///
    /// # Errors
    /// It was refused, or may have been made.
    pub async fn change(&self, by: &PodId, version: u64, edits: &[Edit], fewer_zones: bool) -> Result<(), ChangeError> {
        let request = ApplyRequest {
            edits: edits.iter().map(ring_edit).collect(),
            version,
            allow_fewer_than_n: fewer_zones,
            accept_loss: false,
        };
        let target = self.target(by)?;
        let mut admin = self.admin(target);
        match timeout(CHANGE, admin.apply(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(self.lost(target, &status)),
            Err(_) => Err(self.late(target)),
        }
    }

    /// Takes the change back that is under way.
    ///
    /// # Errors
    /// It was refused, or may have been taken back.
    pub async fn cancel(&self, by: &PodId, change: u64) -> Result<(), ChangeError> {
        let target = self.target(by)?;
        let mut admin = self.admin(target);
        match timeout(CHANGE, admin.cancel(CancelRequest { change })).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(self.lost(target, &status)),
            Err(_) => Err(self.late(target)),
        }
    }

    fn target(&self, pod: &PodId) -> Result<&Target, ChangeError> {
        let found = self.targets.iter().find(|target| target.pod == *pod);
        found.ok_or_else(|| ChangeError::Refused(format!("{pod} is gone: nothing was asked")))
    }

    fn admin(&self, target: &Target) -> RingAdminClient<Channel> {
        let channel = self.asker.links.to(&self.cluster, target, self.asker.port, &self.security);
        RingAdminClient::new(channel).max_decoding_message_size(ANSWER_BYTES)
    }

    fn lost(&self, target: &Target, status: &Status) -> ChangeError {
        self.failed(target, status);
        let refused = matches!(
            status.code(),
            Code::FailedPrecondition | Code::InvalidArgument | Code::NotFound | Code::PermissionDenied
        );
        let said = format!("{} says: {}", target.pod, status.message());
        if refused { ChangeError::Refused(said) } else { ChangeError::Lost(said) }
    }

    fn late(&self, target: &Target) -> ChangeError {
        self.asker.links.drop_one(&self.cluster, &target.pod);
        ChangeError::Lost(format!("{} did not answer in time", target.pod))
    }

    /// A connection that broke is made anew by itself; one on which nothing comes back is not.
    fn failed(&self, target: &Target, status: &Status) {
        if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::DeadlineExceeded) {
            self.asker.links.drop_one(&self.cluster, &target.pod);
        }
    }
}

fn ring_edit(edit: &Edit) -> RingEdit {
    let edit = match edit {
        Edit::Join { pod, weight } => ring_edit::Edit::Join(JoinEdit { node: pod.to_string(), weight: *weight }),
        Edit::Leave { pod } => ring_edit::Edit::Leave(LeaveEdit { node: pod.to_string() }),
        Edit::Remove { pod } => ring_edit::Edit::Remove(RemoveEdit { node: pod.to_string() }),
        Edit::Reweigh { pod, weight } => {
            ring_edit::Edit::Update(UpdateEdit { node: pod.to_string(), weight: *weight, zone: String::new() })
        }
    };
    RingEdit { edit: Some(edit) }
}
