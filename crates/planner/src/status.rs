//! What a person is told: conditions, from what was seen and what is waited for.

use crate::{
    action::Plan,
    names::{PodId, listed, said_of},
    observed::Observed,
    quorum,
    why::Why,
    words::about,
};

/// A condition of the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its name.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in one CamelCase word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

impl Condition {
    fn new(kind: &'static str, holds: bool, reason: &str, message: String) -> Condition {
        Condition { kind, holds, reason: reason.to_owned(), message }
    }
}

/// All conditions, always in the same order.
pub fn conditions(observed: &Observed, plan: &Plan) -> Vec<Condition> {
    vec![available(observed), progressing(observed, plan), degraded(observed, plan), settled(observed), safe(observed)]
}

fn available(observed: &Observed) -> Condition {
    let Some(ring) = &observed.ring else {
        return Condition::new("Available", false, "NoNodeAnswers", Why::NoNodeAnswers.to_string());
    };
    let absent = quorum::absent(observed);
    if quorum::keeps(ring, &absent) {
        return Condition::new("Available", true, "QuorumEverywhere", "every range has its quorum".to_owned());
    }
    let message = format!("ranges lack their quorum while {} can't serve", listed(&absent));
    Condition::new("Available", false, "QuorumLost", message)
}

fn progressing(observed: &Observed, plan: &Plan) -> Condition {
    if let Some(why) = plan.waits.iter().find(|why| !why.is_notice()) {
        return Condition::new("Progressing", true, &why.name(), why.to_string());
    }
    if let Some(turn) = &observed.turn.turn {
        return Condition::new("Progressing", true, "InTurn", turn.work.in_words());
    }
    if let Some(change) = observed.ring.as_ref().and_then(|ring| ring.change.as_ref()) {
        return Condition::new("Progressing", true, "RingChanges", change.in_words());
    }
    match plan.actions.is_empty() {
        true => Condition::new("Progressing", false, "Settled", "everything is as it is wanted".to_owned()),
        false => Condition::new("Progressing", true, "Acting", "writing what is wanted".to_owned()),
    }
}

fn degraded(observed: &Observed, plan: &Plan) -> Condition {
    let asks = plan.waits.iter().find(|why| why.wants_a_person());
    if let Some(why) = asks {
        return Condition::new("Degraded", true, &why.name(), why.to_string());
    }
    let absent = quorum::absent(observed);
    match absent.is_empty() {
        true => Condition::new("Degraded", false, "AllServe", "all nodes serve".to_owned()),
        false => Condition::new("Degraded", true, "NodesAbsent", format!("{} can't serve", listed(&absent))),
    }
}

fn settled(observed: &Observed) -> Condition {
    let kind = "RingSettled";
    let Some(ring) = &observed.ring else {
        return Condition::new(kind, false, "NoNodeAnswers", Why::NoNodeAnswers.to_string());
    };
    match &ring.change {
        Some(change) => {
            let why = Why::ChangeUnderWay { id: change.id, what: "everything else" };
            Condition::new(kind, false, "ChangeUnderWay", why.to_string())
        }
        None => Condition::new(kind, true, "Settled", format!("settled at epoch {}", ring.epoch)),
    }
}

/// Every replica of every range is there and whole, and nobody holds anything for others.
fn safe(observed: &Observed) -> Condition {
    let kind = "DataSafe";
    let Some(ring) = &observed.ring else {
        return Condition::new(kind, false, "NoNodeAnswers", Why::NoNodeAnswers.to_string());
    };
    let whole = |pod: &&PodId| ring.nodes.get(*pod).is_some_and(|node| node.up && node.refilling == 0);
    let lacking: Vec<&PodId> = ring.members.keys().filter(|pod| !whole(pod)).collect();
    if !lacking.is_empty() {
        return Condition::new(
            kind,
            false,
            "ReplicasMissing",
            format!(
                "{} {} should",
                listed(&lacking),
                said_of(lacking.len(), "has not all that it", "have not all that they")
            ),
        );
    }
    let hints: u64 = ring.nodes.values().map(|node| node.hints).sum();
    if hints > 0 {
        return Condition::new(
            kind,
            false,
            "HintsUndelivered",
            format!("{} hints are not delivered yet", about(hints)),
        );
    }
    if !ring.leavers.is_empty() {
        let hand_over = said_of(ring.leavers.len(), "has left and still hands over", "have left and still hand over");
        let message = format!("{} {hand_over}", listed(&ring.leavers));
        return Condition::new(kind, false, "HandingOver", message);
    }
    Condition::new(kind, true, "AllReplicas", "every replica of every range is there".to_owned())
}
