//! Scenarios in which nodes fail.

use super::workload::{Mix, add, faults, fill, five};
use crate::{
    chance::Chance,
    fault::Fault,
    plan::{BucketPlan, Plan},
};

/// The default: what the speed is measured by, too.
pub fn usual(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 60_000);
    fill(&mut plan, Mix::USUAL);
    crash_some(&mut plan, 2);
    super::network::cut_some(&mut plan, 2);
    plan
}

/// So many crashes, anywhere in the run.
pub fn crash_some(plan: &mut Plan, count: u64) {
    let mut chance = faults(plan.seed ^ 0x63);
    for _ in 0..chance.between(count.div_ceil(2), count) {
        let node = chance.below(plan.cluster.nodes.into()) as u8;
        let (at, lasts) = (chance.between(3_000, u64::from(plan.run_ms)), chance.between(20, 12_000));
        let power = chance.permille(500);
        add(plan, at, lasts, Fault::Crash { node, power });
    }
}

pub fn crashes(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 45_000);
    fill(&mut plan, Mix::USUAL);
    crash_some(&mut plan, 8);
    let mut chance = faults(seed);
    // All at once, now and then.
    if chance.permille(400) {
        let at = chance.between(5_000, 35_000);
        let power = chance.permille(700);
        for node in 0..plan.cluster.nodes {
            let lasts = chance.between(500, 5_000);
            add(&mut plan, at + chance.below(3), lasts, Fault::Crash { node, power });
        }
    }
    plan
}

pub fn restarts(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 50_000);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let (lasts, gap) = (chance.between(1_500, 4_000), chance.between(0, 4_000));
    for node in 0..plan.cluster.nodes {
        add(&mut plan, 5_000 + u64::from(node) * (lasts + gap), lasts, Fault::Restart { node });
    }
    crash_some(&mut plan, 2);
    plan
}

pub fn pauses(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 45_000);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    for _ in 0..chance.between(2, 8) {
        let node = chance.below(5) as u8;
        add(&mut plan, chance.between(3_000, 44_000), chance.between(50, 15_000), Fault::Pause { node });
    }
    crash_some(&mut plan, 1);
    plan
}

pub fn clocks(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 45_000);
    plan.buckets = vec![BucketPlan::LATEST, BucketPlan::LATEST, BucketPlan::DEFAULT];
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    for _ in 0..chance.between(2, 8) {
        let node = chance.below(5) as u8;
        let by_ms = chance.below(240_000) as i64 - 120_000;
        add(&mut plan, chance.between(0, 40_000), chance.between(1_000, 40_000), Fault::Clock { node, by_ms });
    }
    crash_some(&mut plan, 2);
    plan
}
