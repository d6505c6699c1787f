//! What a node answered, as the planner has it: nodes by their pods' names.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_planner::{ChangeView, NodeView, PodId, RingView};
use dynamo_ring::NodeId;
use dynamo_wire::v1::{ViewChange, ViewNode, ViewResponse};

/// The ring has somebody in it that is no pod: nothing that depends on who is in it can be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is in the ring and is no pod of a StatefulSet: the ring is left as it is; take that node out with `dynamo node leave` or `remove`"
)]
pub struct StrangerError(String);

/// The planner's view of what was answered. `pods` are those that Kubernetes knows something of: the register keeps ids of
/// nodes whose names nobody remembers, which these tell.
///
/// # Errors
/// A member is no pod.
pub fn ring_view(response: &ViewResponse, pods: &BTreeSet<PodId>) -> Result<RingView, StrangerError> {
    let names = Names::of(response, pods);
    let mut ring = RingView {
        version: response.version,
        epoch: response.epoch,
        confirmed: response.confirmed,
        quorum: response.quorum,
        sources: response.sources,
        ..RingView::default()
    };
    for node in &response.nodes {
        let Some(pod) = names.pod(&node.id, &node.name) else {
            if node.member || node.leaver {
                return Err(StrangerError(if node.name.is_empty() { node.id.clone() } else { node.name.clone() }));
            }
            continue;
        };
        if node.member {
            ring.members.insert(pod.clone(), node.weight);
        }
        if node.leaver {
            ring.leavers.insert(pod.clone());
        }
        if node.behind {
            ring.behind.insert(pod.clone());
        }
        ring.nodes.insert(pod, node_view(node));
    }
    for list in &response.homes {
        ring.homes.insert(homes(response, &list.nodes, &names)?);
    }
    for gone in &response.gone {
        if let Some(pod) = names.pod(&gone.id, &gone.name) {
            let last = ring.gone.entry(pod).or_default();
            *last = gone.incarnation.max(*last);
        }
    }
    ring.change = response.change.as_ref().map(change_view).transpose()?;
    Ok(ring)
}

/// Names of the nodes whose ids the register has.
struct Names {
    by_id: BTreeMap<String, PodId>,
}

impl Names {
    fn of(response: &ViewResponse, pods: &BTreeSet<PodId>) -> Names {
        let id = |pod: &PodId| NodeId::initial(&response.cluster, &pod.to_string()).to_string();
        Names { by_id: pods.iter().map(|pod| (id(pod), pod.clone())).collect() }
    }

    fn pod(&self, id: &str, name: &str) -> Option<PodId> {
        if name.is_empty() { self.by_id.get(id).cloned() } else { name.parse().ok() }
    }
}

fn homes(response: &ViewResponse, indexes: &[u32], names: &Names) -> Result<Vec<PodId>, StrangerError> {
    let home = |index: &u32| {
        let node = response.nodes.get(*index as usize);
        let pod = node.and_then(|node| names.pod(&node.id, &node.name));
        pod.ok_or_else(|| StrangerError(node.map_or_else(|| index.to_string(), |node| node.name.clone())))
    };
    indexes.iter().map(home).collect()
}

fn node_view(node: &ViewNode) -> NodeView {
    NodeView {
        // Whoever some do not reach, or who is about to stop or has only just started, is not counted on.
        up: node.state == "up",
        incarnation: node.incarnation,
        refilling: node.refilling,
        hints: node.hints,
        disk_refuses: matches!(node.disk.as_str(), "full" | "failing"),
        trusts: node.trusted.iter().cloned().collect(),
        signed_by: Some(node.certificate_signed_by.clone()).filter(|signer| !signer.is_empty()),
    }
}

