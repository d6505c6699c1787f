//! Scenarios in which the network fails.

use super::workload::{Mix, add, faults, fill, five};
use crate::{
    chance::Chance,
    fault::Fault,
    plan::{BucketPlan, Plan},
};

/// The cluster's endpoints in two groups: some nodes with some clients, and the rest.
pub fn two_sides(chance: &mut Chance, plan: &Plan, nodes: usize) -> (Vec<u8>, Vec<u8>) {
    let mut one = chance.some_of(plan.cluster.nodes, nodes);
    let mut other: Vec<u8> = (0..plan.cluster.nodes).filter(|node| !one.contains(node)).collect();
    for client in 0..plan.clients.len() as u8 {
        let endpoint = plan.cluster.nodes + client;
        if chance.permille(400) { one.push(endpoint) } else { other.push(endpoint) }
    }
    (one, other)
}

/// So many cuts, of all kinds, anywhere in the run.
pub fn cut_some(plan: &mut Plan, count: u64) {
    let mut chance = faults(plan.seed ^ 0x6e);
    for _ in 0..chance.between(count.div_ceil(2), count) {
        let size = chance.between(1, 2) as usize;
        let (from, to) = two_sides(&mut chance, plan, size);
        let both = chance.permille(650);
        let flap_ms = if chance.permille(250) { chance.between(50, 3_000) as u32 } else { 0 };
        let (at, lasts) = (chance.between(3_000, u64::from(plan.run_ms)), chance.between(100, 20_000));
        add(plan, at, lasts, Fault::Cut { from, to, both, flap_ms });
    }
}

pub fn partitions(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 50_000);
    fill(&mut plan, Mix::USUAL);
    cut_some(&mut plan, 7);
    // One bad link is no dead node (§4.8.3).
    let mut chance = faults(seed);
    let pair = chance.some_of(5, 2);
    let cut = Fault::Cut { from: vec![pair[0]], to: vec![pair[1]], both: chance.permille(500), flap_ms: 0 };
    add(&mut plan, chance.between(3_000, 30_000), chance.between(2_000, 20_000), cut);
    plan
}

pub fn bad(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 45_000);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let all: Vec<u8> = (0..5).collect();
    for _ in 0..chance.between(1, 4) {
        let some = chance.between(1, 3) as usize;
        let bad = Fault::Bad {
            from: chance.some_of(5, some),
            to: all.clone(),
            slow_us: chance.below(300_000) as u32,
            loss: chance.below(300) as u32,
            duplicate: chance.below(200) as u32,
            reorder: chance.below(300) as u32,
        };
        add(&mut plan, chance.between(2_500, 30_000), chance.between(1_000, 25_000), bad);
    }
    for _ in 0..chance.between(1, 5) {
        let pair = chance.some_of(5, 2);
        add(&mut plan, chance.between(3_000, 44_000), 0, Fault::Reset { one: pair[0], other: pair[1] });
    }
    super::nodes::crash_some(&mut plan, 2);
    plan
}

/// One fault that lasts: what can be promised then is promised.
pub fn long_cut(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 75_000);
    plan.buckets = vec![BucketPlan::DEFAULT, BucketPlan::STRICT];
    fill(&mut plan, Mix { per_second: 2, get: 20, put: 20, blind: 20, update: 30, ..Mix::USUAL });
    let mut chance = faults(seed);
    let at = chance.between(2_500, 6_000);
    let lasts = u64::from(plan.run_ms) - at;
    match chance.below(3) {
        0 => {
            let dead = chance.between(1, 3) as usize;
            let power = chance.permille(500);
            for node in chance.some_of(5, dead) {
                add(&mut plan, at, lasts, Fault::Crash { node, power });
            }
        }
        kind => {
            let (from, to) = two_sides(&mut chance, &plan, kind as usize);
            add(&mut plan, at, lasts, Fault::Cut { from, to, both: true, flap_ms: 0 });
        }
    }
    plan
}

/// Replicas are stale all the time, and repairs meet newer writes on their way.
pub fn slow_ways(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 40_000);
    plan.keys = 3;
    plan.buckets = vec![BucketPlan::STRICT];
    fill(&mut plan, Mix { clients: 8, per_second: 5, get: 50, put: 5, blind: 30, update: 15, anywhere: 100 });
    let mut chance = faults(seed);
    for from in 0..5 {
        for to in (0..5).filter(|to| *to != from) {
            let slow_us = if chance.permille(400) { chance.between(20_000, 250_000) as u32 } else { 0 };
            let bad = Fault::Bad { from: vec![from], to: vec![to], slow_us, loss: 0, duplicate: 0, reorder: 0 };
            add(&mut plan, 2_000, 40_000, bad);
        }
    }
    plan
}
