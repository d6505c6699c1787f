//! Single decisions, each on a view that is made by hand.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_planner::{
    Action, ChangeView, ClaimView, Edit, Founders, HostView, Mark, Memory, NodeView, Observed, PARKED, Plan, PodId,
    PodView, ReceiptView, Reclaim, RingView, SetView, StorageWanted, Wanted, Why, ZoneWanted,
    certificates::{Authorities, Life, Step},
    conditions, plan,
    turn::{QUARANTINE_S, Turn, TurnRecord, Work},
};

/// What is wanted: three zones, N = 3.
fn wanted(replicas: u32) -> Wanted {
    let zone = |name: &str| ZoneWanted { name: name.to_owned(), weight: 1, storage_bytes: None };
    Wanted {
        cluster: "c".to_owned(),
        replicas,
        zones: Some(vec![zone("a"), zone("b"), zone("c")]),
        n: 3,
        template: "one".to_owned(),
        storage: StorageWanted { size_bytes: 10, on_scale_down: Reclaim::Delete },
        maintenance: Default::default(),
        replace_after_s: 300,
    }
}

fn pod(zone: &str, ordinal: u32) -> PodId {
    PodId::new(&format!("c-{zone}"), ordinal)
}

/// A settled cluster with `each` nodes in each of three zones, one range for every three nodes of one number.
fn settled(each: u32) -> Observed {
    let mut observed = Observed {
        now_s: 1000,
        founders: Some(Founders { zones: ["a", "b", "c"].map(|zone| (zone.to_owned(), each)).into() }),
        recorded_zones: ["a", "b", "c"].map(str::to_owned).into(),
        turn: TurnRecord { version: Some("1".to_owned()), last: 7, turn: None },
        budget: Some(1),
        ..Observed::default()
    };
    let mut ring = RingView { version: 5, epoch: 5, confirmed: true, quorum: 2, sources: 2, ..RingView::default() };
    for zone in ["a", "b", "c"] {
        let set = SetView {
            uid: zone.to_owned(),
            version: "1".to_owned(),
            generation: 1,
            zone: zone.to_owned(),
            replicas: each,
            partition: PARKED,
            template: "one".to_owned(),
            storage_bytes: 10,
            rolled: true,
        };
        observed.sets.insert(format!("c-{zone}"), set);
        for ordinal in 0..each {
            let id = pod(zone, ordinal);
            let node = NodeView { up: true, incarnation: 1, ..NodeView::default() };
            ring.members.insert(id.clone(), 1);
            ring.nodes.insert(id.clone(), node);
            observed.claims.insert(id.clone(), claim(&id));
            observed.pods.insert(id.clone(), running(&id));
        }
    }
    ring.homes = (0..each).map(|ordinal| ["a", "b", "c"].map(|zone| pod(zone, ordinal)).into()).collect();
    observed.ring = Some(ring);
    observed
}

fn claim(id: &PodId) -> ClaimView {
    ClaimView {
        uid: format!("disk of {id}"),
        version: "1".to_owned(),
        size_bytes: 10,
        mark: None,
        deleting: false,
        lost: false,
        pinned_to: Some(format!("host of {id}")),
    }
}

fn running(id: &PodId) -> PodView {
    let (uid, host) = (format!("uid of {id}"), Some(format!("host of {id}")));
    PodView { uid, host, ready: true, template: "one".to_owned(), deleting: false }
}

fn ring(observed: &mut Observed) -> &mut RingView {
    observed.ring.as_mut().unwrap()
}

fn down(observed: &mut Observed, id: &PodId) {
    ring(observed).nodes.get_mut(id).unwrap().up = false;
    observed.pods.get_mut(id).unwrap().ready = false;
}

fn planned(wanted: &Wanted, observed: &Observed) -> Plan {
    let mut memory = Memory::default();
    memory.observe(observed);
    plan(wanted, observed, &memory)
}

