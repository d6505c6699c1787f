//! The loop: whoever is touched is looked at, planned for and tended, one cluster at a time each, and told of in its status.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use dynamo_crd::DynamoCluster;
use dynamo_planner::{Observed, Plan, conditions, plan};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use kube::{
    Resource,
    runtime::{
        applier,
        controller::{self, Action},
        reflector::ObjectRef,
    },
};

use tokio::time::sleep;

use crate::{
    act::{self, ActError, Done, Dropped, right_that_lacks},
    apply::{self, ApplyError},
    authority::AuthorityError,
    caches::{Missing, Queue, Watches},
    context::{Context, id_of},
    metrics::{self, Ended},
    observe::{self, ObserveError, Seen},
    status::Trouble,
    tell,
};

/// A burst of events is one look: each waits so long for those that come with it. (It is not put off by those that come later:
/// else a large cluster whose pods change all the time would never be looked at.)
const GATHER: Duration = Duration::from_millis(300);
/// So many clusters are looked at at once.
const AT_ONCE: u16 = 32;
/// When the next look is due, by what goes on.
const AGAIN: Duration = Duration::from_secs(1);
const IN_TURN: Duration = Duration::from_secs(2);
const WAITING: Duration = Duration::from_secs(10);
const SETTLED: Duration = Duration::from_secs(60);
/// How often it is looked for kinds that may or may not be served.
const KINDS: Duration = Duration::from_secs(600);
/// The longest pause after failures, each of which doubles it.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// Why a cluster was not tended.
#[derive(Debug, thiserror::Error)]
pub enum TendError {
    /// It is not known how it is.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Something could not be written.
    #[error(transparent)]
    Act(#[from] ActError),
    /// An object that needs no plan could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Certificates could not be brought in order.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Its status could not be written.
    #[error("the status was not written: {0}")]
    Status(kube::Error),
}

/// Tends clusters for as long as it is polled.
pub async fn run(context: Arc<Context>, mut watches: Watches) {
    let queues = watches.queues().into_iter().map(|queue| tend_all(&context, queue).boxed());
    let mut outcomes = stream::select_all(queues);
    let kinds = async {
        loop {
            context.look_for_kinds().await;
            sleep(KINDS).await;
        }
    };
    tokio::select! {
        () = kinds => {}
        () = context.serving.clone().run() => {}
        () = async { while outcomes.next().await.is_some() {} } => {}
    }
    drop(watches);
}

fn tend_all(context: &Arc<Context>, queue: Queue) -> impl stream::Stream<Item = ()> + Send + 'static {
    let Queue { store, wakes } = queue;
    let wakes = stream::unfold(wakes, async |mut wakes| {
        let cluster: ObjectRef<DynamoCluster> = wakes.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(cluster), wakes))
    });
    let config = controller::Config::default().concurrency(AT_ONCE);
    let outcomes = applier(
        spawned,
        |cluster, error, context| failed(&cluster, error, &context),
        Arc::clone(context),
        store,
        wakes,
        config,
    );
    let context = Arc::clone(context);
    outcomes.map(move |outcome| {
        if let Err(controller::Error::ObjectNotFound(gone)) = outcome {
            let id = (gone.namespace.clone().unwrap_or_default(), gone.name.clone());
            context.forget(&id);
        }
    })
}

fn spawned(cluster: Arc<DynamoCluster>, context: Arc<Context>) -> BoxFuture<'static, Result<Action, TendError>> {
    async move {
        sleep(GATHER).await;
        let (namespace, name) = id_of(&cluster);
        match context.caches.clusters.get(&namespace, &name) {
            Some(cluster) => tend(&context, &cluster).await,
            None => Ok(Action::await_change()),
        }
    }
    .boxed()
}

fn failed(cluster: &DynamoCluster, error: &TendError, context: &Context) -> Action {
    let failures = context.memories.failed(cluster);
    let (namespace, name) = id_of(cluster);
    let pause = context.clock.pause(back_off(failures));
    tracing::warn!(namespace, cluster = name, %error, failures, ?pause, "the cluster was not tended: trying again");
    Action::requeue(pause)
}

fn back_off(failures: u32) -> Duration {
    (AGAIN * 2u32.saturating_pow(failures.saturating_sub(1).min(10))).min(BACK_OFF_MAX)
}

/// Looks at a cluster once, and does what can be done now.
///
/// # Errors
/// Something is wrong that looking again at once does not mend; the status says what.
pub async fn tend(context: &Context, cluster: &DynamoCluster) -> Result<Action, TendError> {
    if cluster.meta().deletion_timestamp.is_some() {
        // Its objects go by their owner references.
        context.forget(&id_of(cluster));
        return Ok(Action::await_change());
    }
    let began = Instant::now();
    let outcome = look_and_act(context, cluster).await;
    metrics::reconciled(ended(&outcome), began.elapsed());
    if let Err(TendError::Observe(ObserveError::Missing(Missing::Unheard(kind)))) = &outcome {
        tracing::debug!(kind, "nothing is done until the API server was heard");
        return Ok(Action::requeue(AGAIN));
    }
    let told = match &outcome {
        Ok(looked) => tell::looked(context, cluster, (&looked.seen, &looked.plan), &looked.done).await,
        Err(error) => {
            metrics::failed(reason(error));
            let trouble = Trouble { reason: reason(error).to_owned(), message: error.to_string() };
            tell::failed(context, cluster, &trouble).await
        }
    };
    let looked = outcome?;
    told.map_err(TendError::Status)?;
    context.memories.succeeded(cluster);
    Ok(Action::requeue(context.clock.pause(next_look(&looked))))
}

