//! What the resource asks for, as far as the planner decides anything by it.

use std::collections::BTreeMap;

use dynamo_crd::{ReclaimPolicy, names::dns_safe, quantity};
use dynamo_planner::{Maintenance, PodId, Reclaim, StorageWanted, Wanted, ZoneWanted};
use kube::ResourceExt;

use crate::{
    observe::ObserveError,
    render::{Basis, template},
};

/// Of a resource.
///
/// # Errors
/// A size in it is none.
pub fn wanted(basis: &Basis<'_>) -> Result<Wanted, ObserveError> {
    let spec = &basis.cluster.spec;
    let mut zones = Vec::new();
    for zone in &spec.zones {
        let storage_bytes = Some(spec.volume_bytes(zone)?);
        zones.push(ZoneWanted { name: dns_safe(&zone.name), weight: zone.weight, storage_bytes });
    }
    Ok(Wanted {
        cluster: basis.cluster.name_any(),
        replicas: spec.replicas,
        zones: (!zones.is_empty()).then_some(zones),
        n: spec.replication.n.into(),
        template: template(basis),
        storage: StorageWanted {
            size_bytes: quantity::bytes(&spec.storage.size)?,
            on_scale_down: match spec.storage.reclaim.on_scale_down {
                ReclaimPolicy::Delete => Reclaim::Delete,
                ReclaimPolicy::Retain => Reclaim::Retain,
            },
        },
        maintenance: maintenance(&spec.maintenance),
        replace_after_s: spec.replace_after_seconds.into(),
    })
}

fn maintenance(asked: &dynamo_crd::Maintenance) -> Maintenance {
    // What names no pod names nobody's disk.
    let replace: BTreeMap<PodId, String> =
        asked.replace.iter().filter_map(|entry| Some((entry.node.parse().ok()?, entry.claim_uid.clone()))).collect();
    Maintenance {
        plan_only: asked.plan_only,
        paused: asked.pause,
        replace,
        restart_anyway: asked.restart_anyway.clone(),
    }
}