/// The plan of an operator that has seen everything for long.
fn in_turn(wanted: &Wanted, observed: &mut Observed, work: Work) -> Plan {
    observed.turn.turn = Some(Turn { id: 7, work });
    let mut memory = Memory::default();
    memory.observe(observed);
    observed.now_s += QUARANTINE_S;
    memory.observe(observed);
    plan(wanted, observed, &memory)
}

fn turn_taken(plan: &Plan) -> Option<&Work> {
    plan.actions.iter().find_map(|action| match action {
        Action::TakeTurn { turn, .. } => Some(&turn.work),
        _ => None,
    })
}

#[test]
fn a_settled_cluster_needs_nothing() {
    let plan = planned(&wanted(6), &settled(2));
    assert_eq!(plan, Plan::default());
    let holding: Vec<bool> = conditions(&settled(2), &plan).iter().map(|condition| condition.holds).collect();
    assert_eq!(holding, [true, false, false, true, true], "available, not progressing, not degraded, settled, safe");
}

#[test]
fn nothing_is_done_under_a_turn_that_has_just_been_seen() {
    let (mut spec, mut observed) = (wanted(6), settled(2));
    spec.replicas = 3;
    observed.turn.turn = Some(Turn { id: 7, work: Work::Ring });
    let plan = planned(&spec, &observed);
    assert!(plan.actions.is_empty(), "{plan:?}");
    assert!(matches!(plan.waits.as_slice(), [Why::TurnBegins { .. }]), "{plan:?}");
    assert!(plan.waits[0].to_string().starts_with("changing the ring: begins in some seconds"));
    let later = in_turn(&spec, &mut observed, Work::Ring);
    let leaves: Vec<Edit> = ["a", "b", "c"].map(|zone| Edit::Leave { pod: pod(zone, 1) }).into();
    let change = Action::ChangeRing { version: 5, edits: leaves, fewer_zones: false, under: 7 };
    assert_eq!(change.to_string(), "change the ring: c-a-1 leaves, c-b-1 leaves and c-c-1 leaves");
    assert!(later.actions.contains(&change), "{later:?}");
}

#[test]
fn nobody_is_taken_away_by_the_word_of_a_node_that_may_be_cut_off() {
    let (spec, mut observed) = (wanted(3), settled(2));
    for zone in ["a", "b", "c"] {
        ring(&mut observed).members.remove(&pod(zone, 1));
        let receipt = ReceiptView { complete: true, incarnation: 1, missing: vec![] };
        observed.receipts.insert(pod(zone, 1), receipt);
    }
    ring(&mut observed).homes.pop_last();
    let clear = planned(&spec, &observed);
    assert!(matches!(turn_taken(&clear), Some(Work::Shrink { pods }) if pods.len() == 3), "{clear:?}");
    ring(&mut observed).confirmed = false;
    let plan = planned(&spec, &observed);
    assert_eq!(turn_taken(&plan), None);
    assert!(plan.waits.contains(&Why::RingNotConfirmed));
    let pods = ["a", "b", "c"].map(|zone| pod(zone, 1)).into();
    let plan = in_turn(&spec, &mut observed, Work::Shrink { pods });
    assert!(plan.actions.iter().all(|action| !action.disrupts()), "{plan:?}");
}

#[test]
fn the_receipt_is_written_down_before_the_pod_goes() {
    let (spec, mut observed) = (wanted(5), settled(2));
    let id = pod("c", 1);
    ring(&mut observed).members.remove(&id);
    ring(&mut observed).gone.insert(id.clone(), 4);
    observed.receipts.insert(id.clone(), ReceiptView { complete: true, incarnation: 4, missing: vec![] });
    let work = Work::Shrink { pods: BTreeSet::from([id.clone()]) };
    let first = in_turn(&spec, &mut observed, work.clone());
    let mark = Some(Mark::Left { incarnation: 4, kept: false });
    let written = Action::MarkClaim { pod: id.clone(), version: "1".to_owned(), mark, under: Some(7) };
    assert_eq!(first.actions.iter().filter(|action| action.disrupts()).collect::<Vec<_>>(), [&written]);
    observed.claims.get_mut(&id).unwrap().mark = mark;
    let second = in_turn(&spec, &mut observed, work);
    let shrinks = |action: &Action| matches!(action, Action::ShrinkSet { set, to: 1, .. } if set == "c-c");
    assert!(second.actions.iter().any(shrinks), "{second:?}");
    assert!(!second.actions.iter().any(|action| matches!(action, Action::DeleteClaim { .. })));
}

