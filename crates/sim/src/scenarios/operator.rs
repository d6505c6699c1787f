//! Scenarios in Kubernetes: the nodes are pods, which operators tend.

use super::workload::{Mix, add, faults, fill, five};
use crate::{
    chance::Chance,
    fault::Fault,
    plan::Plan,
    tending::{Deed, TendingPlan, TimedDeed},
};

/// When the first pods serve, milliseconds.
const BEGIN_MS: u32 = 12_000;

/// So many nodes, as clients and operators find them; there may be nine in three zones, or six in one.
fn tended(seed: u64, shape: &mut Chance, run_ms: u32, operators: u8) -> Plan {
    let mut plan = five(seed, shape, run_ms);
    let cluster = &mut plan.cluster;
    cluster.zones = *shape.pick(&[1, 3, 3]);
    cluster.nodes = if cluster.zones == 1 { 6 } else { 9 };
    cluster.spares = cluster.nodes - shape.between(3, 5) as u8;
    plan.keys = shape.between(6, 16) as u16;
    plan.settle_ms = 1_500_000;
    fill(&mut plan, Mix { clients: 3, per_second: 2, anywhere: 0, ..Mix::USUAL });
    plan.clients.iter_mut().for_each(|ops| ops.retain(|op| op.at_ms >= BEGIN_MS));
    plan.tending = Some(TendingPlan { operators, deeds: Vec::new() });
    plan
}

fn deed(plan: &mut Plan, at_ms: u64, deed: Deed) {
    if let Some(tending) = &mut plan.tending {
        tending.deeds.push(TimedDeed { at_ms: at_ms as u32, deed });
    }
}

/// As many as there is room for in any zone.
fn some_replicas(chance: &mut Chance) -> Deed {
    Deed::Scale { replicas: chance.between(3, 6) as u32 }
}

fn operator_dies(plan: &mut Plan, chance: &mut Chance, at_ms: u64) {
    let for_s = chance.below(10) as u32;
    let what = if chance.permille(600) {
        Deed::OperatorDies { operator: 0, for_s }
    } else {
        Deed::OperatorSleeps { operator: 0, for_s }
    };
    deed(plan, at_ms, what);
}

/// A change of the ring takes a while where disks are slow.
fn slow_disks(plan: &mut Plan, chance: &mut Chance) {
    let times = chance.between(20, 400) as u32;
    for node in (0..plan.cluster.nodes).filter(|_| chance.permille(600)) {
        add(plan, 13_000, 110_000, Fault::DiskSlow { node, times });
    }
}

/// Somebody of those who are there from the beginning.
fn founder(plan: &Plan, chance: &mut Chance) -> u8 {
    chance.below(u64::from(plan.cluster.nodes - plan.cluster.spares)) as u8
}

/// More nodes and fewer, before the last change is done and while a node is down, too.
pub fn scale(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = tended(seed, shape, 110_000, 1);
    let mut chance = faults(seed);
    if chance.permille(400) {
        return there_and_back(plan, &mut chance);
    }
    deed(&mut plan, 1_000, Deed::Reclaim { delete: chance.permille(500) });
    slow_disks(&mut plan, &mut chance);
    let mut at = 15_000;
    while at < 100_000 {
        let what = some_replicas(&mut chance);
        deed(&mut plan, at, what);
        if chance.permille(400) {
            let soon = chance.below(30_000);
            operator_dies(&mut plan, &mut chance, at + soon);
        }
        // A change waits for whoever is to get something by it.
        if chance.permille(350) {
            let node = founder(&plan, &mut chance);
            let (soon, lasts) = (chance.between(8_000, 14_000), chance.between(20_000, 45_000));
            add(&mut plan, at + soon, lasts, Fault::Crash { node, power: true });
        }
        // Another mind before there are pods, or when the ring is changing: a turn begins after twelve seconds.
        at += match chance.below(3) {
            0 => chance.between(500, 15_000),
            1 => chance.between(15_000, 30_000),
            _ => chance.between(30_000, 45_000),
        };
    }
    plan
}

/// Fewer nodes whose disks are kept, and then more, on these.
fn there_and_back(mut plan: Plan, chance: &mut Chance) -> Plan {
    deed(&mut plan, 1_000, Deed::Reclaim { delete: false });
    deed(&mut plan, chance.between(15_000, 25_000), Deed::Scale { replicas: 3 });
    deed(&mut plan, chance.between(65_000, 100_000), Deed::Scale { replicas: 6 });
    let dies = chance.between(15_000, 100_000);
    operator_dies(&mut plan, chance, dies);
    plan
}

