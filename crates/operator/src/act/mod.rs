//! The planner's actions as writes. Nothing is decided here: each write says in its preconditions what it was planned on, and the
//! first that fails is the last.
//!
//! *Invariants:* an action of a turn is sent within five seconds of reading the turn from the API server, or not at all;
//! nothing is sent that was planned more than five seconds ago; nothing is sent twice by itself.
//!
//! `sets`, `claims` and `records` are the kinds of objects, `tend` what needs no plan: that what carries data belongs to
//! whom it should; `hasten` calls kubelets that are to bring certificates.

mod claims;
mod failure;
mod hand;
mod hasten;
mod records;
mod sets;
mod tend;

use std::time::{Duration, Instant};

use dynamo_crd::DynamoCluster;
use dynamo_planner::{Action, Plan, PodId, turn::VALID_S};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;

use crate::{
    context::Context,
    observe::{self, Seen},
    ring::ChangeError,
};

use failure::Failure;
pub use failure::{ActError, Dropped, right_that_lacks};
use hand::{Hand, once};
pub use hasten::ANNOTATION_TRUST;

/// How long what was read may be acted on.
const VALID: Duration = Duration::from_secs(VALID_S);
/// How long a write that belongs to no turn may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far a plan was carried out.
#[derive(Debug, Default)]
pub struct Done {
    /// Writes that were made.
    pub written: usize,
    /// What was done of the plan.
    pub actions: Vec<Action>,
    /// Why the rest was not tried.
    pub dropped: Option<Dropped>,
    /// Nodes have not loaded the certificates that there are.
    pub certificates_load: bool,
    /// Why their kubelets were not all called: they bring them later then, and the rest was done.
    pub not_hastened: Option<ActError>,
}

/// Carries a plan out. With `rendered` false what pods refer to is not all there: then none are made to refer to it.
///
/// # Errors
/// The API server refused a write for good, or was not reached. What was written before is written.
pub async fn carry_out(
    context: &Context,
    cluster: &DynamoCluster,
    seen: &Seen,
    plan: &Plan,
    rendered: bool,
) -> Result<Done, ActError> {
    let hand = Hand::new(context, cluster, seen);
    let mut done = Done { written: hand.tend().await?, ..Done::default() };
    if done.written > 0 {
        // What was planned goes by versions that are no more.
        done.dropped = Some(Dropped::Mended);
        return Ok(done);
    }
    for action in &plan.actions {
        let outcome = match before(seen, action, rendered) {
            Some(dropped) => Err(Failure::Dropped(dropped)),
            None => hand.act(action).await,
        };
        match outcome {
            Ok(()) if matches!(action, Action::CheckSets(_)) => {}
            Ok(()) => {
                tracing::info!(namespace = hand.namespace(), cluster = hand.cluster_name(), ?action, "done");
                done.written += 1;
                done.actions.push(action.clone());
            }
            Err(Failure::Dropped(dropped)) => {
                tracing::info!(namespace = hand.namespace(), cluster = hand.cluster_name(), ?action, %dropped, "not done");
                done.dropped = Some(dropped);
                break;
            }
            Err(Failure::Error(error)) => return Err(error),
        }
    }
    let behind = hand.behind();
    done.certificates_load = !behind.is_empty();
    match hand.hasten(&behind).await {
        Ok(written) => done.written += written,
        Err(error) => done.not_hastened = Some(error),
    }
    Ok(done)
}

/// What keeps an action from being tried.
fn before(seen: &Seen, action: &Action, rendered: bool) -> Option<Dropped> {
    if seen.taken.elapsed() >= VALID {
        return Some(Dropped::Late);
    }
    let refers = matches!(action, Action::CreateSet { .. } | Action::SetTemplate { .. });
    (refers && !rendered).then_some(Dropped::NotRendered)
}