#[test]
fn a_life_that_never_was_in_the_ring_is_never_retired() {
    // Its configuration would come late, and tell a member to empty its disk.
    let (spec, mut observed) = (wanted(5), settled(2));
    let id = pod("c", 1);
    ring(&mut observed).members.remove(&id);
    observed.receipts.insert(id.clone(), ReceiptView { complete: true, incarnation: 1, missing: vec![] });
    let plan = in_turn(&spec, &mut observed, Work::Shrink { pods: BTreeSet::from([id.clone()]) });
    let mark = |mark| Action::MarkClaim { pod: id.clone(), version: "1".to_owned(), mark: Some(mark), under: Some(7) };
    assert!(plan.actions.contains(&mark(Mark::NeverJoined)), "{plan:?}");
    ring(&mut observed).gone.insert(id.clone(), 1);
    let plan = in_turn(&spec, &mut observed, Work::Shrink { pods: BTreeSet::from([id.clone()]) });
    assert!(plan.actions.contains(&mark(Mark::Left { incarnation: 1, kept: false })), "{plan:?}");
    assert!(plan.actions.contains(&Action::Retire(BTreeMap::from([(id.clone(), 1)]))));
}

#[test]
fn who_still_hands_over_is_not_told_to_empty_its_disk() {
    let (spec, mut observed) = (wanted(5), settled(2));
    let id = pod("c", 1);
    ring(&mut observed).members.remove(&id);
    ring(&mut observed).gone.insert(id.clone(), 1);
    ring(&mut observed).leavers.insert(id.clone());
    let retires = |plan: &Plan| plan.actions.iter().any(|action| matches!(action, Action::Retire(_)));
    let plan = planned(&spec, &observed);
    assert!(!retires(&plan), "{plan:?}");
    assert!(plan.waits.contains(&Why::HandsOver { pod: id.clone() }));
    ring(&mut observed).leavers.clear();
    assert!(retires(&planned(&spec, &observed)));
}

#[test]
fn what_is_missing_of_a_receipt_is_told() {
    let (spec, mut observed) = (wanted(5), settled(2));
    let id = pod("c", 1);
    ring(&mut observed).members.remove(&id);
    let missing = vec!["it still holds 3 hints for others".to_owned()];
    observed.receipts.insert(id.clone(), ReceiptView { complete: false, incarnation: 4, missing: missing.clone() });
    let plan = planned(&spec, &observed);
    assert!(plan.waits.contains(&Why::NoReceipt { pod: id, missing }));
    assert!(plan.waits[0].to_string().contains("c-c-1 has no receipt yet: it still holds 3 hints"));
    assert_eq!(turn_taken(&plan), None);
}

#[test]
fn the_budget_is_none_while_an_eviction_would_break_a_range_or_hints_wait() {
    let spec = wanted(6);
    let mut observed = settled(2);
    ring(&mut observed).nodes.get_mut(&pod("a", 0)).unwrap().hints = 1;
    assert!(planned(&spec, &observed).actions.contains(&Action::SetBudget(0)));
    let mut observed = settled(2);
    down(&mut observed, &pod("a", 0));
    assert!(planned(&spec, &observed).actions.contains(&Action::SetBudget(0)));
    let mut observed = settled(2);
    ring(&mut observed).quorum = 1;
    down(&mut observed, &pod("a", 0));
    assert!(!planned(&spec, &observed).actions.contains(&Action::SetBudget(0)));
}

