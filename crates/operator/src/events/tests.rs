use dynamo_crd::status::{PlanStatus, PlannedStep, RingChange, RingStatus, StepState};
use dynamo_planner::{
    PodId,
    turn::{Turn, Work},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::*;

fn condition(kind: ConditionKind, status: &str, reason: &str) -> Condition {
    Condition {
        type_: kind.to_string(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: format!("the message of {reason}"),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

fn with(conditions: Vec<Condition>) -> DynamoClusterStatus {
    DynamoClusterStatus { conditions, ..DynamoClusterStatus::default() }
}

fn reasons(told: &[Told]) -> Vec<&str> {
    told.iter().map(|told| told.reason.as_str()).collect()
}

#[test]
fn a_condition_is_told_when_it_turns_and_not_while_it_lasts() {
    let up = with(vec![condition(ConditionKind::Available, "True", "QuorumEverywhere")]);
    let down = with(vec![condition(ConditionKind::Available, "False", "QuorumLost")]);
    let told = of_status(&up, &down);
    assert_eq!(told, [Told::warning("Unavailable", "the message of QuorumLost")]);
    assert_eq!(of_status(&down, &up), [Told::normal("Available", "the message of QuorumEverywhere")]);
    assert_eq!(of_status(&up, &up), []);
    assert_eq!(of_status(&DynamoClusterStatus::default(), &down), [], "the first status is no turn");
}

#[test]
fn what_is_degraded_for_another_reason_is_told_again() {
    let degraded = |reason| with(vec![condition(ConditionKind::Degraded, "True", reason)]);
    assert_eq!(reasons(&of_status(&degraded("Forbidden"), &degraded("DiskRefuses"))), ["Degraded"]);
    let fine = with(vec![condition(ConditionKind::Degraded, "False", "AllServe")]);
    assert_eq!(reasons(&of_status(&degraded("Forbidden"), &fine)), ["Recovered"]);
    assert!(!of_status(&degraded("Forbidden"), &fine)[0].warning);
}

fn node(state: NodeState, disk: DiskState) -> DynamoClusterStatus {
    let node = NodeStatus {
        name: "shop-a-0".to_owned(),
        id: None,
        zone: "a".to_owned(),
        kubernetes_node: None,
        state,
        tokens: 0,
        incarnation: None,
        hints_about: 0,
        receiving: 0,
        disk,
        disk_used_percent: None,
        image: None,
    };
    DynamoClusterStatus { nodes: vec![node], ..DynamoClusterStatus::default() }
}

#[test]
fn nodes_and_disks_are_told_when_they_turn() {
    let serving = node(NodeState::Serving, DiskState::Ok);
    let told = of_status(&serving, &node(NodeState::Down, DiskState::Full));
    assert_eq!(reasons(&told), ["NodeDown", "DiskFull"]);
    assert!(told.iter().all(|told| told.warning));
    assert_eq!(reasons(&of_status(&node(NodeState::Down, DiskState::Full), &serving)), ["NodeBack", "DiskOk"]);
    let suspect = node(NodeState::Suspect, DiskState::Ok);
    assert_eq!(reasons(&of_status(&serving, &suspect)), ["NodeSuspect"]);
    assert_eq!(reasons(&of_status(&suspect, &node(NodeState::Down, DiskState::Ok))), ["NodeDown"]);
    assert_eq!(reasons(&of_status(&suspect, &serving)), ["NodeBack"]);
    assert_eq!(reasons(&of_status(&node(NodeState::Down, DiskState::Ok), &suspect)), [""; 0]);
    assert_eq!(of_status(&serving, &serving), []);
}

#[test]
fn a_change_of_the_ring_is_told_at_its_end_and_when_it_stops_going_on() {
    let ring = |change: Option<&[&str]>, epoch| {
        let change = change.map(|waits| RingChange {
            what: "shop-a-1 joins".to_owned(),
            cancelled: false,
            steps: 4,
            steps_done: 1,
            waits_for: waits.iter().map(|why| (*why).to_owned()).collect(),
        });
        DynamoClusterStatus { ring: Some(RingStatus { epoch, members: 3, change }), ..DynamoClusterStatus::default() }
    };
    let told = of_status(&ring(Some(&[]), 4), &ring(None, 5));
    assert_eq!(told, [Told::normal("RingSettled", "shop-a-1 joins is done: epoch 5")]);
    let blocked = of_status(&ring(Some(&[]), 4), &ring(Some(&["shop-b-0 is down"]), 4));
    assert_eq!(reasons(&blocked), ["RingChangeBlocked"]);
    assert_eq!(of_status(&ring(Some(&["shop-b-0 is down"]), 4), &ring(Some(&["shop-b-0 is still down"]), 4)), []);
}

#[test]
fn what_waits_is_told_once_whatever_its_sentence_says_meanwhile() {
    let waiting = |sentence: &str| {
        let waits_for = if sentence.is_empty() { vec![] } else { vec![sentence.to_owned()] };
        let step = PlannedStep { what: "restart nodes".to_owned(), state: StepState::Blocked, waits_for };
        DynamoClusterStatus { plan: Some(PlanStatus { steps: vec![step] }), ..DynamoClusterStatus::default() }
    };
    let told = of_status(&waiting(""), &waiting("up to 10 hints are not delivered yet"));
    assert_eq!(told, [Told::normal("Waiting", "restart nodes: up to 10 hints are not delivered yet")]);
    assert_eq!(of_status(&waiting("up to 10 hints"), &waiting("up to 100 hints")), []);
}

#[test]
fn what_is_done_is_told_in_the_planner_s_words() {
    let restart = Action::DeletePod { pod: PodId::new("shop-a", 0), uid: "u".to_owned(), under: 7 };
    assert_eq!(of_action(&restart), Some(Told::normal("PodRestarted", "restart shop-a-0")));
    assert_eq!(of_action(&Action::CheckSets(BTreeMap::new())), None);
    let turn = |work| Action::TakeTurn { version: None, turn: Turn { id: 1, work } };
    assert_eq!(of_action(&turn(Work::Ring)), None, "the change itself is told");
}
