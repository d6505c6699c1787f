use dynamo_crd::{
    Bucket, BucketMode, DynamoClusterSpec,
    status::{ConditionKind, NodeState, RotationPhase, StepState},
};
use dynamo_planner::{
    Action, ChangeView, NodeView, PodView, Reclaim, RingView, StorageWanted, ZoneWanted,
    certificates::{Authorities, Life},
    turn::{Turn, Work},
};

use super::*;

/// All that a status is made of, by value.
struct Given {
    cluster: DynamoCluster,
    wanted: Wanted,
    observed: Observed,
    plan: Plan,
    zones: Vec<ZonePlace>,
    nodes: BTreeMap<PodId, NodeFacts>,
    change: Option<ChangeFacts>,
    troubles: Vec<Trouble>,
    hindered: Vec<Trouble>,
    buckets: Option<BTreeSet<String>>,
    wall_s: u64,
}

fn pod(zone: &str) -> PodId {
    PodId::new(&format!("shop-{zone}"), 0)
}

/// Three nodes in three zones, settled.
fn given() -> Given {
    let mut cluster = DynamoCluster::new("shop", DynamoClusterSpec::default());
    cluster.metadata.generation = Some(3);
    let wanted = Wanted {
        cluster: "shop".to_owned(),
        replicas: 3,
        zones: Some(vec![ZoneWanted { name: "a".to_owned(), weight: 1, storage_bytes: Some(1) }]),
        n: 3,
        template: "0a1b".to_owned(),
        storage: StorageWanted { size_bytes: 1, on_scale_down: Reclaim::Delete },
        maintenance: Default::default(),
        replace_after_s: 600,
    };
    let mut ring = RingView { version: 5, epoch: 5, confirmed: true, quorum: 2, sources: 2, ..RingView::default() };
    let (mut observed, mut nodes) = (Observed::default(), BTreeMap::new());
    for zone in ["a", "b", "c"] {
        ring.members.insert(pod(zone), 1);
        ring.nodes.insert(pod(zone), NodeView { up: true, incarnation: 1, ..NodeView::default() });
        let host = Some(format!("host-{zone}"));
        let view = PodView { uid: zone.to_owned(), host, ready: true, template: "0a1b".to_owned(), deleting: false };
        observed.pods.insert(pod(zone), view);
        let image = Some("dynamo-k8s/node:0.1.0".to_owned());
        nodes.insert(pod(zone), NodeFacts { tokens: 85, disk_used_percent: Some(41), image, ..NodeFacts::default() });
    }
    ring.homes = [["a", "b", "c"].map(pod).into()].into();
    observed.ring = Some(ring);
    let place = |name: &str| ZonePlace {
        name: name.to_owned(),
        label_value: Some(name.to_owned()),
        weight: 1,
        storage_bytes: 1,
        storage_class: None,
    };
    let zones = ["a", "b", "c"].map(place).into();
    let plan = Plan::default();
    Given {
        cluster,
        wanted,
        observed,
        plan,
        zones,
        nodes,
        change: None,
        troubles: vec![],
        hindered: vec![],
        buckets: None,
        wall_s: 1000,
    }
}

impl Given {
    fn status(&self) -> DynamoClusterStatus {
        status(&Told {
            cluster: &self.cluster,
            cluster_name: Some("prod/shop/1a2b3c4d"),
            wanted: &self.wanted,
            observed: &self.observed,
            plan: &self.plan,
            zones: &self.zones,
            nodes: &self.nodes,
            change: self.change.as_ref(),
            troubles: &self.troubles,
            hindered: &self.hindered,
            buckets: self.buckets.as_ref(),
            wall_s: self.wall_s,
        })
    }

    fn ring(&mut self) -> &mut RingView {
        self.observed.ring.as_mut().unwrap()
    }

    fn node(&mut self, zone: &str) -> &mut NodeView {
        self.ring().nodes.get_mut(&pod(zone)).unwrap()
    }

    /// The status stands, and time goes on.
    fn written(&mut self) -> DynamoClusterStatus {
        let status = self.status();
        self.cluster.status = Some(status.clone());
        self.wall_s += 100;
        status
    }
}

fn of(status: &DynamoClusterStatus, name: &str) -> NodeState {
    status.nodes.iter().find(|node| node.name == name).unwrap().state
}

