//! Scenarios in which nodes fail.

use super::workload::{Mix, add, faults, fill, five};
use crate::{
    chance::Chance,
    edit::Edit,
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

/// All pods are made again at once: at new addresses, or at each other's (k8ssandra-operator 1536, casskop 170 and 384).
pub fn moved(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 60_000);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let mut places: Vec<u8> = (0..5).collect();
    for at in [chance.between(5_000, 15_000), chance.between(25_000, 40_000)] {
        match chance.below(3) {
            0 => places.rotate_left(chance.between(1, 4) as usize),
            1 => places.swap(chance.below(2) as usize, chance.between(2, 4) as usize),
            _ => places.iter_mut().for_each(|place| *place += 5),
        }
        add(&mut plan, at, chance.between(200, 6_000), Fault::Move { places: places.clone() });
    }
    crash_some(&mut plan, 1);
    super::network::cut_some(&mut plan, 1);
    plan
}

/// A node is away for most of a long run. Hints for it find no room any more, keys are deleted, another joins, one leaves;
/// then it comes back with all that it had, hints for others among it.
pub fn long_away(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = super::ring::with_spares(seed, shape, 300_000, 1);
    plan.cluster.hints_bytes_max = 4_000;
    plan.keys = plan.keys.max(20);
    fill(&mut plan, Mix { per_second: 1, get: 25, put: 15, blind: 15, update: 20, ..Mix::USUAL });
    let mut chance = faults(seed);
    let node = chance.below(5) as u8;
    // It leaves while it holds hints for another.
    let other = (node + 1) % 5;
    add(&mut plan, 4_000, chance.between(4_000, 12_000), Fault::Crash { node: other, power: false });
    let power = chance.permille(500);
    add(&mut plan, chance.between(5_000, 9_000), 270_000, Fault::Crash { node, power });
    let via = (node + 2) % 5;
    super::ring::edit(&mut plan, chance.between(40_000, 60_000), via, Edit::Join { node: 5 });
    let then = match chance.below(3) {
        0 => Edit::Remove { node },
        1 => Edit::Leave { node: (node + 3) % 5 },
        _ => Edit::Cancel,
    };
    super::ring::edit(&mut plan, chance.between(90_000, 150_000), via, then);
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
