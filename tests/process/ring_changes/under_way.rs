//! Everything at once, again and again: nodes join, leave and lose their disks, and any of them is killed at any moment.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IteratorRandom};

use super::load::Load;
use crate::nodes::{Nodes, zone};

/// Of CI; `DYNAMO_TEST_SECONDS` makes it hours.
const SECONDS: u64 = 40;

const FOUNDERS: [&str; 5] = ["node-1", "node-2", "node-3", "node-4", "node-5"];
const OTHERS: [&str; 5] = ["node-3", "node-4", "node-5", "node-6", "node-7"];

/// Nodes that are not to be killed now, since somebody else stops or starts them.
type Spared = Mutex<BTreeSet<String>>;

/// Kills one or two nodes at a time, and brings them back, until told to stop.
fn kill_and_restart(nodes: &Nodes, spared: &Spared, stop: &AtomicBool, random: &mut StdRng) {
    while !stop.load(Ordering::Relaxed) {
        let count = random.random_range(1..=2);
        let victims: Vec<String> = {
            let mut spared = spared.lock().unwrap();
            let victims = nodes.running().into_iter().filter(|name| !spared.contains(name));
            let victims: Vec<String> = victims.choose_multiple(random, count);
            spared.extend(victims.iter().cloned());
            victims
        };
        victims.iter().for_each(|name| nodes.kill(name));
        thread::sleep(Duration::from_millis(random.random_range(100..1500)));
        victims.iter().for_each(|name| nodes.restart_or_begin_anew(name));
        spared.lock().unwrap().retain(|name| !victims.contains(name));
        thread::sleep(Duration::from_millis(random.random_range(200..2000)));
    }
}

/// Waits until nobody else has this node, and takes it.
fn spare(name: &str, spared: &Spared) {
    while !spared.lock().unwrap().insert(name.to_owned()) {
        thread::sleep(Duration::from_millis(50));
    }
}

/// They have left: they are switched off, and come back with empty disks.
fn begin_anew(nodes: &Nodes, left: [&str; 2], spared: &Spared) {
    for name in left {
        nodes.until_may_be_switched_off(name);
        spare(name, spared);
        nodes.kill(name);
        nodes.wipe(name);
        nodes.restart(name);
        spared.lock().unwrap().remove(name);
    }
}

fn lose_disk(nodes: &Nodes, name: &str, spared: &Spared) {
    spare(name, spared);
    nodes.kill(name);
    nodes.wipe(name);
    nodes.restart(name);
    spared.lock().unwrap().remove(name);
    nodes.until_settled();
}

/// From five nodes to five others and back.
fn round(nodes: &Nodes, spared: &Spared) {
    nodes.change_to(&[&FOUNDERS[..], &["node-6", "node-7"]].concat());
    nodes.change_to(&OTHERS);
    begin_anew(nodes, ["node-1", "node-2"], spared);
    lose_disk(nodes, "node-4", spared);
    // Two leave and two join in one change.
    nodes.change_to(&FOUNDERS);
    begin_anew(nodes, ["node-6", "node-7"], spared);
}

#[test]
fn nodes_are_killed_at_random_while_the_ring_changes() {
    let seconds = std::env::var("DYNAMO_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let until = Instant::now() + Duration::from_secs(seconds);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let nodes = Nodes::start(5);
    let load = Load::begin(&nodes);
    nodes.add("node-6", &zone(6));
    nodes.add("node-7", &zone(7));
    let (spared, stop) = (Spared::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let killing = scope.spawn(|| kill_and_restart(&nodes, &spared, &stop, &mut StdRng::seed_from_u64(seed)));
        let changing = scope.spawn(|| {
            let mut rounds = 0;
            while rounds == 0 || Instant::now() < until {
                round(&nodes, &spared);
                rounds += 1;
            }
            rounds
        });
        let rounds = changing.join();
        stop.store(true, Ordering::Relaxed);
        killing.join().expect("every node that is killed comes back");
        println!("{} rounds", rounds.expect("every change is made"));
    });
    load.end(&nodes);
}