#[test]
fn a_settled_cluster_says_so_and_later_the_same() {
    let mut given = given();
    let status = given.written();
    assert_eq!((status.summary.as_str(), status.replicas, status.ready_replicas), ("settled", 3, 3));
    assert_eq!(status.version.as_deref(), Some("0.1.0"));
    assert_eq!(status.balance.as_deref(), Some("1.00"));
    assert_eq!(status.zones.iter().map(|zone| zone.ready_replicas).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(status.condition(ConditionKind::Available).unwrap().observed_generation, Some(3));
    assert_eq!(status.plan, None);
    assert_eq!(given.status(), status, "nothing that has only become later is written");
}

#[test]
fn a_ring_that_changes_is_not_settled_though_nothing_is_to_be_written() {
    let mut given = given();
    let joins = [PodId::new("shop-a", 1)].into();
    given.ring().change = Some(ChangeView { id: 3, joins, ..ChangeView::default() });
    let status = given.status();
    assert_eq!(status.summary, "shop-a-1 joins");
    let progressing = status.condition(ConditionKind::Progressing).unwrap();
    assert_eq!((progressing.status.as_str(), progressing.message.as_str()), ("True", "shop-a-1 joins"));
}

#[test]
fn figures_that_move_all_the_time_do_not_change_the_status() {
    let mut given = given();
    let write = |given: &mut Given, hints, refilling, percent| {
        let node = given.node("a");
        (node.hints, node.refilling) = (hints, refilling);
        given.nodes.get_mut(&pod("a")).unwrap().disk_used_percent = Some(percent);
        given.plan.waits = vec![Why::HintsUndelivered { hints }];
    };
    write(&mut given, 11, 65, 41);
    let status = given.written();
    assert_eq!(
        (status.nodes[0].hints_about, status.nodes[0].receiving, status.nodes[0].disk_used_percent),
        (100, 128, Some(45))
    );
    write(&mut given, 99, 127, 44);
    assert_eq!(given.status(), status);
    write(&mut given, 0, 0, 46);
    assert_ne!(given.status(), status);
}

#[test]
fn a_condition_keeps_the_time_since_when_it_is_so_and_another_gets_its_own() {
    let mut given = given();
    let first = given.written();
    let time_of =
        |status: &DynamoClusterStatus, kind| status.condition(kind).unwrap().last_transition_time.0.as_second();
    assert_eq!(time_of(&first, ConditionKind::Available), 1000);
    for zone in ["a", "b"] {
        given.node(zone).up = false;
    }
    let down = given.written();
    assert_eq!(down.condition(ConditionKind::Available).unwrap().status, "False");
    assert_eq!((time_of(&down, ConditionKind::Available), time_of(&down, ConditionKind::RingSettled)), (1100, 1000));
    assert_eq!(
        (of(&down, "shop-a-0"), of(&down, "shop-c-0"), down.ready_replicas),
        (NodeState::Down, NodeState::Serving, 1)
    );
    // Another message, the same turn.
    given.node("c").up = false;
    let worse = given.written();
    assert_eq!(time_of(&worse, ConditionKind::Available), 1100);
    assert_ne!(worse.condition(ConditionKind::Available), down.condition(ConditionKind::Available));
}

#[test]
fn whom_some_do_not_reach_is_told_from_whom_nobody_reaches() {
    let mut given = given();
    for zone in ["a", "b"] {
        given.node(zone).up = false;
    }
    given.nodes.get_mut(&pod("a")).unwrap().suspect = true;
    let status = given.status();
    assert_eq!((of(&status, "shop-a-0"), of(&status, "shop-b-0")), (NodeState::Suspect, NodeState::Down));
    assert_eq!(status.ready_replicas, 1, "neither is relied on");
}

#[test]
fn what_hinders_the_operator_is_told_before_what_the_planner_asks_for() {
    let mut given = given();
    given.plan.waits = vec![Why::VolumesCannotGrow];
    let message = "the operator may not update statefulsets in namespace prod: give it the right".to_owned();
    given.troubles = vec![Trouble { reason: "Forbidden".to_owned(), message: message.clone() }];
    let status = given.status();
    let degraded = status.condition(ConditionKind::Degraded).unwrap();
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "Forbidden"));
    assert!(
        degraded.message.starts_with(&message) && degraded.message.contains("allowVolumeExpansion"),
        "{degraded:?}"
    );
    assert_eq!(status.summary, message);
}

