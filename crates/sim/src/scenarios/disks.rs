//! Scenarios in which disks fail.

use super::workload::{Mix, add, faults, fill, five};
use crate::{
    chance::Chance,
    fault::Fault,
    plan::{DurabilityPlan, Plan},
};

/// One durable copy of W: it promises to survive any crash but one with the loss of the durable copy's disk. Power goes at
/// one node at a time.
pub fn one_fsync(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 50_000);
    plan.cluster.durability = DurabilityPlan::OneFsync;
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let mut at = 3_000;
    while at < 45_000 {
        let (node, lasts) = (chance.below(5) as u8, chance.between(500, 8_000));
        let power = chance.permille(700);
        add(&mut plan, at, lasts, Fault::Crash { node, power });
        at += lasts + chance.between(500, 6_000);
    }
    if chance.permille(500) {
        let node = chance.below(5) as u8;
        add(&mut plan, chance.between(5_000, 30_000), chance.between(1_000, 10_000), Fault::DiskFailing { node });
    }
    super::network::cut_some(&mut plan, 1);
    plan
}

pub fn full(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 45_000);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    for _ in 0..chance.between(2, 6) {
        let node = chance.below(5) as u8;
        let what = match chance.below(3) {
            0 => Fault::DiskFull { node },
            1 => Fault::DiskFailing { node },
            _ => Fault::DiskSlow { node, times: chance.between(5, 400) as u32 },
        };
        // One at a time of a kind and node: two of them would end together.
        let at = chance.between(3_000, 40_000);
        let same =
            |other: &crate::fault::TimedFault| std::mem::discriminant(&other.what) == std::mem::discriminant(&what);
        if !plan.faults.iter().any(same) {
            add(&mut plan, at, chance.between(300, 15_000), what);
        }
    }
    super::nodes::crash_some(&mut plan, 2);
    plan
}

pub fn hint_flood(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 50_000);
    plan.cluster.hints_bytes_max = 600;
    plan.keys = 40;
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let node = chance.below(5) as u8;
    add(&mut plan, chance.between(3_000, 6_000), chance.between(20_000, 35_000), Fault::Crash { node, power: true });
    super::network::cut_some(&mut plan, 1);
    plan
}

/// One disk is lost in a run: W durable copies leave one at least.
pub fn wiped(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 50_000);
    // Few keys, so that what a forgotten life named is named again.
    plan.keys = *shape.pick(&[2, 3, 12]);
    fill(&mut plan, Mix { anywhere: 80, get: 30, blind: 27, ..Mix::USUAL });
    let mut chance = faults(seed);
    let node = chance.below(5) as u8;
    let (at, lasts) = (chance.between(5_000, 35_000), chance.between(200, 10_000));
    add(&mut plan, at, lasts, Fault::Wipe { node });
    if chance.permille(600) {
        // With one other alone, which need not have what the lost disk had, it coordinates before it hears of its past.
        let from = vec![node, (node + chance.between(1, 4) as u8) % 5];
        let to = (0..5).filter(|node| !from.contains(node)).collect();
        let cut = Fault::Cut { from, to, both: true, flap_ms: 0 };
        add(&mut plan, at + lasts.saturating_sub(100), chance.between(3_000, 12_000), cut);
    }
    if chance.permille(300) {
        let other = (node + 1) % 5;
        add(&mut plan, chance.between(5_000, 45_000), 2_000, Fault::Clone { node: other, of: node });
    }
    super::nodes::crash_some(&mut plan, 2);
    super::network::cut_some(&mut plan, 2);
    plan
}

/// A node is given a copy of another's disk, which is not its own, and then gets its own back.
pub fn cloned(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 40_000);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    for at in [5_000, 20_000] {
        let pair = chance.some_of(5, 2);
        let clone = Fault::Clone { node: pair[0], of: pair[1] };
        add(&mut plan, at + chance.below(8_000), chance.between(500, 5_000), clone);
    }
    super::network::cut_some(&mut plan, 1);
    plan
}

/// A disk loses what was durable, and what stands beside the engine tells of it: the others have it.
pub fn lost_tail(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 50_000);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let node = chance.below(5) as u8;
    let at = chance.between(4_000, 15_000);
    add(&mut plan, at, chance.between(50, 500), Fault::RollBack { node });
    add(&mut plan, at + chance.between(4_000, 20_000), chance.between(200, 8_000), Fault::RollBack { node });
    super::network::cut_some(&mut plan, 1);
    plan
}

/// A whole disk goes back to an older copy of itself, and nothing on it tells of that: the others do. Keys are deleted and
/// collected meanwhile.
pub fn put_back(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 60_000);
    plan.keys = *shape.pick(&[6, 12, 24]);
    fill(&mut plan, Mix { get: 25, put: 10, blind: 10, update: 20, ..Mix::USUAL });
    let mut chance = faults(seed);
    let node = chance.below(5) as u8;
    let mut at = chance.between(3_500, 10_000);
    for _ in 0..chance.between(2, 4) {
        let lasts = chance.between(50, 6_000);
        add(&mut plan, at, lasts, Fault::PutBack { node });
        if chance.permille(300) {
            // It wakes up with one other, or alone: whoever remembers more is not there yet.
            let others = 1 + chance.below(2) as u8;
            let from: Vec<u8> = (0..others).map(|next| (node + next) % 5).collect();
            let to = (0..5).filter(|other| !from.contains(other)).collect();
            let cut = Fault::Cut { from, to, both: true, flap_ms: 0 };
            add(&mut plan, at + lasts.saturating_sub(100), chance.between(1_000, 9_000), cut);
        }
        at += lasts + chance.between(4_000, 18_000);
    }
    super::nodes::crash_some(&mut plan, 1);
    super::network::cut_some(&mut plan, 1);
    plan
}

/// What was acknowledged was durable W times over, however slow the disks: power may go everywhere at once.
pub fn blackouts(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 40_000);
    fill(&mut plan, Mix { per_second: 6, get: 25, put: 20, blind: 20, update: 30, ..Mix::USUAL });
    let mut chance = faults(seed);
    for node in 0..5 {
        let times = chance.between(20, 150) as u32;
        add(&mut plan, 2_500, 40_000, Fault::DiskSlow { node, times });
    }
    let mut at = chance.between(4_000, 8_000);
    while at < 36_000 {
        for node in 0..5 {
            let lasts = chance.between(300, 2_000);
            add(&mut plan, at, lasts, Fault::Crash { node, power: true });
        }
        at += chance.between(4_000, 9_000);
    }
    plan
}
