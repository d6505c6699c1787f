//! What clients do, and scenarios that are about that.

use crate::{
    chance::{Chance, For},
    fault::{Fault, TimedFault},
    plan::{BucketPlan, ClusterPlan, DurabilityPlan, NetworkPlan, OpKind, Plan, PlannedOp, collect_every_ms},
};

/// When clients begin, milliseconds: nodes know each other by then.
pub const BEGIN_MS: u32 = 2_000;

/// How much of what clients do.
#[derive(Clone, Copy)]
pub struct Mix {
    pub clients: u8,
    /// Operations of one client a second, on the average.
    pub per_second: u32,
    /// Of 100 operations.
    pub get: u32,
    pub put: u32,
    pub blind: u32,
    pub update: u32,
    /// Of 100 operations so many begin at any node, the others at a home.
    pub anywhere: u32,
}

impl Mix {
    /// The usual: half reads, a bit of everything. What is left of 100 are deletes.
    pub const USUAL: Self = Self { clients: 6, per_second: 4, get: 45, put: 12, blind: 12, update: 25, anywhere: 50 };
}

/// A cluster of five with three buckets, and no faults.
pub fn five(seed: u64, chance: &mut Chance, run_ms: u32) -> Plan {
    Plan {
        scenario: String::new(),
        seed,
        cluster: ClusterPlan {
            nodes: 5,
            spares: 0,
            zones: *chance.pick(&[1, 3, 5]),
            replication: 3,
            partitions: 16,
            durability: DurabilityPlan::Fsync,
            hints_bytes_max: 16 << 20,
            siblings_max: 60,
            collect_every_ms: collect_every_ms(),
            looks_every_ms: 0,
        },
        network: NetworkPlan {
            latency_us: chance.between(50, 1_000) as u32,
            jitter_us: chance.between(20, 2_000) as u32,
        },
        buckets: vec![BucketPlan::DEFAULT, BucketPlan::STRICT, BucketPlan::LATEST],
        keys: chance.between(6, 40) as u16,
        value_bytes: 16,
        run_ms,
        settle_ms: 90_000,
        clients: Vec::new(),
        faults: Vec::new(),
        edits: Vec::new(),
        tending: None,
    }
}

/// Gives a plan's clients something to do until its end.
pub fn fill(plan: &mut Plan, mix: Mix) {
    plan.clients = (0..mix.clients).map(|client| ops(plan, mix, client)).collect();
}

fn ops(plan: &Plan, mix: Mix, client: u8) -> Vec<PlannedOp> {
    let mut chance = Chance::new(plan.seed, For::Clients, client.into());
    let mean_ms = 1000 / mix.per_second.max(1);
    let mut ops = Vec::new();
    let mut at_ms = BEGIN_MS + chance.below(u64::from(mean_ms)) as u32;
    while at_ms < plan.run_ms {
        let what = match chance.below(100) as u32 {
            share if share < mix.get => OpKind::Get,
            share if share < mix.get + mix.put => OpKind::Put,
            share if share < mix.get + mix.put + mix.blind => OpKind::BlindPut,
            share if share < mix.get + mix.put + mix.blind + mix.update => OpKind::Update,
            _ => OpKind::Delete,
        };
        // The lower of two: some keys are hotter than others.
        let key = chance.below(plan.keys.into()).min(chance.below(plan.keys.into())) as u16;
        let anywhere = chance.below(100) < u64::from(mix.anywhere);
        let via = anywhere.then(|| chance.below(plan.cluster.nodes.into()) as u8);
        ops.push(PlannedOp { at_ms, key, what, via });
        at_ms += chance.between(1, u64::from(2 * mean_ms)) as u32;
    }
    ops
}

/// A stream for faults, apart from all else.
pub fn faults(seed: u64) -> Chance {
    Chance::new(seed, For::Faults, 0)
}

/// Adds a fault.
pub fn add(plan: &mut Plan, at_ms: u64, for_ms: u64, what: Fault) {
    plan.faults.push(TimedFault { at_ms: at_ms as u32, for_ms: for_ms as u32, what });
}

