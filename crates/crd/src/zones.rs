//! Where the nodes stand.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{ZoneStorage, rules};

/// A zone: its nodes fail together, so a key's replicas stand in different ones. It has a StatefulSet of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::ZONE_NAME)]
pub struct Zone {
    /// The zone's name, which is part of its pods' names: 1 to 23 characters a-z, 0-9 and -, no - at either end.
    /// A zone that is called differently is another zone: the old one's nodes leave, the new one's join.
    #[schemars(length(min = 1, max = 23))]
    pub name: String,
    /// What the label `topology.kubernetes.io/zone` of the zone's Kubernetes nodes says; its pods run on those only.
    /// Default: the zone's name. Empty: its pods run on any Kubernetes node, which is for development, where zones are
    /// only played. Fixed once the zone is there, since its volumes are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub node_label_value: Option<String>,
    /// The share of the load that each node of this zone takes, against those of other zones: one with 2 holds twice as
    /// much as one with 1. 1 to 1000, default 1. When it changes, data moves until the load is as wanted.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// Volumes of this zone that differ from the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<ZoneStorage>,
}

fn one() -> u32 {
    1
}

impl Zone {
    /// A zone of this name, and nothing special about it.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), node_label_value: None, weight: one(), storage: None }
    }

    /// What the label of its Kubernetes nodes says; nothing: any of them will do.
    pub fn label_value(&self) -> Option<&str> {
        let value = self.node_label_value.as_deref().unwrap_or(&self.name);
        (!value.is_empty()).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_where_it_is_called_unless_it_says_otherwise() {
        let zone = |value: Option<&str>| Zone { node_label_value: value.map(str::to_owned), ..Zone::named("a") };
        assert_eq!(zone(None).label_value(), Some("a"));
        assert_eq!(zone(Some("b")).label_value(), Some("b"));
        assert_eq!(zone(Some("")).label_value(), None);
    }
}