#[test]
fn a_restart_lowers_the_partition_only_over_its_own_pods_and_deletes_once_that_is_seen() {
    let (mut spec, mut observed) = (wanted(6), settled(2));
    spec.template = "two".to_owned();
    for set in observed.sets.values_mut() {
        (set.template, set.rolled) = ("two".to_owned(), false);
    }
    let id = pod("b", 1);
    let work =
        Work::Restart { pods: BTreeMap::from([(id.clone(), format!("uid of {id}"))]), template: "two".to_owned() };
    let plan = in_turn(&spec, &mut observed, work.clone());
    let lowered = Action::LowerPartition { set: "c-b".to_owned(), to: 1, version: "1".to_owned(), under: 7 };
    assert_eq!(plan.actions.iter().filter(|action| action.disrupts()).collect::<Vec<_>>(), [&lowered]);
    observed.sets.get_mut("c-b").unwrap().partition = 1;
    let plan = in_turn(&spec, &mut observed, work.clone());
    let deleted = Action::DeletePod { pod: id.clone(), uid: format!("uid of {id}"), under: 7 };
    assert_eq!(plan.actions.iter().filter(|action| action.disrupts()).collect::<Vec<_>>(), [&deleted]);
    // Another home falls over: the controller must not go on by itself either.
    down(&mut observed, &pod("a", 1));
    let plan = in_turn(&spec, &mut observed, work);
    assert!(plan.actions.contains(&Action::ParkPartition { set: "c-b".to_owned(), version: "1".to_owned() }));
    assert!(!plan.actions.iter().any(|action| matches!(action, Action::DeletePod { .. } | Action::EndTurn { .. })));
}

#[test]
fn a_pod_that_stops_for_ever_is_not_waited_for_as_long_as_one_that_is_to_come_back() {
    let (mut spec, mut observed) = (wanted(6), settled(2));
    spec.template = "two".to_owned();
    for set in observed.sets.values_mut() {
        (set.template, set.rolled) = ("two".to_owned(), false);
    }
    let id = pod("b", 1);
    down(&mut observed, &id);
    observed.pods.get_mut(&id).unwrap().deleting = true;
    let work = Work::Restart { pods: [(id.clone(), format!("uid of {id}"))].into(), template: "two".to_owned() };
    observed.turn.turn = Some(Turn { id: 7, work });
    let ends_after = |observed: &Observed, seconds: u64| {
        let (mut memory, mut observed) = (Memory::default(), observed.clone());
        memory.observe(&observed);
        observed.now_s += seconds;
        let ended = Action::EndTurn { version: "1".to_owned(), id: 7 };
        plan(&spec, &observed, &memory).actions.contains(&ended)
    };
    assert!(!ends_after(&observed, 120), "it may just take its time");
    assert!(ends_after(&observed, 121), "its machine may be off");
    // Its node answers: it stops, and comes back.
    ring(&mut observed).nodes.get_mut(&id).unwrap().up = true;
    assert!(!ends_after(&observed, 121));
    assert!(ends_after(&observed, 301));
}

#[test]
fn a_change_that_nobody_wants_any_more_is_taken_back() {
    let mut observed = settled(1);
    for zone in ["a", "b", "c"] {
        let id = pod(zone, 1);
        observed.sets.get_mut(&id.set).unwrap().replicas = 2;
        observed.pods.insert(id.clone(), running(&id));
        observed.claims.insert(id.clone(), claim(&id));
    }
    let joins: BTreeSet<PodId> = ["a", "b", "c"].map(|zone| pod(zone, 1)).into();
    let change = ChangeView { id: 5, joins, ..Default::default() };
    ring(&mut observed).change = Some(change);
    let cancel = Action::CancelChange { id: 5 };
    assert!(planned(&wanted(3), &observed).actions.contains(&cancel));
    assert!(!planned(&wanted(6), &observed).actions.contains(&cancel));
    assert!(!planned(&wanted(5), &observed).actions.contains(&cancel), "most of it is wanted, and it goes on");
    ring(&mut observed).change.as_mut().unwrap().blocked_by = vec!["c-c-1 is down".to_owned()];
    assert!(planned(&wanted(5), &observed).actions.contains(&cancel));
    assert!(!planned(&wanted(6), &observed).actions.contains(&cancel), "all of it is wanted");
}

