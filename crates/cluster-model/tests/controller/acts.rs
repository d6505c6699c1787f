//! What is done to a StatefulSet, its pods and its claims: by an operator, by people, by kubelets, by machines.

use dynamo_cluster_model::Chance;
use dynamo_planner::PARKED;

use crate::model::Model;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A StatefulSet with a parked partition.
    Create {
        replicas: u32,
        template: &'static str,
        bytes: u64,
    },
    Scale(u32),
    /// A template and the parked partition, in one write.
    Template(&'static str),
    /// A template, and the partition is left as it is.
    ByHand(&'static str),
    Partition(u32),
    Delete {
        orphan: bool,
    },
    DeletePod(u32),
    /// Its process is up and ready.
    Start(u32),
    /// Its process is up, and is not ready.
    Run(u32),
    /// It is ready no more.
    Fall(u32),
    /// The process of a pod that is being deleted has ended.
    Gone(u32),
    DeleteClaim(u32),
    /// Somebody else has it in use.
    Hold(u32),
    Release(u32),
    /// Pods find a machine from now on, or none.
    Machine(bool),
    /// Kubelets do all that they can, until there is nothing left to do.
    Kubelets,
}

/// One that can be done by now.
pub fn draw(chance: &mut Chance, model: &Model) -> Act {
    loop {
        let act = any(chance);
        if fits(&act, model) {
            return act;
        }
    }
}

fn any(chance: &mut Chance) -> Act {
    let ordinal = chance.below(5) as u32;
    let template = chance.pick(&["one", "two", "three", "bad"]).expect("some");
    match chance.below(100) {
        0..8 => Act::Create { replicas: chance.below(5) as u32, template, bytes: 1 + chance.below(3) },
        8..18 => Act::Scale(chance.below(6) as u32),
        18..28 => Act::Template(template),
        28..31 => Act::ByHand(template),
        31..42 => Act::Partition(ordinal),
        42..44 => Act::Partition(PARKED),
        44..47 => Act::Delete { orphan: true },
        47..48 => Act::Delete { orphan: false },
        48..54 => Act::DeletePod(ordinal),
        54..64 => Act::Start(ordinal),
        64..66 => Act::Run(ordinal),
        66..69 => Act::Fall(ordinal),
        69..79 => Act::Gone(ordinal),
        79..83 => Act::DeleteClaim(ordinal),
        83..85 => Act::Hold(ordinal),
        85..88 => Act::Release(ordinal),
        88..90 => Act::Machine(false),
        90..92 => Act::Machine(true),
        _ => Act::Kubelets,
    }
}

/// Whether there is what it is done to, and it changes anything.
pub fn fits(act: &Act, model: &Model) -> bool {
    let set = model.set();
    let pod = |ordinal: &u32| model.pod(*ordinal);
    let claim = |ordinal: &u32| model.claim(*ordinal);
    match act {
        Act::Create { .. } => set.is_none(),
        Act::Scale(to) => set.is_some_and(|set| set.replicas != *to),
        Act::Template(to) | Act::ByHand(to) => set.is_some_and(|set| set.template != *to),
        Act::Partition(to) => set.is_some_and(|set| set.partition != *to),
        Act::Delete { .. } => set.is_some(),
        Act::DeletePod(at) => pod(at).is_some_and(|pod| pod.gone_at.is_none()),
        Act::Start(at) => model.can_start(*at),
        Act::Run(at) => pod(at).is_some_and(|pod| pod.host.is_some() && pod.gone_at.is_none() && !pod.ran),
        Act::Fall(at) => pod(at).is_some_and(|pod| pod.ready),
        Act::Gone(at) => pod(at).is_some_and(|pod| pod.gone_at.is_some()),
        Act::DeleteClaim(at) => claim(at).is_some_and(|claim| !claim.deleting),
        Act::Hold(at) => claim(at).is_some_and(|claim| !claim.deleting && !claim.held),
        Act::Release(at) => claim(at).is_some_and(|claim| claim.held),
        Act::Machine(on) => model.machine() != *on,
        Act::Kubelets => true,
    }
}
