//! Two clusters of a namespace whose objects would have the same names: no rule of the definition can see two resources.

use dynamo_crd::{DynamoCluster, names};
use kube::ResourceExt;

use crate::render::ZonePlace;

/// What keeps a cluster from being tended: the other one was there first. (That one is not disturbed by it.)
pub fn with_an_older(
    cluster: &DynamoCluster,
    zones: &[ZonePlace],
    others: impl Iterator<Item = impl AsRef<DynamoCluster>>,
) -> Option<names::Clash> {
    let zones: Vec<&str> = zones.iter().map(|zone| zone.name.as_str()).collect();
    let name = cluster.name_any();
    others.into_iter().find_map(|other| {
        let other = other.as_ref();
        let is_older = age(other) < age(cluster);
        is_older.then(|| names::clash(&name, &zones, &other.name_any(), &zones_of(other)))?
    })
}

/// By when they were made; of two made in one second by their names.
fn age(cluster: &DynamoCluster) -> (Option<i64>, String) {
    (cluster.creation_timestamp().map(|time| time.0.as_second()), cluster.name_any())
}

/// The zones that it names, or those that were found for it.
fn zones_of(cluster: &DynamoCluster) -> Vec<&str> {
    let named = cluster.spec.zones.iter().map(|zone| zone.name.as_str());
    let found = cluster.status.iter().flat_map(|status| &status.zones).map(|zone| zone.name.as_str());
    named.chain(found).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dynamo_crd::{DynamoClusterSpec, Zone};
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;

    fn made(name: &str, zone: &str, at: i64) -> Arc<DynamoCluster> {
        let spec = DynamoClusterSpec { zones: vec![Zone::named(zone)], ..DynamoClusterSpec::default() };
        let mut cluster = DynamoCluster::new(name, spec);
        cluster.metadata.creation_timestamp = Some(Time(Timestamp::from_second(at).unwrap()));
        Arc::new(cluster)
    }

    fn place(name: &str) -> ZonePlace {
        ZonePlace { name: name.to_owned(), label_value: None, weight: 1, storage_bytes: 1, storage_class: None }
    }

    #[test]
    fn the_younger_of_two_that_want_one_name_is_told_and_the_older_is_not() {
        let (older, younger) = (made("a", "b-c", 1), made("a-b", "c", 2));
        let both = || [older.clone(), younger.clone()].into_iter();
        let told = with_an_older(&younger, &[place("c")], both()).unwrap();
        assert_eq!((told.object.1.as_str(), told.other.as_str()), ("a-b-c", "a"));
        assert_eq!(with_an_older(&older, &[place("b-c")], both()), None);
        let apart = made("a-b", "d", 2);
        assert_eq!(with_an_older(&apart, &[place("d")], [older.clone()].into_iter()), None);
    }
}