#[test]
fn a_machine_that_is_gone_gives_a_disk_up_only_while_the_others_have_everything() {
    let spec = wanted(6);
    let mut observed = settled(2);
    let id = pod("a", 1);
    observed.hosts = Some(BTreeMap::new());
    for (pod, claim) in &mut observed.claims {
        claim.pinned_to = claim.pinned_to.take().filter(|_| *pod == id);
    }
    down(&mut observed, &id);
    let mut memory = Memory::default();
    memory.observe(&observed);
    assert_eq!(turn_taken(&plan(&spec, &observed, &memory)), None, "not at once");
    observed.now_s += 300;
    let replaces = |plan: &Plan| matches!(turn_taken(plan), Some(Work::Replace { pod, .. }) if *pod == id);
    assert!(replaces(&plan(&spec, &observed, &memory)));
    ring(&mut observed).nodes.get_mut(&pod("b", 1)).unwrap().refilling = 3;
    let kept = plan(&spec, &observed, &memory);
    assert!(!replaces(&kept));
    assert!(kept.waits.contains(&Why::OnlyCopies { pod: id.clone() }), "{kept:?}");
}

#[test]
fn who_joins_gets_an_empty_disk_only_while_the_change_does_not_go_on() {
    let spec = wanted(4);
    let mut observed = settled(1);
    let id = pod("a", 1);
    observed.sets.get_mut(&id.set).unwrap().replicas = 2;
    observed.pods.insert(id.clone(), running(&id));
    observed.claims.insert(id.clone(), ClaimView { lost: true, ..claim(&id) });
    let node = NodeView { up: true, incarnation: 1, ..NodeView::default() };
    ring(&mut observed).nodes.insert(id.clone(), node);
    let blocked_by = vec!["c-a-1 is down".to_owned()];
    let change = ChangeView { id: 5, joins: [id.clone()].into(), blocked_by, ..ChangeView::default() };
    ring(&mut observed).change = Some(change);
    down(&mut observed, &id);
    let work = turn_taken(&planned(&spec, &observed)).cloned().expect("nobody relies on its disk");
    assert!(matches!(&work, Work::Replace { pod, .. } if *pod == id), "{work:?}");
    let deletes = |plan: &Plan| plan.actions.iter().any(|action| matches!(action, Action::DeleteClaim { .. }));
    assert!(deletes(&in_turn(&spec, &mut observed, work.clone())));
    // It was not quite gone: it may be a home a moment later.
    ring(&mut observed).change.as_mut().unwrap().blocked_by.clear();
    let plan = in_turn(&spec, &mut observed, work);
    assert!(!deletes(&plan) && plan.actions.iter().any(|action| matches!(action, Action::EndTurn { .. })), "{plan:?}");
}

#[test]
fn founders_are_not_made_again_where_there_are_disks() {
    let mut observed = Observed { founders: settled(1).founders, ..Observed::default() };
    observed.recorded_zones = vec!["b".to_owned()];
    let spec = Wanted { zones: None, ..wanted(1) };
    let made = |observed: &Observed| {
        let sets = planned(&spec, observed).actions.into_iter().filter_map(|action| match action {
            Action::CreateSet { set, replicas, .. } => Some((set, replicas)),
            _ => None,
        });
        sets.collect::<Vec<_>>()
    };
    let each = |sets: &[&str]| sets.iter().map(|set| (set.to_string(), 1)).collect::<Vec<_>>();
    assert_eq!(made(&observed), each(&["c-b", "c-a", "c-c"]), "nobody has ever started");
    let id = pod("b", 0);
    observed.claims.insert(id.clone(), claim(&id));
    assert_eq!(made(&observed), each(&["c-b"]), "the others may have left long ago");
}