pub fn hot_keys(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 40_000);
    plan.keys = 3;
    plan.cluster.siblings_max = 12;
    fill(&mut plan, Mix { clients: 8, per_second: 5, get: 30, put: 20, blind: 25, update: 20, anywhere: 80 });
    super::nodes::crash_some(&mut plan, 2);
    super::network::cut_some(&mut plan, 2);
    plan
}

pub fn deletes(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 45_000);
    plan.keys = 8;
    fill(&mut plan, Mix { get: 25, put: 10, blind: 10, update: 20, ..Mix::USUAL });
    super::nodes::crash_some(&mut plan, 3);
    super::network::cut_some(&mut plan, 2);
    plan
}

/// The cluster is in two for long; either side writes, deletes what it has read, and never heard of the other's.
pub fn deletes_apart(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 150_000);
    plan.keys = 10;
    plan.buckets = vec![BucketPlan { w: Some(1), ..BucketPlan::DEFAULT }, BucketPlan::DEFAULT, BucketPlan::LATEST];
    fill(&mut plan, Mix { per_second: 2, get: 20, put: 10, blind: 15, update: 15, anywhere: 100, ..Mix::USUAL });
    let mut chance = faults(seed);
    let few = chance.between(1, 2) as usize;
    let (from, to) = super::network::two_sides(&mut chance, &plan, few);
    let (at, lasts) = (chance.between(5_000, 15_000), chance.between(90_000, 120_000));
    add(&mut plan, at, lasts, Fault::Cut { from, to, both: true, flap_ms: 0 });
    // Some of those who hold hints lose power before they could hand them over, and come back with them later.
    let node = chance.below(5) as u8;
    add(
        &mut plan,
        at + chance.between(1_000, lasts),
        chance.between(1_000, 20_000),
        Fault::Crash { node, power: true },
    );
    plan
}

pub fn sets(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 45_000);
    plan.keys = 10;
    plan.buckets = vec![BucketPlan::DEFAULT, BucketPlan::STRICT];
    fill(&mut plan, Mix { clients: 10, per_second: 3, get: 10, put: 0, blind: 0, update: 90, anywhere: 60 });
    super::nodes::crash_some(&mut plan, 3);
    super::network::cut_some(&mut plan, 3);
    plan
}

/// Short absences of one home after the other, so that the same fallbacks mint for the same keys again and again.
pub fn forgetful(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 60_000);
    plan.keys = 6;
    plan.buckets = vec![BucketPlan { w: Some(1), ..BucketPlan::DEFAULT }, BucketPlan::DEFAULT];
    fill(&mut plan, Mix { get: 20, put: 15, blind: 35, update: 25, anywhere: 100, ..Mix::USUAL });
    let mut chance = faults(seed);
    let mut at = 4_000;
    while at + 8_000 < u64::from(plan.run_ms) {
        let lasts = chance.between(1_500, 3_500);
        for node in chance.some_of(5, 3) {
            add(&mut plan, at, lasts, Fault::Crash { node, power: false });
        }
        at += lasts + chance.between(4_000, 8_000);
    }
    plan
}

/// W = 1, so that a hint may be the only copy; and its home loses power again while it takes it.
pub fn flapping_homes(seed: u64, shape: &mut Chance) -> Plan {
    let mut plan = five(seed, shape, 60_000);
    plan.keys = 12;
    plan.buckets = vec![BucketPlan { w: Some(1), ..BucketPlan::DEFAULT }];
    fill(&mut plan, Mix { per_second: 6, get: 15, put: 20, blind: 35, update: 25, anywhere: 100, ..Mix::USUAL });
    let mut chance = faults(seed);
    for node in 0..5 {
        let times = chance.between(50, 200) as u32;
        add(&mut plan, 2_500, 60_000, Fault::DiskSlow { node, times });
    }
    let mut at = 4_000;
    while at + 8_000 < u64::from(plan.run_ms) {
        let away = chance.between(1_500, 4_000);
        let back = chance.between(60, 700);
        for node in chance.some_of(5, 4) {
            add(&mut plan, at, away, Fault::Crash { node, power: true });
            add(&mut plan, at + away + back, 1_000, Fault::Crash { node, power: true });
        }
        at += away + back + chance.between(3_000, 6_000);
    }
    plan
}