/// One disk at a time is lost or given up, and its node is filled again.
pub fn replace(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = tended(seed, shape, 110_000, 1);
    let mut chance = faults(seed);
    for at in [16_000, 70_000] {
        let (node, at) = (founder(&plan, &mut chance), at + chance.below(10_000));
        let what = match chance.below(4) {
            0 => Deed::GiveUp { node },
            1 => Deed::LoseMachine { node },
            _ => Deed::DeleteClaim { node, pod: chance.permille(500) },
        };
        deed(&mut plan, at, what);
        if chance.permille(400) {
            let soon = chance.below(30_000);
            operator_dies(&mut plan, &mut chance, at + soon);
        }
        if chance.permille(300) {
            let (node, soon) = (founder(&plan, &mut chance), chance.below(20_000));
            add(&mut plan, at + soon, chance.between(200, 6_000), Fault::Crash { node, power: false });
        }
    }
    plan
}

/// Another template, and sometimes one more before all have the last one.
pub fn rollout(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = tended(seed, shape, 120_000, 1);
    let mut chance = faults(seed);
    let mut at = 15_000 + chance.below(5_000);
    for template in ["two", "three", "four"] {
        let template = if chance.permille(250) { "bad" } else { template }.to_owned();
        deed(&mut plan, at, Deed::Roll { template });
        if chance.permille(300) {
            let soon = chance.below(30_000);
            operator_dies(&mut plan, &mut chance, at + soon);
        }
        if chance.permille(300) {
            let (node, soon) = (founder(&plan, &mut chance), chance.between(5_000, 30_000));
            let what = if chance.permille(500) { Deed::DeletePod { node } } else { Deed::HoldUp { node, for_s: 25 } };
            deed(&mut plan, at + soon, what);
        }
        at += chance.between(10_000, 50_000);
    }
    if chance.permille(300) {
        deed(&mut plan, chance.between(20_000, 100_000), Deed::Grow);
    }
    plan
}

/// All of it, by two operators at once, one of which may be slow, old-sighted and dead.
pub fn chaos(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = tended(seed, shape, 120_000, 1 + (seed % 2) as u8);
    let mut chance = faults(seed);
    deed(&mut plan, 1_000, Deed::Reclaim { delete: chance.permille(500) });
    slow_disks(&mut plan, &mut chance);
    deed(&mut plan, chance.between(10_000, 40_000), Deed::RoughWeather { for_s: chance.between(30, 80) as u32 });
    let mut at = 15_000;
    while at < 110_000 {
        let node = founder(&plan, &mut chance);
        let what = match chance.below(14) {
            0..=4 => some_replicas(&mut chance),
            5 | 6 => Deed::Roll { template: (*chance.pick(&["two", "three", "bad"])).to_owned() },
            7 => Deed::DeletePod { node },
            8 => Deed::HoldUp { node, for_s: chance.between(10, 40) as u32 },
            9 => Deed::DeleteClaim { node, pod: chance.permille(500) },
            10 => Deed::LoseMachine { node },
            11 if chance.permille(500) => Deed::ScaleByHand { node },
            11 => Deed::EditByHand { node },
            12 => Deed::Grow,
            _ => Deed::OperatorDies { operator: 0, for_s: 5 },
        };
        deed(&mut plan, at, what);
        at += chance.between(2_000, 25_000);
    }
    if chance.permille(100) {
        deed(&mut plan, chance.between(20_000, 100_000), Deed::DeleteAllPods);
    }
    for _ in 0..chance.below(3) {
        let (node, at) = (founder(&plan, &mut chance), chance.between(15_000, 110_000));
        let what = if chance.permille(600) {
            Fault::Crash { node, power: chance.permille(500) }
        } else {
            Fault::Pause { node }
        };
        add(&mut plan, at, chance.between(200, 10_000), what);
    }
    if chance.permille(300) {
        let from = vec![founder(&plan, &mut chance)];
        let to = (0..plan.cluster.nodes).filter(|node| !from.contains(node)).collect();
        let (at, lasts) = (chance.between(15_000, 90_000), chance.between(1_000, 20_000));
        add(&mut plan, at, lasts, Fault::Cut { from, to, both: chance.permille(700), flap_ms: 0 });
    }
    plan
}
