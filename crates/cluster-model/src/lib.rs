//! A cluster of Kubernetes with one store in it, its operators, and whatever befalls them, from one seed.
//!
//! Where things are: `kube` objects and who tends them, `sets` StatefulSets and their controller, `writes` what a write does with its preconditions,
//! `leader` operators that see what is old, die at any write, and are two at once, `trouble` what befalls them, `judge` what must
//! hold whatever happens, `bad` operators that it is to catch. The store's nodes are whoever implements [`Store`]: a model of them in the planner's tests, the nodes
//! themselves in the simulator.
//!
//! What it does not do: certificates, Services and all else that needs no decision; more than one store.

#![forbid(unsafe_code)]

mod bad;
mod chance;
mod judge;
mod kube;
mod leader;
mod sets;
mod store;
mod trouble;
mod writes;

use std::collections::BTreeMap;

use dynamo_planner::{Action, HostView, Maintenance, PodId, Reclaim, StorageWanted, Wanted, ZoneWanted, plan};

pub use bad::Bad;
pub use chance::Chance;
pub use kube::{Claim, Done, Kube, Pod};
pub use leader::Leader;
pub use sets::{Set, SetStatus};
pub use store::{Asked, Harm, Store, Told};

/// Whether operators die, sleep, see what is old and meet conflicts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// They do.
    pub rough: bool,
    /// Until then; 0: until it is said otherwise.
    pub until: u64,
}

impl Weather {
    fn percent_now(self, chance: &mut Chance) -> bool {
        self.rough && chance.percent(5)
    }
}

/// A cluster of Kubernetes with one store in it.
pub struct World<S> {
    /// Where all chance comes from.
    pub seed: u64,
    /// Seconds.
    pub now: u64,
    /// What is drawn.
    pub chance: Chance,
    /// How operators fare.
    pub weather: Weather,
    /// The spec.
    pub wanted: Wanted,
    /// Kubernetes' objects.
    pub kube: Kube,
    /// The store's nodes.
    pub nodes: S,
    /// The operators.
    pub leaders: Vec<Leader>,
    /// Writes that were carried out.
    pub writes: u64,
    /// What was written in the last second, and whether it was taken.
    pub carried: Vec<(Action, bool)>,
    /// What the operators take for so that is not.
    pub bad: Option<Bad>,
    /// How often an operator died.
    pub deaths: u64,
    /// What was written, and what befell.
    pub log: Vec<String>,
    /// Since when nodes are down that nobody stopped on purpose.
    pub fell: BTreeMap<PodId, u64>,
    /// Since when nodes are up.
    pub up_since: BTreeMap<PodId, u64>,
    /// What the nodes' configuration said before its last change.
    pub retired_before: BTreeMap<PodId, u64>,
    /// Pods whose process does not come up before.
    pub held: BTreeMap<PodId, u64>,
}

/// Zones of one letter each.
pub fn zones(names: &str) -> Vec<ZoneWanted> {
    names.chars().map(|name| ZoneWanted { name: name.to_string(), weight: 1, storage_bytes: None }).collect()
}

/// So many nodes, of which each key is on `n`.
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

impl<S: Store> World<S> {
    /// Machines in zones, three each, and so many operators.
    pub fn new(seed: u64, wanted: Wanted, zones: &str, operators: usize) -> Self {
        let mut kube = Kube::default();
        for zone in zones.chars() {
            for number in 0..3 {
                let host = HostView { zone: Some(zone.to_string()), out_of_service: false };
                kube.hosts.insert(format!("{zone}{number}"), host);
            }
        }
        let nodes = S::new(wanted.n);
        let leaders = (0..operators).map(|_| Leader::new(wanted.clone())).collect();
        let (chance, weather) = (Chance(seed), Weather::default());
        let (writes, carried, bad, deaths, log, fell, up_since, held, retired_before) = Default::default();
        let mut world = Self {
            seed,
            now: 1,
            chance,
            weather,
            wanted,
            kube,
            nodes,
            leaders,
            writes,
            carried,
            bad,
            deaths,
            log,
            fell,
            up_since,
            held,
            retired_before,
        };
        (0..operators).for_each(|at| world.refresh(at));
        world
    }

    /// One second.
    pub fn step(&mut self) {
        self.now += 1;
        self.carried.clear();
        if self.weather.until > 0 && self.now >= self.weather.until {
            self.weather = Weather::default();
        }
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
        for (pod, view) in &mut self.kube.pods {
            view.ready &= self.nodes.is_up(pod);
        }
        self.up_since.retain(|pod, _| self.nodes.is_up(pod));
        for pod in self.kube.pods.keys().filter(|pod| self.nodes.is_up(pod)) {
            self.up_since.entry(pod.clone()).or_insert(self.now);
        }
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
            self.kube.pods.get_mut(pod).expect("it started").comes_up();
        }
    }

    /// So many seconds.
    pub fn run(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.step());
    }

    /// Runs until everything is as it is wanted.
    ///
    /// # Panics
    /// It is not in time.
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
    ///
    /// # Panics
    /// Something is.
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
