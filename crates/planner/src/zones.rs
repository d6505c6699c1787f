//! The zones, and how many nodes each has.

use std::collections::BTreeSet;

use crate::{
    action::{Action, Plan},
    founding,
    names::PodId,
    observed::Observed,
    wanted::{Wanted, ZoneWanted},
    why::Why,
};

/// What the cluster is to look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The cluster's name.
    pub cluster: String,
    /// The zones that have nodes.
    pub zones: Vec<Zone>,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Its StatefulSet.
    pub set: String,
    /// The weight of each node.
    pub weight: u32,
    /// How many nodes.
    pub count: u32,
    /// The size of each volume.
    pub storage_bytes: u64,
}

impl Shape {
    /// The zone of a StatefulSet; None: it is no zone of the cluster any more.
    pub fn zone(&self, set: &str) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.set == set)
    }

    /// How many pods a StatefulSet is to have.
    pub fn count(&self, set: &str) -> u32 {
        self.zone(set).map_or(0, |zone| zone.count)
    }

    /// Whether a pod is to be there. Each zone keeps its lowest numbers: that is what a StatefulSet can do.
    pub fn wants(&self, pod: &PodId) -> bool {
        pod.ordinal < self.count(&pod.set)
    }

    /// All StatefulSets, those of the zones first and then those that are left of others.
    pub fn sets(&self, observed: &Observed) -> Vec<String> {
        let mut sets: Vec<String> = self.zones.iter().map(|zone| zone.set.clone()).collect();
        let mut others: BTreeSet<&String> = observed.sets.keys().collect();
        others.extend(observed.pods.keys().map(|pod| &pod.set));
        others.extend(observed.claims.keys().map(|pod| &pod.set));
        others.extend(observed.ring.iter().flat_map(|ring| ring.members.keys()).map(|pod| &pod.set));
        let founders = founding::unborn(observed).map(|zone| set_of(&self.cluster, zone)).collect::<Vec<_>>();
        others.extend(&founders);
        for set in others {
            if !sets.contains(set) {
                sets.push(set.clone());
            }
        }
        sets
    }
}

/// Decides on the zones. None: there are none yet.
pub fn decide(wanted: &Wanted, observed: &Observed, plan: &mut Plan) -> Option<Shape> {
    let named = match &wanted.zones {
        Some(zones) => zones.clone(),
        None => {
            discovered(observed).into_iter().map(|name| ZoneWanted { name, weight: 1, storage_bytes: None }).collect()
        }
    };
    if named.is_empty() {
        plan.wait(Why::NoZone);
        return None;
    }
    let names: Vec<String> = named.iter().map(|zone| zone.name.clone()).collect();
    tell(wanted, observed, &names, plan);
    if observed.recorded_zones != names {
        plan.act(Action::RecordZones(names));
    }
    let share = |at: usize| {
        let (at, zones) = (at as u32, named.len() as u32);
        wanted.replicas / zones + u32::from(at < wanted.replicas % zones)
    };
    let zone = |(at, zone): (usize, &ZoneWanted)| Zone {
        set: set_of(&wanted.cluster, &zone.name),
        name: zone.name.clone(),
        weight: zone.weight,
        count: share(at),
        storage_bytes: zone.storage_bytes.unwrap_or(wanted.storage.size_bytes),
    };
    Some(Shape { cluster: wanted.cluster.clone(), zones: named.iter().enumerate().map(zone).collect() })
}

/// The name of a zone's StatefulSet.
fn set_of(cluster: &str, zone: &str) -> String {
    format!("{cluster}-{zone}")
}

/// The zones where the spec names none: as they were recorded, or else as the StatefulSets or the first ring have them; only
/// a cluster that is not founded yet looks at the machines.
fn discovered(observed: &Observed) -> Vec<String> {
    if !observed.recorded_zones.is_empty() {
        return observed.recorded_zones.clone();
    }
    let sets: BTreeSet<String> = observed.sets.values().map(|set| set.zone.clone()).collect();
    if !sets.is_empty() {
        return sets.into_iter().collect();
    }
    match &observed.founders {
        Some(founders) => founders.zones.keys().cloned().collect(),
        None => of_hosts(observed).into_iter().collect(),
    }
}

fn of_hosts(observed: &Observed) -> BTreeSet<String> {
    observed.hosts.iter().flat_map(|hosts| hosts.values()).filter_map(|host| host.zone.clone()).collect()
}

fn tell(wanted: &Wanted, observed: &Observed, names: &[String], plan: &mut Plan) {
    if observed.hosts.is_none() {
        return;
    }
    let there = of_hosts(observed);
    for zone in names.iter().filter(|name| !there.contains(*name)) {
        plan.wait(Why::NoHostIn { zone: zone.clone() });
    }
    if wanted.zones.is_none() {
        for zone in there.into_iter().filter(|zone| !names.contains(zone)) {
            plan.wait(Why::NewZone { zone });
        }
    }
}