#[test]
fn why_pods_do_not_come_is_told_before_that_they_do_not_serve_and_behind_what_is_asked_of_a_person() {
    let mut given = given();
    given.node("c").up = false;
    given.hindered = vec![Trouble { reason: "PodUnschedulable".to_owned(), message: "no machine takes it".to_owned() }];
    let status = given.status();
    let degraded = status.condition(ConditionKind::Degraded).unwrap();
    assert_eq!(degraded.reason, "PodUnschedulable");
    assert_eq!(degraded.message, "no machine takes it; shop-c-0 can't serve");
    assert_eq!(status.summary, "no machine takes it");

    given.plan.waits = vec![Why::UpdatedNotReady { pods: vec![pod("c")] }];
    let status = given.status();
    let degraded = status.condition(ConditionKind::Degraded).unwrap();
    assert_eq!(degraded.reason, "UpdatedNotReady");
    assert!(degraded.message.ends_with("; no machine takes it"), "{degraded:?}");
    assert!(status.summary.contains("shop-c-0 was restarted for the present template"), "{}", status.summary);
}

#[test]
fn the_plan_says_what_goes_on_and_what_each_other_step_waits_for() {
    let mut given = given();
    given.observed.turn.turn = Some(Turn { id: 7, work: Work::Ring });
    given.plan.waits = vec![
        Why::InTurn { what: "changing the ring".to_owned() },
        Why::HintsUndelivered { hints: 3 },
        Why::NodesBehind { pods: vec![pod("a")] },
        Why::VolumesCannotGrow,
    ];
    let steps = given.status().plan.unwrap().steps;
    let told: Vec<_> = steps.iter().map(|step| (step.what.as_str(), step.state, step.waits_for.len())).collect();
    let (under_way, blocked) = (StepState::UnderWay, StepState::Blocked);
    assert_eq!(
        told,
        [("changing the ring", under_way, 0), ("restart nodes", blocked, 2), ("grow the volumes", blocked, 1)]
    );
}

#[test]
fn what_maintenance_holds_back_is_told_and_nothing_else_is_said_of_it() {
    let mut given = given();
    given.plan.withheld = vec![
        Action::DeletePod { pod: pod("a"), uid: "u".to_owned(), under: 1 },
        Action::DeletePod { pod: pod("b"), uid: "u".to_owned(), under: 1 },
    ];
    given.plan.waits = vec![Why::PlanOnly];
    let steps = given.status().plan.unwrap().steps;
    let told: Vec<_> = steps.iter().map(|step| (step.what.as_str(), step.state)).collect();
    assert_eq!(told, [("restart shop-a-0", StepState::Blocked), ("restart shop-b-0", StepState::Later)]);
    assert!(steps[0].waits_for[0].contains("planOnly") && steps[1].waits_for.is_empty());
}

#[test]
fn a_change_of_the_ring_is_told_in_tenths_and_nodes_by_what_they_do_in_it() {
    let mut given = given();
    let joins = [PodId::new("shop-a", 1)];
    given.ring().change =
        Some(ChangeView { id: 1, joins: joins.clone().into(), leaves: [pod("c")].into(), ..ChangeView::default() });
    given.ring().nodes.insert(joins[0].clone(), NodeView { up: true, incarnation: 1, ..NodeView::default() });
    let view = given.observed.pods[&pod("a")].clone();
    given.observed.pods.insert(joins[0].clone(), view);
    given.change = Some(ChangeFacts { steps: 85, steps_done: 17 });
    let status = given.written();
    let change = status.ring.as_ref().unwrap().change.clone().unwrap();
    assert_eq!((change.what.as_str(), change.steps_done), ("shop-a-1 joins and shop-c-0 leaves", 9));
    assert_eq!((of(&status, "shop-a-1"), of(&status, "shop-c-0")), (NodeState::Joining, NodeState::Leaving));
    assert_eq!(status.ready_replicas, 3, "who leaves still serves");
    given.change = Some(ChangeFacts { steps: 85, steps_done: 12 });
    assert_eq!(given.status(), status);
    assert_eq!((coarse(85, 85), coarse(84, 85), coarse(1, 4), coarse(0, 0)), (85, 81, 1, 0));
}

