//! Why pods do not come to be, or end again and again: what the scheduler, the kubelet and the provisioner of volumes say of them,
//! for who would look it up at 3 a.m. Nothing is decided by it.
//!
//! What changes all the time (how often something was tried, how long it waits) is left out, so that it is written once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dynamo_planner::{PodId, said_of};
use k8s_openapi::{
    api::{
        core::v1::{ContainerState, ContainerStateWaiting, ContainerStatus, PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;

use super::Trouble;
use crate::observe::is_ready;

/// The scheduler has looked for a machine in vain for so long: before that it may be at it still.
const SEARCHED_S: i64 = 20;
/// A container that has ended so often will do it again.
const ENDED_OFTEN: i32 = 3;
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// What hinders these pods. `classes`: the storage classes that there are; None: this operator may not see them.
pub fn hindered(
    pods: &BTreeMap<PodId, Arc<Pod>>,
    claims: &BTreeMap<PodId, Arc<PersistentVolumeClaim>>,
    classes: Option<&BTreeMap<String, Arc<StorageClass>>>,
    wall_s: u64,
) -> Vec<Trouble> {
    let unbound = claims.iter().filter_map(|(pod, claim)| Some((pod, without_class(claim, classes?)?)));
    let waiting: Vec<(&PodId, Hindrance)> = unbound.collect();
    let without: BTreeSet<&PodId> = waiting.iter().map(|(pod, _)| *pod).collect();
    // Whose volume can't be made has no machine for that reason.
    let others = pods.iter().filter(|(pod, object)| !without.contains(pod) && !is_ready(object));
    let others = others.filter_map(|(pod, object)| Some((pod, of_pod(object, wall_s)?)));
    // The same words are told once, of all pods that they are true of.
    let mut told: BTreeMap<Hindrance, Vec<&PodId>> = BTreeMap::new();
    for (pod, hindrance) in waiting.iter().map(|(pod, hindrance)| (*pod, hindrance.clone())).chain(others) {
        told.entry(hindrance).or_default().push(pod);
    }
    told.into_iter().map(|(hindrance, pods)| hindrance.of(&pods)).collect()
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Hindrance {
    NoClass(Option<String>),
    NoMachine(String),
    NoImage(String),
    NotMade(String),
    Ends(String),
}

impl Hindrance {
    fn of(self, pods: &[&PodId]) -> Trouble {
        let names = dynamo_planner::listed(pods);
        let first = pods.first().expect("it is of somebody");
        let (reason, message) = match self {
            Hindrance::NoClass(Some(class)) => (
                "StorageClassMissing",
                format!(
                    "{} to be of StorageClass {class}, which is not there: make it; or name another in a resource that is made anew",
                    said_of(pods.len(), &format!("the volume of {names} is"), &format!("the volumes of {names} are"))
                ),
            ),
            Hindrance::NoClass(None) => (
                "StorageClassMissing",
                format!(
                    "{} to be of the default StorageClass, and none is the default: mark one",
                    said_of(pods.len(), &format!("the volume of {names} is"), &format!("the volumes of {names} are"))
                ),
            ),
            Hindrance::NoMachine(why) => (
                "PodUnschedulable",
                format!("no machine takes {names}: {why}; kubectl describe pod {first} has it whole"),
            ),
            Hindrance::NoImage(image) => (
                "ImageNotPulled",
                format!(
                    "the image {image} of {names} can't be pulled: correct spec.image or its pull secret; kubectl describe pod {first} says why"
                ),
            ),
            Hindrance::NotMade(why) => ("PodNotStarted", format!("a container of {names} can't be made: {why}")),
            Hindrance::Ends(how) => (
                "PodEndsAgain",
                format!(
                    "{names} {} again and again ({how}): kubectl logs {first} --all-containers --previous says why",
                    said_of(pods.len(), "starts and ends", "start and end")
                ),
            ),
        };
        Trouble { reason: reason.to_owned(), message }
    }
}

fn without_class(claim: &PersistentVolumeClaim, classes: &BTreeMap<String, Arc<StorageClass>>) -> Option<Hindrance> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let spec = claim.spec.as_ref()?;
    if phase == Some("Bound") || spec.volume_name.as_ref().is_some_and(|name| !name.is_empty()) {
        return None;
    }
    let is_there = match spec.storage_class_name.as_deref() {
        // Made by hand, and bound by hand.
        Some("") => true,
        Some(class) => classes.contains_key(class),
        None => {
            classes.values().any(|one| one.annotations().get(DEFAULT_CLASS).is_some_and(|default| default == "true"))
        }
    };
    (!is_there).then(|| Hindrance::NoClass(spec.storage_class_name.clone()))
}

fn of_pod(pod: &Pod, wall_s: u64) -> Option<Hindrance> {
    let status = pod.status.as_ref()?;
    let unscheduled = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unscheduled {
        let now = i64::try_from(wall_s).unwrap_or(i64::MAX);
        let since = |Time(since): &Time| since.as_second();
        let searched = condition.last_transition_time.as_ref().is_some_and(|time| now - since(time) >= SEARCHED_S);
        let message = condition.message.as_deref().unwrap_or("the scheduler does not say why");
        // What follows is about pods that might be evicted for it, and says the same again.
        let why = message.split(" preemption:").next().unwrap_or_default().trim_end_matches('.');
        return searched.then(|| Hindrance::NoMachine(why.to_owned()));
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.filter_map(of_container).next()
}

fn of_container(container: &ContainerStatus) -> Option<Hindrance> {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable" => {
            Some(Hindrance::NoImage(container.image.clone()))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(Hindrance::NotMade(message_of(waiting).unwrap_or_else(|| reason.to_owned())))
        }
        _ => ended(container, reason).map(Hindrance::Ends),
    }
}

fn message_of(waiting: Option<&ContainerStateWaiting>) -> Option<String> {
    waiting.and_then(|waiting| waiting.message.clone())
}

/// How it ended last, if it ends again and again.
fn ended(container: &ContainerStatus, waits: &str) -> Option<String> {
    let runs = container.state.as_ref().is_some_and(|ContainerState { running, .. }| running.is_some());
    if waits != "CrashLoopBackOff" && !(runs && container.restart_count >= ENDED_OFTEN) {
        return None;
    }
    let last = container.last_state.as_ref()?.terminated.as_ref()?;
    let reason = last.reason.as_deref().filter(|reason| *reason != "Error").map(|reason| format!("{reason}, "));
    Some(format!("{}exit code {}", reason.unwrap_or_default(), last.exit_code))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_700_000_100;

    fn pod(status: Value) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": "x"}, "status": status})).unwrap())
    }

    fn claim(class: Value, phase: &str) -> Arc<PersistentVolumeClaim> {
        let claim = json!({"spec": {"storageClassName": class}, "status": {"phase": phase}});
        Arc::new(serde_json::from_value(claim).unwrap())
    }

    fn class(name: &str, default: bool) -> BTreeMap<String, Arc<StorageClass>> {
        let annotations = json!({DEFAULT_CLASS: default.to_string()});
        let class = json!({"metadata": {"name": name, "annotations": annotations}, "provisioner": "p"});
        [(name.to_owned(), Arc::new(serde_json::from_value(class).unwrap()))].into()
    }

    fn of(pods: &[(&str, Arc<Pod>)]) -> Vec<(String, String)> {
        let pods = pods.iter().map(|(name, pod)| (name.parse().unwrap(), pod.clone())).collect();
        told(hindered(&pods, &BTreeMap::new(), Some(&BTreeMap::new()), NOW))
    }

    fn told(troubles: Vec<Trouble>) -> Vec<(String, String)> {
        troubles.into_iter().map(|trouble| (trouble.reason, trouble.message)).collect()
    }

    fn unscheduled(since: &str) -> Arc<Pod> {
        let message =
            "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector. preemption: 0/4 nodes.";
        pod(json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastTransitionTime": since}]}))
    }

    fn container(state: Value, last: Value, restarts: u32) -> Arc<Pod> {
        pod(json!({"containerStatuses": [{"name": "node", "image": "example.com/node:x", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state, "lastState": last}]}))
    }

    #[test]
    fn what_the_scheduler_says_is_told_once_of_all_that_it_is_true_of_and_not_at_once() {
        let long = unscheduled("2023-11-14T22:14:00Z");
        let found = of(&[("c-a-0", long.clone()), ("c-b-0", long), ("c-c-0", unscheduled("2023-11-14T22:14:59Z"))]);
        let [(reason, message)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(reason, "PodUnschedulable");
        assert!(message.starts_with("no machine takes c-a-0 and c-b-0: 0/4 nodes are available"), "{message}");
        assert!(
            message.contains("affinity/selector; kubectl describe pod c-a-0") && !message.contains("preemption"),
            "{message}"
        );
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named_in_the_same_words_however_often_it_is_tried() {
        let waiting = |reason: &str, message: &str| {
            container(json!({"waiting": {"reason": reason, "message": message}}), json!({}), 0)
        };
        let first = of(&[("c-a-0", waiting("ErrImagePull", "not found"))]);
        assert_eq!(first[0].0, "ImageNotPulled");
        assert!(first[0].1.contains("example.com/node:x of c-a-0"), "{first:?}");
        assert_eq!(first, of(&[("c-a-0", waiting("ImagePullBackOff", "Back-off pulling image"))]));
        assert_eq!(of(&[("c-a-0", waiting("ContainerCreating", ""))]), []);
        let made = of(&[("c-a-0", waiting("CreateContainerConfigError", "secret \"tokens\" not found"))]);
        assert!(made[0].1.contains("secret \"tokens\" not found"), "{made:?}");
    }

    #[test]
    fn who_ends_again_and_again_is_told_with_how_it_ended_whether_it_waits_or_runs() {
        let last = json!({"terminated": {"exitCode": 2, "reason": "Error"}});
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}});
        let found = of(&[("c-a-0", container(waits, last.clone(), 4))]);
        assert!(found[0].0 == "PodEndsAgain" && found[0].1.contains("(exit code 2)"), "{found:?}");
        let runs = json!({"running": {"startedAt": "2023-11-14T22:14:59Z"}});
        assert_eq!(found, of(&[("c-a-0", container(runs.clone(), last.clone(), 5))]));
        assert_eq!(of(&[("c-a-0", container(runs, last, 1))]), [], "once is no habit");
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let found = of(&[("c-a-0", container(json!({"waiting": {"reason": "CrashLoopBackOff"}}), killed, 4))]);
        assert!(found[0].1.contains("OOMKilled, exit code 137"), "{found:?}");
    }

    #[test]
    fn a_class_that_is_not_there_is_told_and_not_what_follows_from_it() {
        let pods: BTreeMap<_, _> = [("c-a-0".parse().unwrap(), unscheduled("2023-11-14T22:14:00Z"))].into();
        let hindered = |class: Value, phase: &str, classes: Option<BTreeMap<String, Arc<StorageClass>>>| {
            told(hindered(&pods, &[("c-a-0".parse().unwrap(), claim(class, phase))].into(), classes.as_ref(), NOW))
        };
        let found = hindered(json!("fast"), "Pending", Some(class("slow", true)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0 == "StorageClassMissing" && found[0].1.contains("StorageClass fast"), "{found:?}");
        let found = hindered(Value::Null, "Pending", Some(class("slow", false)));
        assert!(found[0].1.contains("none is the default"), "{found:?}");
        for (class_name, phase, classes) in [
            (json!("slow"), "Pending", Some(class("slow", false))),
            (Value::Null, "Pending", Some(class("slow", true))),
            (json!("fast"), "Bound", Some(BTreeMap::new())),
            (json!("fast"), "Pending", None),
        ] {
            assert_eq!(hindered(class_name, phase, classes)[0].0, "PodUnschedulable");
        }
    }

    #[test]
    fn who_is_ready_is_hindered_by_nothing() {
        let ready = pod(json!({"conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "node", "image": "i", "imageID": "", "ready": true, "restartCount": 9,
                "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}}]}));
        assert_eq!(of(&[("c-a-0", ready)]), []);
    }
}
