//! What people do to a store, one after the other, without bad luck in between.

mod world;

use dynamo_planner::{Action, Mark, PARKED, PodId, Reclaim, Why, plan, turn::Work};
use world::{World, wanted, zones};

fn settled(replicas: u32) -> World {
    let mut world = World::new(7, wanted(replicas, 3), "abc", 1);
    world.settle(600);
    world
}

fn waits(world: &World) -> Vec<String> {
    let observed = world.observe(0);
    plan(&world.wanted, &observed, &world.leaders[0].memory).waits.iter().map(Why::name).collect()
}

/// Runs until something is waited for.
fn until_waits(world: &mut World, name: &str) {
    for _ in 0..600 {
        world.refresh(0);
        if waits(world).contains(&name.to_owned()) {
            return;
        }
        world.step();
    }
    panic!("nothing waits for {name}: {:?}\n{}", waits(world), world.log.join("\n"));
}

#[test]
fn a_new_cluster_is_founded_once_and_spread_evenly() {
    let mut world = settled(5);
    let counts: Vec<u32> = world.kube.sets.values().map(|set| set.replicas).collect();
    assert_eq!(counts, [2, 2, 1]);
    assert_eq!(world.kube.zones, ["a", "b", "c"]);
    let founders = world.kube.founders.clone();
    world.wanted.replicas = 9;
    world.settle(900);
    assert_eq!(world.kube.founders, founders, "what the first ring was never changes");
    world.stays_settled();
}

#[test]
fn founders_that_are_lost_are_never_guessed() {
    let mut world = settled(3);
    world.stays_settled();
    world.kube.founders = None;
    world.refresh(0);
    let before = world.writes;
    world.run(60);
    assert!(waits(&world).contains(&"FoundersLost".to_owned()));
    assert_eq!(world.writes, before);
}

#[test]
fn a_zone_that_goes_before_its_first_pod_is_founded_and_then_left() {
    for replicas in [1, 3] {
        let mut world = World::new(7, wanted(replicas, replicas), "abc", 1);
        while world.kube.founders.is_none() {
            world.step();
        }
        assert!(world.kube.pods.is_empty());
        world.wanted.zones = Some(zones("bc"));
        world.settle(900);
        world.run(60);
        assert!(!world.kube.sets.contains_key("c-a"), "{:?}", world.kube.sets);
        world.stays_settled();
    }
}

#[test]
fn new_nodes_join_with_one_change_of_the_ring() {
    let mut world = settled(3);
    let epoch = world.nodes.epoch;
    world.wanted.replicas = 9;
    world.settle(900);
    assert_eq!(world.nodes.epoch, epoch + 1);
}

#[test]
fn a_smaller_cluster_deletes_disks_as_the_policy_says() {
    for (policy, claims) in [(Reclaim::Delete, 3), (Reclaim::Retain, 6)] {
        let mut world = settled(6);
        world.wanted.storage.on_scale_down = policy;
        world.wanted.replicas = 3;
        world.settle(900);
        world.run(60);
        assert_eq!(world.kube.claims.len(), claims);
        let marked = world.kube.claims.values().filter(|claim| matches!(claim.mark, Some(Mark::Left { .. }))).count();
        assert_eq!(marked, claims - 3, "each disk that stays says that it left");
        // What was kept is not deleted by a policy for others.
        world.wanted.storage.on_scale_down = Reclaim::Delete;
        world.stays_settled();
        assert_eq!(world.kube.claims.len(), claims);
    }
}

#[test]
fn a_disk_that_was_kept_begins_another_life() {
    let mut world = settled(6);
    world.wanted.storage.on_scale_down = Reclaim::Retain;
    world.wanted.replicas = 3;
    world.settle(900);
    let disk = world.kube.claims[&PodId::new("c-a", 1)].uid.clone();
    let life = world.nodes.disks[&disk].life;
    world.wanted.replicas = 6;
    world.settle(900);
    assert_eq!(world.kube.claims[&PodId::new("c-a", 1)].uid, disk, "the same disk");
    assert!(world.nodes.disks[&disk].life > life, "and another life");
    world.stays_settled();
}

#[test]
fn a_zone_that_is_no_more_is_emptied_and_its_set_deleted() {
    let mut world = settled(6);
    world.wanted.zones = Some(zones("ab"));
    world.run(200);
    world.settle(900);
    assert_eq!(world.kube.sets.keys().collect::<Vec<_>>(), ["c-a", "c-b"]);
    world.stays_settled();
}