fn change_view(change: &ViewChange) -> Result<ChangeView, StrangerError> {
    let pods = |names: &[String]| -> Result<BTreeSet<PodId>, StrangerError> {
        names.iter().map(|name| name.parse().map_err(|_| StrangerError(name.clone()))).collect()
    };
    let told = change.change.clone().unwrap_or_default();
    Ok(ChangeView {
        id: told.change,
        joins: pods(&change.joins)?,
        leaves: pods(&change.leaves)?,
        cancelled: told.cancelled,
        blocked_by: told.blocked_by,
    })
}

#[cfg(test)]
mod tests {
    use dynamo_wire::v1::{GoneLife, PreferenceList, RingChange};

    use super::*;

    fn node(name: &str, state: &str) -> ViewNode {
        let id = NodeId::initial("ns/c/1", name).to_string();
        ViewNode { id, name: name.to_owned(), state: state.to_owned(), weight: 1, member: true, ..ViewNode::default() }
    }

    fn response(nodes: Vec<ViewNode>) -> ViewResponse {
        ViewResponse { cluster: "ns/c/1".to_owned(), version: 7, confirmed: true, nodes, ..ViewResponse::default() }
    }

    fn pod(name: &str) -> PodId {
        name.parse().unwrap()
    }

    #[test]
    fn nodes_are_told_by_their_pods_and_homes_by_their_order() {
        let mut answer = response(vec![node("c-a-0", "up"), node("c-b-0", "suspect")]);
        answer.homes = vec![PreferenceList { nodes: vec![1, 0] }];
        let ring = ring_view(&answer, &BTreeSet::new()).unwrap();
        assert_eq!((ring.version, ring.confirmed, ring.members.len()), (7, true, 2));
        assert_eq!(ring.homes, BTreeSet::from([vec![pod("c-b-0"), pod("c-a-0")]]));
        assert!(ring.nodes[&pod("c-a-0")].up && !ring.nodes[&pod("c-b-0")].up, "some do not reach it");
    }

    #[test]
    fn who_nobody_remembers_the_name_of_is_told_by_the_id() {
        let mut leaver = node("c-a-1", "unknown");
        (leaver.name, leaver.member, leaver.leaver) = (String::new(), false, true);
        let gone = GoneLife { id: leaver.id.clone(), name: String::new(), incarnation: 9 };
        let answer = ViewResponse { gone: vec![gone], ..response(vec![leaver]) };
        let ring = ring_view(&answer, &BTreeSet::from([pod("c-a-1")])).unwrap();
        assert_eq!(ring.leavers, BTreeSet::from([pod("c-a-1")]));
        assert_eq!(ring.gone, BTreeMap::from([(pod("c-a-1"), 9)]));
        let unknown = ring_view(&answer, &BTreeSet::new()).unwrap_err().to_string();
        assert!(unknown.contains("left as it is"), "{unknown}");
    }

    #[test]
    fn a_member_that_is_no_pod_is_told_and_nothing_is_guessed() {
        let error = ring_view(&response(vec![node("laptop", "up")]), &BTreeSet::new()).unwrap_err();
        assert!(error.to_string().contains("\"laptop\""), "{error}");
        let mut guest = node("laptop", "up");
        guest.member = false;
        assert_eq!(ring_view(&response(vec![guest]), &BTreeSet::new()).unwrap().nodes.len(), 0);
    }

    #[test]
    fn a_change_is_told_with_who_comes_and_who_goes() {
        let told = RingChange { change: 5, blocked_by: vec!["c-a-1 is down".to_owned()], ..RingChange::default() };
        let joins = vec!["c-a-1".to_owned()];
        let change = ViewChange { change: Some(told), joins, ..ViewChange::default() };
        let answer = ViewResponse { change: Some(change), ..response(vec![node("c-a-0", "up")]) };
        let change = ring_view(&answer, &BTreeSet::new()).unwrap().change.unwrap();
        assert_eq!((change.id, change.joins), (5, BTreeSet::from([pod("c-a-1")])));
        assert_eq!(change.blocked_by, ["c-a-1 is down"]);
    }
}
