//! What each node says of its own certificates, asked of itself.
//!
//! The ring's view has what all nodes say, in one node's words. A step that takes an authority away goes by no such thing: one node that
//! lies would speak for all. The connection to each node is by a certificate of that node's name, so what it answers is its own.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_planner::{PodId, RingView};
use dynamo_wire::v1::{StatusRequest, StatusResponse, admin_client::AdminClient};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use super::{ANSWER_BYTES, Nodes, OWN_WORD, link::Target};

/// What a node has loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// The fingerprints of the authorities that it trusts.
    pub trusts: BTreeSet<String>,
    /// The fingerprint of the authority that signed what it shows.
    pub signed_by: Option<String>,
}

impl Nodes<'_> {
    /// Of each node that answers.
    pub async fn loaded(&self) -> BTreeMap<PodId, Loaded> {
        let asked: FuturesUnordered<_> = self.targets.iter().map(|target| self.ask_loaded(target)).collect();
        asked.filter_map(async |answer| answer).collect().await
    }

    async fn ask_loaded(&self, target: &Target) -> Option<(PodId, Loaded)> {
        let channel = self.asker.links.to(&self.cluster, target, self.asker.port, &self.security);
        let mut admin = AdminClient::new(channel).max_decoding_message_size(ANSWER_BYTES);
        let answer = timeout(OWN_WORD, admin.status(StatusRequest {})).await.ok()?.ok()?.into_inner();
        Some((target.pod.clone(), of_itself(answer, &target.pod)?))
    }
}

/// What it says of others is not listened to.
fn of_itself(answer: StatusResponse, pod: &PodId) -> Option<Loaded> {
    let itself = pod.to_string();
    let node = answer.nodes.into_iter().find(|node| node.name == itself)?;
    let signed_by = Some(node.certificate_signed_by).filter(|signer| !signer.is_empty());
    Some(Loaded { trusts: node.trusted.into_iter().collect(), signed_by })
}

/// The ring's view, in which each node has loaded what it says itself; who does not answer, nothing.
pub fn by_own_word(ring: &mut RingView, mut own: BTreeMap<PodId, Loaded>) {
    for (pod, node) in &mut ring.nodes {
        let loaded = own.remove(pod).unwrap_or_default();
        (node.trusts, node.signed_by) = (loaded.trusts, loaded.signed_by);
    }
}

#[cfg(test)]
mod tests {
    use dynamo_planner::{NodeView, Observed, PodView, Why, certificates};
    use dynamo_wire::v1::NodeStatus;

    use super::*;

    fn pod(name: &str) -> PodId {
        name.parse().unwrap()
    }

    fn says(name: &str, trusted: &[&str], signer: &str) -> NodeStatus {
        let trusted = trusted.iter().map(|name| (*name).to_owned()).collect();
        NodeStatus { name: name.to_owned(), trusted, certificate_signed_by: signer.to_owned(), ..NodeStatus::default() }
    }

    #[test]
    fn a_node_speaks_for_itself_alone() {
        let answer = |nodes| StatusResponse { nodes, ..StatusResponse::default() };
        let all = vec![says("c-a-0", &["new", "old"], "new"), says("c-b-0", &["new"], "new")];
        let loaded = of_itself(answer(all), &pod("c-a-0")).unwrap();
        assert_eq!(loaded.signed_by.as_deref(), Some("new"));
        assert_eq!(loaded.trusts, ["new", "old"].map(str::to_owned).into());
        assert_eq!(of_itself(answer(vec![says("c-b-0", &["new"], "new")]), &pod("c-a-0")), None);
    }

    /// The one that was asked for the ring says that all show a certificate by the new authority. One of them does not.
    #[test]
    fn no_authority_is_withdrawn_by_the_word_of_another_node() {
        let life = |from_s| certificates::Life { from_s, until_s: from_s + 1000 };
        let authorities = certificates::Authorities {
            lives: [("old".to_owned(), life(1)), ("new".to_owned(), life(2))].into(),
            wall_s: 10,
            trusted: ["old", "new"].map(str::to_owned).into(),
            signing: Some("new".to_owned()),
            rotate: None,
        };
        let mut observed = Observed { authorities: Some(authorities), ..Observed::default() };
        let mut ring = RingView::default();
        for name in ["c-a-0", "c-b-0"] {
            let trusts = ["new", "old"].map(str::to_owned).into();
            let node = NodeView { up: true, trusts, signed_by: Some("new".to_owned()), ..NodeView::default() };
            ring.nodes.insert(pod(name), node);
            let (uid, template) = (String::new(), String::new());
            observed.pods.insert(pod(name), PodView { uid, host: None, ready: true, template, deleting: false });
        }
        observed.ring = Some(ring);
        assert!(certificates::rests_on_nodes(&observed), "it would be withdrawn by that");
        let own = |signer: &str| Loaded { signed_by: Some(signer.to_owned()), ..Loaded::default() };
        let ring = observed.ring.as_mut().unwrap();
        by_own_word(ring, [(pod("c-a-0"), own("new")), (pod("c-b-0"), own("old"))].into());
        let mut plan = dynamo_planner::Plan::default();
        certificates::plan(&observed, &mut plan);
        assert_eq!(plan.actions, []);
        let lacks = |why: &Why| matches!(why, Why::CertificatesNotLoaded { pods, .. } if *pods == [pod("c-b-0")]);
        assert!(plan.waits.iter().any(lacks), "{plan:?}");
        assert!(!certificates::rests_on_nodes(&observed), "nothing is to be asked until it says otherwise");
    }
}