#[test]
fn zones_that_came_later_are_told_and_not_used() {
    let mut world = World::new(7, wanted(3, 3), "abc", 1);
    world.settle(600);
    let host = dynamo_planner::HostView { zone: Some("d".to_owned()), out_of_service: false };
    world.kube.hosts.insert("d0".to_owned(), host);
    world.stays_settled();
    assert_eq!(waits(&world), ["NewZone"]);
    // And what the zones are outlives the status.
    world.kube.zones.clear();
    world.run(10);
    assert_eq!(world.kube.zones, ["a", "b", "c"]);
}

#[test]
fn a_rollout_begins_with_one_pod_and_goes_on_by_zones() {
    let mut world = settled(9);
    world.wanted.template = "two".to_owned();
    let mut sets: Vec<usize> = Vec::new();
    let mut last = world.kube.turn.last;
    for _ in 0..900 {
        world.step();
        if let Some(turn) = world.kube.turn.turn.as_ref().filter(|turn| turn.id > last) {
            last = turn.id;
            let Work::Restart { pods, .. } = &turn.work else { panic!("{turn:?}") };
            sets.push(pods.len());
        }
    }
    assert_eq!((sets[0], sets.iter().sum::<usize>()), (1, 9));
    assert!(sets.len() <= 4, "{sets:?}");
    assert!(world.is_settled().is_ok());
    assert!(world.kube.sets.values().all(|set| set.partition == PARKED));
    world.stays_settled();
}

#[test]
fn a_bad_image_stops_after_the_first_pod_and_the_reverted_spec_gets_through() {
    let mut world = settled(6);
    world.wanted.template = "bad".to_owned();
    until_waits(&mut world, "UpdatedNotReady");
    world.run(900);
    assert_eq!(world.kube.pods.values().filter(|pod| pod.template == "bad").count(), 1);
    // A pod in another zone that is killed meanwhile comes back as it was.
    let other = world.kube.pods.iter().rfind(|(_, pod)| pod.template == "one").map(|(pod, _)| pod.clone()).unwrap();
    world.kube.delete_pod(&other, world.now, &mut world.chance);
    world.nodes.stop(&other, world.now);
    world.run(60);
    assert_eq!(world.kube.pods[&other].template, "one");
    for template in ["one", "two"] {
        world.wanted.template = template.to_owned();
        world.settle(1200);
        world.stays_settled();
    }
}

#[test]
fn a_cluster_whose_first_image_is_bad_is_founded_once_it_is_corrected() {
    let mut spec = wanted(3, 3);
    spec.template = "bad".to_owned();
    let mut world = World::new(7, spec, "abc", 1);
    world.run(200);
    world.wanted.template = "two".to_owned();
    world.settle(900);
    world.stays_settled();
}

#[test]
fn nobody_restarts_while_another_is_down() {
    let mut world = settled(3);
    let down = PodId::new("c-b", 0);
    world.held.insert(down.clone(), world.now + 400);
    world.kube.delete_pod(&down, world.now, &mut world.chance);
    world.nodes.stop(&down, world.now);
    world.run(20);
    world.wanted.template = "two".to_owned();
    world.run(200);
    let new: Vec<&PodId> =
        world.kube.pods.iter().filter(|(_, pod)| pod.template == "two").map(|(pod, _)| pod).collect();
    assert_eq!(new, [&down], "only the one that serves nobody");
    world.settle(1200);
}

#[test]
fn a_template_that_somebody_edits_restarts_nobody_and_is_put_right() {
    let mut world = settled(6);
    let before: Vec<String> = world.kube.pods.values().map(|pod| pod.uid.clone()).collect();
    world.kube.edit_set("c-a", |set| set.template = "by-hand".to_owned());
    world.run(120);
    assert_eq!(world.kube.pods.values().map(|pod| pod.uid.clone()).collect::<Vec<_>>(), before);
    assert_eq!(world.kube.sets["c-a"].template, "one");
}

#[test]
fn a_statefulset_that_was_scaled_by_hand_gets_its_pods_back() {
    let mut world = settled(6);
    world.kube.edit_set("c-a", |set| set.replicas = 0);
    world.run(5);
    world.settle(300);
    assert_eq!(world.kube.sets["c-a"].replicas, 2);
    world.stays_settled();
}