#[test]
fn a_machine_that_cannot_be_seen_is_never_gone() {
    let mut observed = settled(2);
    observed.hosts = None;
    down(&mut observed, &pod("a", 1));
    let mut memory = Memory::default();
    memory.observe(&observed);
    observed.now_s += 100_000;
    assert_eq!(turn_taken(&plan(&wanted(6), &observed, &memory)), None);
}

#[test]
fn a_zone_with_volumes_of_its_own_size_grows_alone() {
    let (mut spec, observed) = (wanted(3), settled(1));
    spec.zones.as_mut().unwrap()[1].storage_bytes = Some(20);
    let grown = planned(&spec, &observed).actions.into_iter().filter_map(|action| match action {
        Action::GrowClaim { pod, to_bytes, .. } => Some((pod, to_bytes)),
        _ => None,
    });
    assert_eq!(grown.collect::<Vec<_>>(), [(pod("b", 0), 20)]);
}

#[test]
fn volumes_whose_class_cannot_grow_are_told() {
    let (mut spec, mut observed) = (wanted(6), settled(2));
    spec.storage.size_bytes = 20;
    observed.expandable = Some(false);
    let plan = planned(&spec, &observed);
    assert!(plan.actions.is_empty(), "{plan:?}");
    assert_eq!(plan.waits, [Why::VolumesCannotGrow]);
    assert!(conditions(&observed, &plan).iter().any(|one| one.kind == "Degraded" && one.holds));
}

#[test]
fn a_zone_without_a_machine_is_told_and_nothing_but_its_own_nodes_waits_for_it() {
    let host =
        |zone: &str| (format!("host of c-{zone}-0"), HostView { zone: Some(zone.to_owned()), ..HostView::default() });
    let spec = wanted(3);
    let none_in_c = Why::NoHostIn { zone: "c".to_owned() };
    let mut observed = Observed { hosts: Some([host("a"), host("b")].into()), ..Observed::default() };
    let first = planned(&spec, &observed);
    assert_eq!(first.waits.first(), Some(&none_in_c));
    let degraded = |plan: &Plan, observed: &Observed| {
        let told = conditions(observed, plan).into_iter().find(|one| one.kind == "Degraded").unwrap();
        (told.holds, told.reason, told.message)
    };
    let (holds, reason, message) = degraded(&first, &observed);
    assert!(holds && reason == "NoHostIn" && message.starts_with("zone c has no machine: label one"), "{message}");
    let founders = Founders { zones: ["a", "b", "c"].map(|zone| (zone.to_owned(), 1)).into() };
    assert!(first.actions.contains(&Action::CreateFounders(founders)), "it is founded all the same: {first:?}");
    // A machine comes: what is done is the same, and nothing is told.
    observed.hosts.as_mut().unwrap().extend([host("c")]);
    let second = planned(&spec, &observed);
    assert_eq!((second.actions, second.waits.contains(&none_in_c)), (first.actions, false));

    // A zone that is added to a cluster which runs.
    let mut spec = wanted(4);
    spec.zones.as_mut().unwrap().push(ZoneWanted { name: "d".to_owned(), weight: 1, storage_bytes: None });
    let mut observed = settled(1);
    observed.hosts = Some(["a", "b", "c"].map(host).into());
    let told = planned(&spec, &observed);
    assert_eq!(told.waits.first(), Some(&Why::NoHostIn { zone: "d".to_owned() }));
    assert!(
        told.actions.iter().any(|action| matches!(action, Action::CreateSet { zone, .. } if zone == "d")),
        "{told:?}"
    );
    assert_eq!(degraded(&told, &observed).1, "NoHostIn");
    // Whoever sees no machines says nothing of them.
    observed.hosts = None;
    assert!(!planned(&spec, &observed).waits.iter().any(|why| matches!(why, Why::NoHostIn { .. })));
}

