//! Scenarios in which administrators change the ring (§4.9), at bad moments and two at once.

use super::workload::{Mix, add, faults, fill, five};
use crate::{
    chance::Chance,
    edit::{Edit, TimedEdit},
    fault::Fault,
    plan::{BucketPlan, Plan},
};

/// Five members and so many nodes that may join.
pub fn with_spares(seed: u64, shape: &mut Chance, run_ms: u32, spares: u8) -> Plan {
    let mut plan = five(seed, shape, run_ms);
    plan.cluster.zones = *shape.pick(&[1, 3]);
    plan.cluster.nodes = 5 + spares;
    plan.cluster.spares = spares;
    plan.cluster.looks_every_ms = 700;
    plan.settle_ms = 120_000;
    plan
}

pub fn edit(plan: &mut Plan, at_ms: u64, via: u8, edit: Edit) {
    plan.edits.push(TimedEdit { at_ms: at_ms as u32, via, edit });
}

/// One after the other: nodes join, leave and come under way while clients go on, and now and then a node crashes.
pub fn changes(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 2);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let leaves = chance.below(5) as u8;
    for (at, what) in
        [(6_000, Edit::Join { node: 5 }), (22_000, Edit::Leave { node: leaves }), (38_000, Edit::Join { node: 6 })]
    {
        let at = at + chance.below(8_000);
        edit(&mut plan, at, chance.below(5) as u8, what);
    }
    // Whoever left is not to come back with what it has.
    edit(&mut plan, 50_000, chance.below(5) as u8, Edit::Join { node: leaves });
    super::nodes::crash_some(&mut plan, 2);
    plan
}

/// Strict clients at a few keys, and nothing but changes of the ring: what a turn loses is seen at once.
pub fn strict(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 50_000, 2);
    plan.keys = 8;
    plan.buckets = vec![BucketPlan::STRICT];
    fill(&mut plan, Mix { clients: 10, per_second: 12, get: 55, put: 5, blind: 25, update: 15, anywhere: 100 });
    let mut chance = faults(seed);
    let leaves = chance.below(5) as u8;
    edit(&mut plan, 5_000 + chance.below(3_000), 0, Edit::Join { node: 5 });
    edit(&mut plan, 15_000 + chance.below(3_000), 1, Edit::Leave { node: leaves });
    edit(&mut plan, 25_000 + chance.below(3_000), 2, Edit::Join { node: 6 });
    // Some homes hear of a write late, whom a reader hears soon.
    for from in 0..7 {
        for to in (0..7).filter(|to| *to != from) {
            let slow_us = if chance.permille(300) { chance.between(20_000, 300_000) as u32 } else { 0 };
            let bad = Fault::Bad { from: vec![from], to: vec![to], slow_us, loss: 0, duplicate: 0, reorder: 0 };
            add(&mut plan, 2_000, 60_000, bad);
        }
    }
    plan
}

/// Two administrators at once, who may not know of each other; and one who takes back what he finds.
pub fn rivals(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 2);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let at = 5_000 + chance.below(10_000);
    edit(&mut plan, at, 0, Edit::Join { node: 5 });
    let rival = if chance.permille(500) { Edit::Join { node: 6 } } else { Edit::Leave { node: 2 } };
    edit(&mut plan, at + chance.below(40), 3, rival);
    // A change takes half a second if nothing is in its way.
    let soon = if chance.permille(600) { chance.between(20, 500) } else { chance.between(50, 6_000) };
    edit(&mut plan, at + soon, chance.below(5) as u8, Edit::Cancel);
    if chance.permille(400) {
        edit(&mut plan, 35_000, chance.below(5) as u8, Edit::Cancel);
    }
    super::network::cut_some(&mut plan, 2);
    super::nodes::crash_some(&mut plan, 1);
    plan
}

/// The cluster is cut in two, with an administrator on either side: one change at most is made.
pub fn split(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 2);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let mut few = chance.some_of(5, 2);
    let mut many: Vec<u8> = (0..5).filter(|node| !few.contains(node)).collect();
    let (few_first, many_first) = (few[0], many[0]);
    few.push(6);
    many.push(5);
    let at = chance.between(5_000, 8_000);
    add(&mut plan, at, chance.between(25_000, 35_000), Fault::Cut { from: few, to: many, both: true, flap_ms: 0 });
    let then = at + chance.between(3_000, 8_000);
    edit(&mut plan, then, many_first, Edit::Join { node: 5 });
    edit(&mut plan, then + chance.below(2_000), few_first, Edit::Join { node: 6 });
    plan
}