#[test]
fn a_machine_that_is_gone_is_waited_for_and_then_its_disk_replaced() {
    let mut world = settled(6);
    let pod = PodId::new("c-b", 1);
    let disk = world.kube.claims[&pod].uid.clone();
    let host = world.kube.claims[&pod].host.clone().unwrap();
    // Only this one's, so that no other disk is lost with it.
    let shared = PodId::new("c-b", 0);
    if world.kube.claims[&shared].host.as_ref() == Some(&host) {
        world.kube.claims.get_mut(&shared).unwrap().host = Some("b9".to_owned());
        let zone = Some("b".to_owned());
        world.kube.hosts.insert("b9".to_owned(), dynamo_planner::HostView { zone, out_of_service: false });
    }
    world.kube.hosts.remove(&host);
    world.kube.delete_pod(&pod, world.now, &mut world.chance);
    world.nodes.stop(&pod, world.now);
    until_waits(&mut world, "MachineGone");
    world.run(15);
    assert_eq!(world.kube.claims[&pod].uid, disk, "not at once");
    world.settle(900);
    assert_ne!(world.kube.claims[&pod].uid, disk);
    world.stays_settled();
}

#[test]
fn the_only_copy_is_never_given_up() {
    let mut world = World::new(7, wanted(1, 1), "a", 1);
    world.settle(300);
    let pod = PodId::new("c-a", 0);
    let disk = world.kube.claims[&pod].uid.clone();
    world.wanted.maintenance.replace.insert(pod.clone(), disk.clone());
    until_waits(&mut world, "OnlyCopies");
    world.run(300);
    assert_eq!(world.kube.claims[&pod].uid, disk);
    assert!(world.nodes.is_up(&pod));
}

#[test]
fn a_node_is_drained_at_its_own_number() {
    let mut world = settled(6);
    let pod = PodId::new("c-a", 0);
    let disk = world.kube.claims[&pod].uid.clone();
    world.wanted.maintenance.replace.insert(pod.clone(), disk.clone());
    world.run(200);
    world.settle(600);
    assert_ne!(world.kube.claims[&pod].uid, disk);
    world.stays_settled();
}

#[test]
fn volumes_grow_without_a_restart() {
    let mut world = settled(6);
    let before: Vec<String> = world.kube.pods.values().map(|pod| pod.uid.clone()).collect();
    world.wanted.storage.size_bytes = 5;
    world.settle(300);
    assert_eq!(world.kube.pods.values().map(|pod| pod.uid.clone()).collect::<Vec<_>>(), before);
    assert!(world.kube.sets.values().all(|set| set.storage_bytes == 5 && set.replicas == 2));
    world.stays_settled();
}

#[test]
fn pods_without_their_statefulset_get_it_back_as_large_as_they_are() {
    let mut world = settled(6);
    world.kube.delete_set("c-b", true, world.now, &mut world.chance);
    world.wanted.replicas = 3;
    world.settle(900);
    assert_eq!(world.kube.sets["c-b"].replicas, 1);
    world.stays_settled();
}

#[test]
fn all_pods_deleted_at_once_come_back_by_themselves() {
    let mut world = settled(6);
    for pod in world.kube.pods.keys().cloned().collect::<Vec<_>>() {
        world.kube.delete_pod(&pod, world.now, &mut world.chance);
        world.nodes.stop(&pod, world.now);
    }
    world.settle(300);
    world.stays_settled();
}

#[test]
fn single_nodes_and_weights() {
    let mut world = World::new(7, wanted(1, 1), "a", 1);
    world.settle(300);
    world.wanted.template = "two".to_owned();
    world.settle(300);
    let mut weighted = zones("a");
    weighted[0].weight = 5;
    world.wanted.zones = Some(weighted);
    world.settle(300);
    world.run(100);
    assert!(world.nodes.members.values().all(|weight| *weight == 5));
    world.stays_settled();
}

#[test]
fn what_is_paused_is_told_and_not_done() {
    let mut world = settled(3);
    world.wanted.maintenance.paused = true;
    (world.wanted.replicas, world.wanted.template) = (6, "two".to_owned());
    world.run(100);
    assert_eq!(world.nodes.members.len(), 3);
    assert!(world.kube.pods.values().all(|pod| pod.template == "one"));
    world.refresh(0);
    let observed = world.observe(0);
    let planned = plan(&world.wanted, &observed, &world.leaders[0].memory);
    assert!(planned.withheld.iter().any(|action| matches!(action, Action::SetTemplate { .. })));
    assert!(planned.waits.contains(&Why::Paused));
    world.wanted.maintenance.paused = false;
    world.settle(1200);
}