#[test]
fn a_rollout_keeps_the_former_image_until_all_have_the_new_one() {
    let mut given = given();
    given.written();
    let set = |given: &mut Given, zone, tag: &str| {
        given.nodes.get_mut(&pod(zone)).unwrap().image = Some(format!("node:{tag}"));
    };
    set(&mut given, "a", "0.2.0");
    assert_eq!(given.written().version.as_deref(), Some("0.1.0"));
    set(&mut given, "b", "0.2.0");
    set(&mut given, "c", "0.2.0");
    assert_eq!(given.written().version.as_deref(), Some("0.2.0"));
    let tags = ["r:5000/node:1", "r:5000/node", "node@sha256:00", "node:1@sha256:00"].map(tag_of);
    assert_eq!(tags, [Some("1".to_owned()), None, None, Some("1".to_owned())]);
}

#[test]
fn a_rotation_is_told_by_phase_and_by_who_lacks_what_it_needs() {
    let mut given = given();
    let life = |from_s| Life { from_s, until_s: from_s + 1000 };
    let authorities = |trusted: &[&str], signing: &str| Authorities {
        lives: [("old".to_owned(), life(1)), ("new".to_owned(), life(2))].into(),
        wall_s: 10,
        trusted: trusted.iter().map(|name| (*name).to_owned()).collect(),
        signing: Some(signing.to_owned()),
        rotate: None,
    };
    let phase = |given: &mut Given, trusted: &[&str], signing: &str| {
        given.observed.authorities = Some(authorities(trusted, signing));
        let tls = given.status().tls.unwrap();
        (tls.phase, tls.behind.len(), tls.authorities.len())
    };
    assert_eq!(phase(&mut given, &["old"], "old"), (RotationPhase::Trusting, 3, 1));
    for zone in ["a", "b", "c"] {
        given.node(zone).trusts = ["old".to_owned(), "new".to_owned()].into();
    }
    assert_eq!(phase(&mut given, &["old", "new"], "old"), (RotationPhase::Trusting, 0, 2));
    given.node("a").signed_by = Some("new".to_owned());
    assert_eq!(phase(&mut given, &["old", "new"], "new"), (RotationPhase::Issuing, 2, 2));
    assert_eq!(phase(&mut given, &["new"], "new"), (RotationPhase::Retiring, 3, 1));
    for zone in ["a", "b", "c"] {
        given.node(zone).trusts = ["new".to_owned()].into();
    }
    assert_eq!(phase(&mut given, &["new"], "new"), (RotationPhase::Settled, 0, 1));
}

#[test]
fn buckets_that_nobody_was_asked_about_stay_as_they_were_told() {
    let mut given = given();
    let bucket = Bucket { name: "carts".to_owned(), mode: BucketMode::Siblings, r: None, w: None, sloppy: None };
    given.cluster.spec.buckets = vec![bucket];
    given.buckets = Some(["carts".to_owned()].into());
    assert_eq!(given.written().buckets, ["carts"]);
    given.buckets = None;
    assert_eq!(given.written().buckets, ["carts"]);
}

#[test]
fn a_cluster_of_which_nobody_answers_keeps_what_was_known_of_its_ring() {
    let mut given = given();
    given.written();
    given.observed.ring = None;
    given.plan.waits = vec![Why::NoNodeAnswers];
    let status = given.status();
    assert_eq!(status.ring.as_ref().unwrap().epoch, 5);
    assert_eq!((status.ready_replicas, of(&status, "shop-a-0")), (0, NodeState::Starting));
    assert_eq!(status.condition(ConditionKind::Available).unwrap().status, "False");
}

#[test]
fn where_nothing_could_be_found_out_what_was_known_stays_and_why_is_told() {
    let mut given = given();
    let known = given.written();
    let trouble = |message: &str| Trouble { reason: "Forbidden".to_owned(), message: message.to_owned() };
    let first = failed(&given.cluster, &trouble("no right to list pods"), 1500);
    assert_eq!((first.summary.as_str(), &first.nodes), ("no right to list pods", &known.nodes));
    let degraded = |status: &DynamoClusterStatus| status.condition(ConditionKind::Degraded).unwrap().clone();
    assert_eq!((degraded(&first).status.as_str(), degraded(&first).last_transition_time), ("True", time(1500)));
    let kinds: Vec<_> = first.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(kinds, ConditionKind::ALL.map(ConditionKind::as_str), "in the same order as ever");
    given.cluster.status = Some(first.clone());
    assert_eq!(failed(&given.cluster, &trouble("no right to list pods"), 1600), first);
    assert_eq!(degraded(&failed(&given.cluster, &trouble("another"), 1600)).last_transition_time, time(1500));
}