/// The administrator's node is cut off right as its proposal is voted on, for longer than it tries; or the node that joins
/// is, right as the old homes seal for it.
pub fn cut_short(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 2);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    // Votes take a while to become durable, so that a cut may fall between two rounds of them.
    for node in 0..5 {
        let times = chance.between(10, 60) as u32;
        add(&mut plan, 2_500, 60_000, Fault::DiskSlow { node, times });
    }
    for (at, spare) in [(5_000, 5), (24_000, 6)] {
        let (at, via) = (at + chance.below(2_000), chance.below(5) as u8);
        edit(&mut plan, at, via, Edit::Join { node: spare });
        let (off, soon) = if chance.permille(500) { (via, 250) } else { (spare, 1_200) };
        let others = (0..7).filter(|node| *node != off).collect();
        let cut = Fault::Cut { from: vec![off], to: others, both: chance.permille(700), flap_ms: 0 };
        add(&mut plan, at + chance.between(5, soon), chance.between(10_000, 15_000), cut);
    }
    plan
}

/// A node is down for good: another gets its place, or it is taken out. In the end it comes back with what it has.
pub fn dead(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 2);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let node = chance.below(5) as u8;
    let at = chance.between(4_000, 8_000);
    add(&mut plan, at, 100_000, Fault::Crash { node, power: chance.permille(500) });
    let others: Vec<u8> = (0..5).filter(|other| *other != node).collect();
    // With zones it has to be one of the same.
    let with = if node % plan.cluster.zones == 6 % plan.cluster.zones { 6 } else { 5 };
    let same = node % plan.cluster.zones == with % plan.cluster.zones;
    let what = if same && chance.permille(600) { Edit::Replace { node, with } } else { Edit::Remove { node } };
    edit(&mut plan, at + chance.between(6_000, 10_000), *chance.pick(&others), what);
    let crashes = *chance.pick(&others);
    add(
        &mut plan,
        at + chance.between(9_000, 25_000),
        chance.between(200, 6_000),
        Fault::Crash { node: crashes, power: true },
    );
    plan
}

/// One node leaves and another is removed while it is down; both start again afterwards, more than once: with what they
/// hold still for others, and with nothing.
pub fn left(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 1);
    plan.cluster.zones = 1;
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let pair = chance.some_of(5, 2);
    let (leaves, dies) = (pair[0], pair[1]);
    let others: Vec<u8> = (0..5).filter(|node| !pair.contains(node)).collect();
    edit(&mut plan, 4_000 + chance.below(2_000), others[0], Edit::Leave { node: leaves });
    let at = chance.between(14_000, 17_000);
    add(&mut plan, at, chance.between(14_000, 20_000), Fault::Crash { node: dies, power: chance.permille(500) });
    edit(&mut plan, at + chance.between(6_000, 7_000), others[1], Edit::Remove { node: dies });
    edit(&mut plan, 22_000, others[2], Edit::Join { node: 5 });
    // While a member is away nobody lets go of what it may lack.
    add(&mut plan, 33_000, chance.between(8_000, 14_000), Fault::Crash { node: others[0], power: true });
    let mut at = 36_500;
    while at < 56_000 {
        add(&mut plan, at, chance.between(100, 1_000), Fault::Crash { node: dies, power: chance.permille(300) });
        let power = chance.permille(300);
        add(&mut plan, at + chance.below(2_000), chance.between(100, 1_000), Fault::Crash { node: leaves, power });
        at += chance.between(2_500, 9_000);
    }
    plan
}