fn ended(outcome: &Result<Looked, TendError>) -> Ended {
    match outcome {
        Err(_) => Ended::Failed,
        Ok(looked) if looked.done.written > 0 => Ended::Acted,
        Ok(looked) if looked.plan.waits.is_empty() => Ended::Settled,
        Ok(_) => Ended::Waits,
    }
}

struct Looked {
    seen: Seen,
    plan: Plan,
    done: Done,
}

async fn look_and_act(context: &Context, cluster: &DynamoCluster) -> Result<Looked, TendError> {
    let seen = observe::observe(context, cluster).await?;
    let plan = context.memories.with(cluster, |memory| {
        memory.observe(&seen.observed);
        plan(&seen.wanted, &seen.observed, memory)
    });
    let beside = beside(context, cluster, &seen).await;
    let done = act::carry_out(context, cluster, &seen, &plan, beside.is_ok()).await?;
    beside?;
    Ok(Looked { seen, plan, done })
}

/// What needs no decision is applied once it is known who founded the cluster; a failure of that keeps no disk from being
/// replaced.
async fn beside(context: &Context, cluster: &DynamoCluster, seen: &Seen) -> Result<(), TendError> {
    if cluster.spec.maintenance.plan_only || seen.observed.founders.is_none() {
        return Ok(());
    }
    context.authority.mend(cluster, &seen.authority).await?;
    let basis = seen.basis(cluster, context.service_monitors.load(Ordering::Relaxed));
    let changed = apply::beside(&context.client, &context.caches, &basis).await?;
    tracing::trace!(?changed, "applied");
    Ok(())
}

fn next_look(looked: &Looked) -> Duration {
    let Looked { seen, plan, done } = looked;
    match &done.dropped {
        // It says why, and another plan follows when the ring is another.
        Some(Dropped::Refused(_)) => return WAITING,
        Some(_) => return AGAIN,
        None => {}
    }
    // What was written is seen by a watch.
    let waits = plan.waits.iter().any(|why| !why.is_notice());
    match () {
        () if seen.observed.turn.turn.is_some() || done.written > 0 => IN_TURN,
        // Nodes tell nobody by themselves that they serve by now, or have all that they should.
        () if done.certificates_load || !is_well(&seen.observed, plan) => WAITING / 2,
        () if waits || !plan.waits.is_empty() => WAITING,
        () => SETTLED,
    }
}

/// Whether all serves, is whole and in its place.
fn is_well(observed: &Observed, plan: &Plan) -> bool {
    let good = |kind| ["Available", "RingSettled", "DataSafe"].contains(&kind);
    conditions(observed, plan).iter().all(|condition| condition.holds || !good(condition.kind))
}

fn reason(error: &TendError) -> &'static str {
    match error {
        TendError::Observe(ObserveError::Missing(Missing::Forbidden(_))) => "Forbidden",
        TendError::Observe(ObserveError::Missing(_)) => "NotHeardYet",
        TendError::Observe(ObserveError::Record { .. }) => "RecordUnreadable",
        TendError::Observe(ObserveError::Stranger(_)) => "StrangerInRing",
        TendError::Observe(ObserveError::Size(_)) => "SizeUnreadable",
        TendError::Observe(ObserveError::Clash(_)) => "NameIsTaken",
        TendError::Act(error) => error.reason(),
        TendError::Apply(error) => error.reason(),
        TendError::Authority(error) | TendError::Observe(ObserveError::Authority(error)) => match error {
            AuthorityError::Api { source, .. } if right_that_lacks(source).is_some() => "Forbidden",
            AuthorityError::NotOurs { .. } => "NotOurs",
            _ => "Certificates",
        },
        TendError::Status(_) => "StatusNotWritten",
    }
}

#[cfg(test)]
mod tests {
    use dynamo_planner::{NodeView, PodId, PodView, RingView};

    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_until_it_is_a_minute() {
        let pauses: Vec<u64> = [1, 2, 3, 6, 7, 100].map(|failures| back_off(failures).as_secs()).into();
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn what_is_not_well_yet_is_looked_at_again_though_nothing_is_to_be_done() {
        let pod: PodId = "shop-a-0".parse().unwrap();
        let node = NodeView { up: true, incarnation: 1, ..NodeView::default() };
        let ring = RingView {
            members: [(pod.clone(), 1)].into(),
            nodes: [(pod.clone(), node)].into(),
            homes: [[pod.clone()].into()].into(),
            confirmed: true,
            quorum: 1,
            ..RingView::default()
        };
        let (uid, template) = (String::new(), String::new());
        let view = PodView { uid, host: None, ready: true, template, deleting: false };
        let mut observed = Observed { ring: Some(ring), pods: [(pod.clone(), view)].into(), ..Observed::default() };
        assert!(is_well(&observed, &Plan::default()));
        observed.ring.as_mut().unwrap().nodes.get_mut(&pod).unwrap().up = false;
        assert!(!is_well(&observed, &Plan::default()));
        assert!(!is_well(&Observed::default(), &Plan::default()), "no node has answered");
    }
}