#[test]
fn an_operator_that_sees_no_machines_needs_the_zones_named() {
    let mut spec = wanted(3);
    spec.zones = None;
    let plan = planned(&spec, &Observed::default());
    assert!(plan.actions.is_empty(), "{plan:?}");
    assert_eq!(plan.waits, [Why::NoZone]);
    // One that was founded knows them, whatever is left of it.
    let mut observed = settled(1);
    observed.recorded_zones.clear();
    assert_eq!(planned(&spec, &observed).actions, [Action::RecordZones(["a", "b", "c"].map(str::to_owned).into())]);
    observed.sets.clear();
    assert!(
        planned(&spec, &observed).actions.contains(&Action::RecordZones(["a", "b", "c"].map(str::to_owned).into()))
    );
}

#[test]
fn a_plan_that_is_only_asked_for_writes_nothing() {
    let mut spec = wanted(6);
    spec.maintenance.plan_only = true;
    let plan = planned(&spec, &settled(1));
    assert!(plan.actions.is_empty());
    let told: Vec<String> = plan.withheld.iter().map(Action::to_string).collect();
    assert_eq!(
        told,
        ["raise StatefulSet c-a to 2 pods", "raise StatefulSet c-b to 2 pods", "raise StatefulSet c-c to 2 pods"]
    );
}

/// Who asks what would be done does not ask to be left without protection meanwhile.
#[test]
fn a_cluster_whose_plan_is_only_asked_for_is_protected_from_evictions_as_ever() {
    let mut spec = wanted(3);
    spec.maintenance.plan_only = true;
    let mut observed = settled(2);
    ring(&mut observed).nodes.get_mut(&pod("a", 0)).unwrap().hints = 1;
    let plan = planned(&spec, &observed);
    assert_eq!(plan.actions, [Action::SetBudget(0)]);
    assert!(!plan.withheld.is_empty() && !plan.withheld.contains(&Action::SetBudget(0)), "{plan:?}");
    // And evictions are let again once they do no harm.
    let mut observed = settled(2);
    observed.budget = Some(0);
    assert_eq!(planned(&spec, &observed).actions, [Action::SetBudget(1)]);
    // Of one that was never founded there is nothing to protect.
    let nothing = Observed { now_s: 1000, ..Observed::default() };
    assert_eq!(planned(&spec, &nothing).actions, []);
}

#[test]
fn who_can_never_hand_over_is_removed_only_while_the_others_have_everything() {
    let (spec, mut observed) = (wanted(5), settled(2));
    let id = pod("c", 1);
    down(&mut observed, &id);
    let asked = planned(&spec, &observed);
    assert_eq!(turn_taken(&asked), None);
    assert!(asked.waits.contains(&Why::LeaverIsDown { pod: id.clone() }), "its disk is there: it may come back");
    observed.claims.get_mut(&id).unwrap().lost = true;
    assert_eq!(turn_taken(&planned(&spec, &observed)), Some(&Work::Ring));
    let removal = Edit::Remove { pod: id.clone() };
    let plan = in_turn(&spec, &mut observed, Work::Ring);
    let removes = |action: &Action| matches!(action, Action::ChangeRing { edits, .. } if *edits == [removal.clone()]);
    assert!(plan.actions.iter().any(removes), "{plan:?}");
    observed.turn.turn = None;
    down(&mut observed, &pod("a", 1));
    let plan = planned(&spec, &observed);
    assert!(plan.waits.contains(&Why::RemovalWouldLose { pod: id }), "{plan:?}");
}

fn certificate_step(observed: &Observed) -> Option<Step> {
    planned(&wanted(6), observed).actions.into_iter().find_map(|action| match action {
        Action::Certificates(step) => Some(step),
        _ => None,
    })
}

