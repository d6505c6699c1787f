//! A cluster of Kubernetes with one store in it, its operators, and whatever befalls them, from one seed.

#![allow(dead_code, reason = "each test file uses its part")]

mod chance;
mod judge;
mod kube;
mod leader;
mod nodes;
mod trouble;
mod writes;

use std::collections::BTreeMap;

use dynamo_planner::{HostView, Maintenance, PodId, Reclaim, StorageWanted, Wanted, ZoneWanted, plan};

use chance::Chance;
use kube::Kube;
use leader::Leader;
use nodes::Nodes;

/// Whether operators die, sleep, see what is old and meet conflicts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub rough: bool,
}

impl Weather {
    fn percent_now(self, chance: &mut Chance) -> bool {
        self.rough && chance.percent(5)
    }
}

pub struct World {
    pub seed: u64,
    pub now: u64,
    pub chance: Chance,
    pub weather: Weather,
    pub wanted: Wanted,
    pub kube: Kube,
    pub nodes: Nodes,
    pub leaders: Vec<Leader>,
    pub writes: u64,
    pub log: Vec<String>,
    /// Since when nodes are down that nobody stopped on purpose.
    pub fell: BTreeMap<PodId, u64>,
    /// What the nodes' configuration said before its last change.
    pub retired_before: BTreeMap<PodId, u64>,
    /// Pods whose process does not come up before.
    pub held: BTreeMap<PodId, u64>,
}

pub fn zones(names: &str) -> Vec<ZoneWanted> {
    names.chars().map(|name| ZoneWanted { name: name.to_string(), weight: 1, storage_bytes: None }).collect()
}

pub fn wanted(replicas: u32, n: u32) -> Wanted {
    Wanted {
        cluster: "c".to_owned(),
        replicas,
        zones: None,
        n,
        template: "one".to_owned(),
        storage: StorageWanted { size_bytes: 1, on_scale_down: Reclaim::Delete },
        maintenance: Maintenance::default(),
        replace_after_s: 30,
    }
}

impl World {
    /// Machines in zones, three each, and so many operators.
    pub fn new(seed: u64, wanted: Wanted, zones: &str, operators: usize) -> World {
        let mut kube = Kube::default();
        for zone in zones.chars() {
            for number in 0..3 {
                let host = HostView { zone: Some(zone.to_string()), out_of_service: false };
                kube.hosts.insert(format!("{zone}{number}"), host);
            }
        }
        let nodes = Nodes { n: wanted.n, ..Nodes::default() };
        let leaders = (0..operators).map(|_| Leader::new(wanted.clone())).collect();
        let (chance, weather) = (Chance(seed), Weather::default());
        let (writes, log, fell, held, retired_before) = Default::default();
        let mut world = World {
            seed,
            now: 1,
            chance,
            weather,
            wanted,
            kube,
            nodes,
            leaders,
            writes,
            log,
            fell,
            held,
            retired_before,
        };
        (0..operators).for_each(|at| world.refresh(at));
        world
    }

    /// One second.
    pub fn step(&mut self) {
        self.now += 1;
        for at in 0..self.leaders.len() {
            if !self.weather.rough || self.chance.percent(70) {
                self.lead(at);
            }
        }
        let done = self.kube.step(self.now, &mut self.chance);
        for pod in &done.deleted {
            self.judge_disruption(pod);
            self.nodes.stop(pod, self.now);
        }
        for pod in done.started {
            self.start(&pod);
        }
        self.nodes.step(self.now, &mut self.chance);
        self.judge_data();
    }

    fn start(&mut self, pod: &PodId) {
        if self.held.get(pod).is_some_and(|until| *until > self.now) {
            return;
        }
        let Some(disk) = self.kube.claims.get(pod).map(|claim| claim.uid.clone()) else { return };
        // The kubelet may still mount what the configuration was before.
        let late = self.weather.rough && self.chance.percent(50);
        let told = if late { &self.retired_before } else { &self.kube.retired };
        let retired = told.get(pod).copied();
        if self.nodes.start(pod, &disk, retired, self.now) {
            self.kube.pods.get_mut(pod).expect("it started").ready = true;
        }
    }

    pub fn run(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.step());
    }

    /// Runs until everything is as it is wanted.
    pub fn settle(&mut self, within: u64) {
        for _ in 0..within {
            if self.is_settled().is_ok() {
                return;
            }
            self.step();
        }
        let why = self.is_settled().unwrap_err();
        let observed = self.observe(0);
        let waits = plan(&self.wanted, &observed, &self.leaders[0].memory).waits;
        let last = self.log.len().saturating_sub(40);
        let told = self.log[last..].join("\n");
        panic!(
            "seed {}: not settled after {within} s: {why}\nwaits: {waits:?}\nturn {:?}\n{told}",
            self.seed, self.kube.turn
        );
    }

    /// Nothing is written any more.
    pub fn stays_settled(&mut self) {
        self.run(60);
        let before = self.writes;
        self.run(600);
        let last = self.log.len().saturating_sub(10);
        assert_eq!(
            self.writes,
            before,
            "seed {}: writes in a settled cluster:\n{}",
            self.seed,
            self.log[last..].join("\n")
        );
    }
}
