//! What the planner does to random clusters, in figures: how much more than the least it moves, how many walks skip, how far
//! nodes are off their fair shares, and how long it takes.
//!
//! `cargo run --release -p dynamo-ring --example planner_figures [clusters [first seed [all]]]`

#![allow(clippy::disallowed_methods, reason = "a program that takes the time")]

use std::{collections::BTreeMap, time::Instant};

use dynamo_ring::{
    Member, NodeId, PartitionCount, Ring,
    planner::{self, Plan},
};

/// Numbers that look random (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ bits >> 31) % bound
    }
}

/// A cluster that changes by chance.
struct Cluster {
    chance: Chance,
    zones: u64,
    even: bool,
    next: u64,
    members: Vec<Member>,
    n: u8,
    partitions: PartitionCount,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let (zones, n) = (1 + chance.below(7), 1 + chance.below(5) as u8);
        let most = [8, 40, 200][chance.below(3) as usize];
        let nodes = 1 + chance.below(most);
        let count = (4 * nodes).max(8).next_power_of_two() << chance.below(4);
        let partitions = PartitionCount::try_from(count.min(8192) as u32).expect("a power of two");
        let even = chance.below(3) == 0;
        let mut cluster = Self { chance, zones, even, next: 0, members: vec![], n, partitions };
        (0..nodes).for_each(|_| cluster.join());
        cluster
    }

    fn weight(&mut self) -> u32 {
        if self.even { 1 } else { 1 + self.chance.below(8) as u32 }
    }

    fn join(&mut self) {
        let name = format!("node-{}", self.next);
        self.next += 1;
        let (one, other) = (self.chance.below(self.zones), self.chance.below(self.zones));
        let zone = format!("zone-{}", if self.even { one } else { one.min(other) });
        let weight = self.weight();
        self.members.push(Member { id: NodeId::initial("blue", &name), name, zone, weight });
    }

    /// One join, leave or new weight.
    fn change(&mut self) {
        let nodes = self.members.len() as u64;
        let some = self.chance.below(nodes) as usize;
        match self.chance.below(3) {
            0 if nodes < 200 && 4 * nodes < u64::from(self.partitions.get()) => self.join(),
            1 if nodes > 1 => drop(self.members.remove(some)),
            _ => self.members[some].weight = self.weight(),
        }
    }

    fn kind(&self) -> String {
        let mut zones: Vec<&str> = self.members.iter().map(|member| member.zone.as_str()).collect();
        zones.sort_unstable();
        zones.dedup();
        let few = if self.members.len() < 8 { ", few nodes" } else { "" };
        match zones.len() {
            1 => format!("one zone{few}"),
            zones if zones < self.n.into() => format!("zones < N{few}"),
            zones if zones == usize::from(self.n) => format!("zones = N{few}"),
            _ => format!("zones > N{few}"),
        }
    }
}

#[derive(Default)]
struct Figures {
    /// Replicas moved over the least possible.
    moved: Vec<f64>,
    skips: Vec<f64>,
    /// The node that is furthest off, over N.
    off: Vec<f64>,
    seconds: Vec<f64>,
}

impl Figures {
    fn add(&mut self, plan: &Plan, n: u8, seconds: f64) {
        let token = usize::from(n).min(plan.replicas_moved);
        self.moved.push((plan.replicas_moved - token) as f64 / plan.replicas_least.max(1) as f64);
        self.skips.push(plan.skips_after.saturating_sub(plan.skips_before) as f64);
        let off = plan.nodes.iter().map(|node| (node.after.replicas as f64 - node.after.fair).abs());
        self.off.push(off.fold(0.0, f64::max) / f64::from(n));
        self.seconds.push(seconds);
    }

    fn print(mut self, kind: &str) {
        let mut columns = String::new();
        for figures in [&mut self.moved, &mut self.skips, &mut self.off, &mut self.seconds] {
            figures.sort_by(f64::total_cmp);
            let at = |per_cent: usize| figures[(figures.len() - 1) * per_cent / 100];
            columns += &format!(" | {:7.2} {:7.2} {:7.2}", at(50), at(95), at(100));
        }
        println!("{kind:36} {:6}{columns}", self.moved.len());
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().expect("a number"));
    let clusters = arguments.next().unwrap_or(50);
    let first = arguments.next().unwrap_or(0);
    let all = arguments.next().is_some();
    largest();
    let mut kinds: BTreeMap<String, Figures> = BTreeMap::new();
    for seed in first..first + clusters {
        let mut cluster = Cluster::new(seed);
        let mut ring = Ring::bootstrap(cluster.n, cluster.partitions, cluster.members.clone()).expect("a ring");
        for step in 0..30 {
            let before = cluster.kind();
            let changes = if cluster.chance.below(4) == 0 { 1 + cluster.chance.below(4) } else { 1 };
            (0..changes).for_each(|_| cluster.change());
            let after = cluster.kind();
            let start = Instant::now();
            let plan = planner::plan(&ring, &cluster.members).expect("members that make a ring");
            let seconds = start.elapsed().as_secs_f64();
            ring = plan.ring();
            if all {
                println!(
                    "seed {seed} step {step}: N {} Q {} {before} -> {after}, {} nodes: moved {} of {} skips {} -> {} {seconds:.3} s",
                    cluster.n,
                    cluster.partitions.get(),
                    cluster.members.len(),
                    plan.replicas_moved,
                    plan.replicas_least,
                    plan.skips_before,
                    plan.skips_after
                );
            }
            let kind = if before == after { after } else { format!("{before} -> {after}") };
            kinds.entry(kind).or_default().add(&plan, cluster.n, seconds);
        }
    }
    println!(
        "{:36} {:>6} | {:23} | {:23} | {:23} | {:23}",
        "", "plans", "moved / least", "more skips", "off / N", "seconds"
    );
    println!("{:43}{}", "", " |     50%     95%     all".repeat(4));
    kinds.into_iter().for_each(|(kind, figures)| figures.print(&kind));
}

/// How long the largest clusters take.
fn largest() {
    for (zones, n) in [(1, 3), (2, 3), (3, 3), (4, 3), (7, 3), (3, 5), (7, 5)] {
        let member = |index: usize| {
            let name = format!("node-{index}");
            let (zone, weight) = (format!("zone-{}", index % zones), 1 + index as u32 * 7 % 8);
            Member { id: NodeId::initial("blue", &name), name, zone, weight }
        };
        let partitions = PartitionCount::try_from(8192).expect("a power of two");
        let mut members: Vec<Member> = (0..200).map(member).collect();
        let start = Instant::now();
        let ring = Ring::bootstrap(n, partitions, members.clone()).expect("a ring");
        let first = start.elapsed();
        members.remove(17);
        members.push(member(200));
        let start = Instant::now();
        let plan = planner::plan(&ring, &members).expect("members that make a ring");
        let planned = start.elapsed();
        let halved: Vec<Member> = members[..100].to_vec();
        let start = Instant::now();
        let half = planner::plan(&ring, &halved).expect("members that make a ring");
        let halved = start.elapsed();
        let start = Instant::now();
        let steps = planner::steps(&half, 64);
        println!(
            "200 nodes, Q = 8192, {zones} zones, N = {n}: first ring {first:.3?}; one leaves, one joins {planned:.3?}, moves {} \
             of at least {}; half leave {halved:.3?}, moves {} of {}, in {} steps {:.3?}",
            plan.replicas_moved,
            plan.replicas_least,
            half.replicas_moved,
            half.replicas_least,
            steps.len(),
            start.elapsed(),
        );
    }
}