#[test]
fn an_authority_is_followed_by_another_in_steps_that_each_node_has_loaded() {
    let mut observed = settled(2);
    let old = "old".to_owned();
    observed.authorities = Some(Authorities {
        lives: BTreeMap::from([(old.clone(), Life { from_s: 0, until_s: 1000 })]),
        wall_s: 700,
        ..Authorities::default()
    });
    let of = |observed: &Observed| observed.authorities.clone().unwrap();
    let mut told = Vec::new();
    let mut waited = 0;
    for _ in 0..200 {
        let Some(step) = certificate_step(&observed) else {
            let plan = planned(&wanted(6), &observed);
            let Some(Why::CertificatesNotLoaded { pods, .. }) = plan.waits.first().cloned() else { break };
            // One node after the other loads what there is.
            waited += 1;
            let now = of(&observed);
            let node = ring(&mut observed).nodes.get_mut(&pods[0]).unwrap();
            (node.trusts, node.signed_by) = (now.trusted.clone(), now.signing.clone());
            continue;
        };
        let mut now = of(&observed);
        match step.clone() {
            Step::Make => {
                // The spec asks for shorter lives by now: it is the newer one all the same.
                assert_eq!(now.lives.insert("new".to_owned(), Life { from_s: 700, until_s: 900 }), None);
            }
            Step::Trust(name) => assert!(now.trusted.insert(name)),
            Step::Sign(name) => now.signing = Some(name),
            Step::Distrust(name) => assert!(now.trusted.remove(&name)),
            Step::Forget(name) => assert!(now.lives.remove(&name).is_some()),
        }
        if told.is_empty() {
            // It had been in use.
            now.trusted.insert(old.clone());
            now.signing = Some(old.clone());
        }
        observed.authorities = Some(now);
        told.push(step);
    }
    let (new, old) = ("new".to_owned(), "old".to_owned());
    let steps = [Step::Make, Step::Trust(new.clone()), Step::Sign(new), Step::Distrust(old.clone()), Step::Forget(old)];
    assert_eq!(told, steps);
    assert_eq!(waited, 12, "twice for each node");
}

#[test]
fn a_node_that_is_down_holds_the_next_step_of_certificates_up() {
    let mut observed = settled(1);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let life = |from_s| Life { from_s, until_s: 1000 };
    let lives = BTreeMap::from([("new".to_owned(), life(1)), ("old".to_owned(), life(0))]);
    let trusted = names(&["new", "old"]);
    let signing = Some("old".to_owned());
    observed.authorities = Some(Authorities { lives, wall_s: 0, trusted, signing, rotate: None });
    for node in ring(&mut observed).nodes.values_mut() {
        node.trusts = names(&["new", "old"]);
    }
    assert_eq!(certificate_step(&observed), Some(Step::Sign("new".to_owned())));
    down(&mut observed, &pod("b", 0));
    assert_eq!(certificate_step(&observed), None);
    let what = "the new authority";
    assert!(
        planned(&wanted(3), &observed).waits.contains(&Why::CertificatesNotLoaded { pods: vec![pod("b", 0)], what })
    );
}

#[test]
fn a_short_lived_authority_is_followed_by_one_other_and_not_by_one_at_each_look() {
    let mut observed = settled(1);
    let life = Life { from_s: 0, until_s: 4 * 86_400 };
    let mut authorities = Authorities {
        lives: BTreeMap::from([("one".to_owned(), life)]),
        trusted: BTreeSet::from(["one".to_owned()]),
        signing: Some("one".to_owned()),
        wall_s: life.followed_at_s() - 1,
        rotate: None,
    };
    observed.authorities = Some(authorities.clone());
    assert_eq!(certificate_step(&observed), None);
    authorities.wall_s += 1;
    observed.authorities = Some(authorities.clone());
    assert_eq!(certificate_step(&observed), Some(Step::Make));
    let from_s = authorities.wall_s;
    authorities.lives.insert("a later one".to_owned(), Life { from_s, until_s: from_s + life.until_s });
    observed.authorities = Some(authorities);
    assert_eq!(certificate_step(&observed), Some(Step::Trust("a later one".to_owned())));
}