impl Hand<'_> {
    async fn act(&self, action: &Action) -> Result<(), Failure> {
        let patience = match action.under() {
            None => PATIENCE,
            Some(turn) => {
                let read = Instant::now();
                once(VALID, self.stands(turn)).await?;
                VALID.saturating_sub(read.elapsed())
            }
        };
        if patience.is_zero() {
            return Err(Dropped::Late.into());
        }
        once(patience, self.write(action)).await
    }

    /// That it is still this turn: by the API server's own word.
    async fn stands(&self, id: u64) -> Result<(), Failure> {
        let name = observe::turn_name(&self.cluster_name());
        let object = self.api::<ConfigMap>().get_opt(&name).await;
        let object = object.map_err(|error| self.failed("get", "configmaps", &name, error))?;
        let record = observe::turn(object.as_ref()).map_err(|error| ActError::Record(error.to_string()))?;
        let stands = record.turn.is_some_and(|turn| turn.id == id);
        if stands { Ok(()) } else { Err(Dropped::TurnIsOver.into()) }
    }

    async fn write(&self, action: &Action) -> Result<(), Failure> {
        match action {
            Action::RecordZones(_) => self.record_zones().await,
            Action::CreateFounders(founders) => self.create_founders(founders).await,
            Action::CreateSet { set, zone, replicas, storage_bytes, .. } => {
                self.create_set(set, zone, *replicas, *storage_bytes).await
            }
            Action::RaiseSet { set, to, version } | Action::ShrinkSet { set, to, version, .. } => {
                self.scale(set, *to, version).await
            }
            Action::DeleteSet { set, uid, version, orphan } => self.delete_set(set, uid, version, *orphan).await,
            Action::SetTemplate { set, version, .. } => self.set_template(set, version).await,
            Action::LowerPartition { set, to, version, .. } => self.partition(set, *to, version).await,
            Action::ParkPartition { set, version } => self.partition(set, dynamo_planner::PARKED, version).await,
            Action::CheckSets(generations) => self.check_sets(generations).await,
            Action::DeletePod { pod, uid, .. } => self.delete_pod(pod, uid).await,
            Action::MarkClaim { pod, version, mark, .. } => self.mark_claim(pod, version, *mark).await,
            Action::DeleteClaim { pod, uid, version, .. } => self.delete_claim(pod, uid, version).await,
            Action::GrowClaim { pod, version, to_bytes } => self.grow_claim(pod, version, *to_bytes).await,
            Action::Retire(lives) => self.retire(lives).await,
            Action::TakeTurn { version, turn } => self.write_turn(version.as_deref(), turn.id, Some(turn)).await,
            Action::EndTurn { version, id } => self.write_turn(Some(version), *id, None).await,
            Action::SetBudget(allowed) => self.set_budget(*allowed).await,
            Action::ChangeRing { .. } | Action::CancelChange { .. } => self.change_ring(action).await,
            Action::Certificates(step) => self.certificates(step).await,
        }
    }

    /// As it was seen: one that was broken and has become ready since is not restarted.
    async fn delete_pod(&self, pod: &PodId, uid: &str) -> Result<(), Failure> {
        let seen = self.seen.objects.pods.get(pod).filter(|seen| seen.uid().as_deref() == Some(uid));
        let Some(version) = seen.and_then(|seen| seen.resource_version()) else {
            return Err(Dropped::Stale(format!("pod {pod} is another")).into());
        };
        self.delete::<Pod>("pods", &pod.to_string(), (uid, &version), false).await
    }

    async fn change_ring(&self, action: &Action) -> Result<(), Failure> {
        // The ring was seen: else there would be nothing to change.
        let Some(heard) = &self.seen.ring else { return Err(Dropped::Stale("no node answers".to_owned()).into()) };
        let nodes = self.context.rings.nodes(self.id(), self.seen.targets.clone(), self.seen.security.clone());
        let outcome = match action {
            Action::ChangeRing { version, edits, fewer_zones, .. } => {
                nodes.change(&heard.asked, *version, edits, *fewer_zones).await
            }
            Action::CancelChange { id } => nodes.cancel(&heard.asked, *id).await,
            _ => Ok(()),
        };
        outcome.map_err(|error| match error {
            ChangeError::Refused(why) => Dropped::Refused(why).into(),
            ChangeError::Lost(why) => Dropped::Stale(why).into(),
        })
    }
}
