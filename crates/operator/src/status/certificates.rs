//! How far a change of the certificate authority is.

use dynamo_crd::{
    TlsMode,
    status::{CertificateAuthorityStatus, RotationPhase, TlsStatus},
};
use dynamo_planner::{NodeView, certificates::Authorities};

use super::{Told, time};
use crate::authority::any_node;

const AUTHORITIES_MAX: usize = 2;
const BEHIND_MAX: usize = 32;

pub(super) fn tls(told: &Told<'_>) -> Option<TlsStatus> {
    let mode = told.cluster.spec.tls.mode;
    if mode == TlsMode::Plaintext {
        return None;
    }
    let ends = told.nodes.values().filter_map(|facts| facts.certificate_until_s).min();
    let mut status = TlsStatus {
        phase: RotationPhase::Settled,
        nodes_uri: told.cluster_name.filter(|_| mode == TlsMode::Secret).map(any_node),
        authorities: vec![],
        certificates_end_at: ends.map(time),
        behind: vec![],
    };
    let Some(authorities) = &told.observed.authorities else { return Some(status) };
    status.authorities = trusted(authorities);
    let Some(newest) = authorities.newest() else { return Some(status) };
    let lacking = |has: &dyn Fn(&NodeView) -> bool| -> Vec<String> {
        let lacks = told.observed.pods.keys().filter(|pod| !told.observed.node(pod).is_some_and(has));
        lacks.take(BEHIND_MAX).map(ToString::to_string).collect()
    };
    let others = authorities.trusted.iter().any(|name| name != newest);
    let is_new = authorities.trusted.is_empty() && authorities.signing.is_none();
    (status.phase, status.behind) = if authorities.signing.as_ref() != Some(newest) && !is_new {
        (RotationPhase::Trusting, lacking(&|node| node.trusts.contains(newest)))
    } else if others {
        (RotationPhase::Issuing, lacking(&|node| node.signed_by.as_ref() == Some(newest)))
    } else {
        let knows_others = |node: &NodeView| node.trusts.iter().any(|name| name != newest);
        let behind = lacking(&|node| !knows_others(node));
        let retires = told.observed.ring.iter().flat_map(|ring| ring.nodes.values()).any(knows_others);
        if retires { (RotationPhase::Retiring, behind) } else { (RotationPhase::Settled, vec![]) }
    };
    Some(status)
}

/// The newest of those that are trusted and whose lives are known.
fn trusted(authorities: &Authorities) -> Vec<CertificateAuthorityStatus> {
    let mut known: Vec<_> = authorities.lives.iter().filter(|(name, _)| authorities.trusted.contains(*name)).collect();
    known.sort_by_key(|(name, life)| std::cmp::Reverse((life.from_s, (*name).clone())));
    let told = known.into_iter().take(AUTHORITIES_MAX);
    told.map(|(name, life)| CertificateAuthorityStatus { fingerprint: name.clone(), ends_at: time(life.until_s) })
        .collect()
}
