//! The zones as they were decided: those of the spec, or else those that were recorded, or that the objects tell, or at the very
//! first those that the machines have. The planner decides the same by the same order; here is where each of them is.

use std::collections::BTreeMap;

use dynamo_crd::{
    DynamoCluster, Zone,
    names::{LABEL_NODE_ZONE, dns_safe},
    quantity::QuantityError,
};
use dynamo_planner::{HostView, Observed};
use k8s_openapi::api::apps::v1::StatefulSet;

use crate::render::ZonePlace;

/// Finds out where zones are.
pub struct Places<'a> {
    /// The resource.
    pub cluster: &'a DynamoCluster,
    /// Its StatefulSets.
    pub sets: &'a BTreeMap<String, std::sync::Arc<StatefulSet>>,
    /// The labels of machines, by the zone's name; as far as they are to be seen.
    pub labels: BTreeMap<String, String>,
}

impl Places<'_> {
    /// The cluster's zones, in the order in which they are filled.
    ///
    /// # Errors
    /// A size in the spec is none.
    pub fn zones(&self, observed: &Observed) -> Result<Vec<ZonePlace>, QuantityError> {
        let named = &self.cluster.spec.zones;
        if !named.is_empty() {
            return named.iter().map(|zone| self.as_named(zone)).collect();
        }
        let mut names = observed.recorded_zones.clone();
        if names.is_empty() {
            names = observed.sets.values().map(|set| set.zone.clone()).collect();
            names.sort_unstable();
        }
        if names.is_empty() {
            let founders = observed.founders.iter();
            names = founders.flat_map(|founders| founders.zones.keys().cloned()).collect();
        }
        if names.is_empty() && observed.founders.is_none() {
            let hosts = observed.hosts.iter().flat_map(BTreeMap::values);
            names = hosts.filter_map(|host| host.zone.clone()).collect();
            names.sort_unstable();
        }
        names.dedup();
        names.iter().map(|name| self.place(name)).collect()
    }

    /// Where a zone is of which there is nothing but the name.
    ///
    /// # Errors
    /// A size in the spec is none.
    pub fn place(&self, name: &str) -> Result<ZonePlace, QuantityError> {
        let mut place = self.as_named(&Zone::named(name))?;
        place.label_value = self.label_value(name);
        Ok(place)
    }

    fn as_named(&self, zone: &Zone) -> Result<ZonePlace, QuantityError> {
        let spec = &self.cluster.spec;
        Ok(ZonePlace {
            name: dns_safe(&zone.name),
            label_value: zone.label_value().map(str::to_owned),
            weight: zone.weight,
            storage_bytes: spec.volume_bytes(zone)?,
            storage_class: spec.storage_class(zone).map(str::to_owned),
        })
    }

    fn label_value(&self, name: &str) -> Option<String> {
        let recorded = self.cluster.status.iter().flat_map(|status| &status.zones).find(|zone| zone.name == name);
        if let Some(zone) = recorded {
            return Some(zone.node_label_value.clone()).filter(|value| !value.is_empty());
        }
        let set = self.sets.values().find(|set| {
            set.metadata.labels.as_ref().and_then(|labels| labels.get(dynamo_crd::names::LABEL_ZONE))
                == Some(&name.to_owned())
        });
        match set {
            Some(set) => label_of(set),
            None => Some(self.labels.get(name).cloned().unwrap_or_else(|| name.to_owned())),
        }
    }
}

/// What a StatefulSet's pods ask of their machines' zone label.
fn label_of(set: &StatefulSet) -> Option<String> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    let affinity = pod.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let rules = terms.iter().flat_map(|term| term.match_expressions.iter().flatten());
    rules.into_iter().find(|rule| rule.key == LABEL_NODE_ZONE)?.values.as_ref()?.first().cloned()
}

/// Machines, each in the zone whose label it carries. A zone that is wherever there is room has a machine that stands for any.
pub fn hosts(mut hosts: BTreeMap<String, HostView>, cluster: &DynamoCluster) -> BTreeMap<String, HostView> {
    let called: BTreeMap<String, String> = cluster
        .spec
        .zones
        .iter()
        .filter_map(|zone| Some((dns_safe(zone.label_value()?), dns_safe(&zone.name))))
        .collect();
    for host in hosts.values_mut() {
        if let Some(name) = host.zone.as_ref().and_then(|zone| called.get(zone)) {
            host.zone = Some(name.clone());
        }
    }
    if !hosts.is_empty() {
        for zone in cluster.spec.zones.iter().filter(|zone| zone.label_value().is_none()) {
            // No machine is called like this.
            let any = HostView { zone: Some(dns_safe(&zone.name)), out_of_service: false };
            hosts.insert(format!("(any machine for {})", zone.name), any);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use dynamo_crd::DynamoClusterSpec;

    use super::*;

    fn cluster(zones: Vec<Zone>) -> DynamoCluster {
        DynamoCluster::new("c", DynamoClusterSpec { zones, ..DynamoClusterSpec::default() })
    }

    fn host(zone: &str) -> HostView {
        HostView { zone: Some(dns_safe(zone)), out_of_service: false }
    }

    #[test]
    fn machines_stand_in_the_zone_that_asks_for_their_label() {
        let mut east = Zone::named("east");
        east.node_label_value = Some("EU_1".into());
        let found = hosts([("one".to_owned(), host("EU_1"))].into(), &cluster(vec![east]));
        assert_eq!(found["one"].zone.as_deref(), Some("east"));
    }

    #[test]
    fn a_zone_without_a_label_has_a_machine_wherever_there_is_one() {
        let mut any = Zone::named("a");
        any.node_label_value = Some(String::new());
        let spec = cluster(vec![any]);
        let found = hosts([("one".to_owned(), HostView::default())].into(), &spec);
        assert!(found.values().any(|host| host.zone.as_deref() == Some("a")));
        assert!(hosts(BTreeMap::new(), &spec).is_empty());
    }

    #[test]
    fn zones_are_those_of_the_machines_at_the_founding_and_the_recorded_ones_from_then_on() {
        let (spec, sets) = (cluster(vec![]), BTreeMap::new());
        let labels = [("b".to_owned(), "b".to_owned()), (dns_safe("EU_1"), "EU_1".to_owned())].into();
        let places = Places { cluster: &spec, sets: &sets, labels };
        let hosts = [("one".to_owned(), host("b")), ("two".to_owned(), host("EU_1")), ("three".to_owned(), host("b"))];
        let mut observed = Observed { hosts: Some(hosts.into()), ..Observed::default() };
        let found = places.zones(&observed).unwrap();
        let names: Vec<_> = found.iter().map(|place| (place.name.clone(), place.label_value.clone())).collect();
        assert_eq!(names, [("b".into(), Some("b".into())), (dns_safe("EU_1"), Some("EU_1".into()))]);
        observed.recorded_zones = vec!["b".to_owned()];
        assert_eq!(places.zones(&observed).unwrap().len(), 1);
    }
}