/// One node is down, and another comes with an empty disk, right after both took what nobody else heard of; the first is to be
/// removed. It comes back before anything is lost: the change has to wait for that.
pub fn refilled(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 0);
    plan.cluster.zones = 1;
    // Who is removed may take a fallback's hints with it: that is what removing means.
    plan.buckets = vec![BucketPlan::STRICT];
    fill(&mut plan, Mix { per_second: 6, get: 25, put: 20, blind: 30, update: 25, anywhere: 100, ..Mix::USUAL });
    let mut chance = faults(seed);
    let pair = chance.some_of(5, 2);
    let others: Vec<u8> = (0..5).filter(|node| !pair.contains(node)).collect();
    let (at, apart) = (chance.between(6_000, 10_000), chance.between(1_000, 3_000));
    let cut = Fault::Cut { from: pair.clone(), to: others.clone(), both: true, flap_ms: 0 };
    add(&mut plan, at, apart + 100, cut);
    let away = chance.between(18_000, 25_000);
    add(&mut plan, at + apart, away, Fault::Crash { node: pair[0], power: true });
    add(&mut plan, at + apart, chance.between(200, 2_000), Fault::Wipe { node: pair[1] });
    let asked = at + apart + chance.between(3_000, 8_000);
    edit(&mut plan, asked, *chance.pick(&others), Edit::Remove { node: pair[0] });
    plan
}

/// Three nodes, one of them down for good: the two that are left replace it.
pub fn three(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 50_000, 1);
    (plan.cluster.nodes, plan.cluster.zones) = (4, 1);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let node = chance.below(3) as u8;
    let at = chance.between(4_000, 8_000);
    add(&mut plan, at, 100_000, Fault::Crash { node, power: chance.permille(500) });
    edit(&mut plan, at + chance.between(6_000, 10_000), (node + 1) % 3, Edit::Replace { node, with: 3 });
    plan
}

/// Changes while nodes crash, stand still and are cut off.
pub fn troubled(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 2);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    edit(&mut plan, 5_000 + chance.below(5_000), chance.below(5) as u8, Edit::Join { node: 5 });
    let next = match chance.below(3) {
        0 => Edit::Cancel,
        1 => Edit::Leave { node: chance.below(5) as u8 },
        _ => Edit::Join { node: 6 },
    };
    edit(&mut plan, 12_000 + chance.below(20_000), chance.below(5) as u8, next);
    for _ in 0..chance.between(2, 6) {
        let node = chance.below(7) as u8;
        let (at, lasts) = (chance.between(5_000, 45_000), chance.between(50, 10_000));
        add(
            &mut plan,
            at,
            lasts,
            if chance.permille(400) {
                Fault::Pause { node }
            } else {
                Fault::Crash { node, power: chance.permille(500) }
            },
        );
    }
    super::network::cut_some(&mut plan, 3);
    plan
}

/// Disks without space and failing ones while the ring changes.
pub fn full_disks(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 2);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    edit(&mut plan, 5_000 + chance.below(5_000), chance.below(5) as u8, Edit::Join { node: 5 });
    edit(&mut plan, 20_000 + chance.below(10_000), chance.below(5) as u8, Edit::Join { node: 6 });
    for (number, node) in chance.some_of(7, 3).into_iter().enumerate() {
        let what = if chance.permille(500) { Fault::DiskFull { node } } else { Fault::DiskFailing { node } };
        let (at, lasts) = (chance.between(4_000, 35_000), chance.between(300, 12_000));
        add(&mut plan, at, lasts, what);
        if number == 0 {
            // Asked while it can keep no ballot of its own.
            edit(&mut plan, at + lasts / 2, node, Edit::Leave { node: chance.below(5) as u8 });
        }
    }
    plan
}

/// A member's disk is emptied while the ring changes.
pub fn wiped(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = with_spares(seed, shape, 60_000, 1);
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let at = chance.between(4_000, 20_000);
    edit(&mut plan, at, chance.below(5) as u8, Edit::Join { node: 5 });
    // The one that joins, too: what it had confirmed belongs to the life that it lost.
    let node = chance.below(6) as u8;
    add(&mut plan, (at + chance.below(12_000)).saturating_sub(4_000), chance.between(200, 8_000), Fault::Wipe { node });
    plan
}

/// Records are damaged behind the engines' backs. What no request meets is found by the scrub, which rests for an hour
/// after each pass.
pub fn bit_flips(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 30_000);
    // Several keys of a partition: a tree may know some of them.
    (plan.keys, plan.cluster.partitions) = (40, 8);
    plan.settle_ms = 4_500_000;
    fill(&mut plan, Mix::USUAL);
    let mut chance = faults(seed);
    let node = chance.below(5) as u8;
    for _ in 0..chance.between(1, 4) {
        let count = chance.between(1, 3) as u32;
        add(&mut plan, chance.between(12_000, 29_900), 1, Fault::BitFlips { node, count });
    }
    plan
}
