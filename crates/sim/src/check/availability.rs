//! A client that reaches W live nodes can write, whatever else is down or cut off; and a strict write that cannot be
//! is refused at once (§2.3, 4.6).
//!
//! Only where things have stood still for long enough that every node may be expected to know, and where those who
//! reach each other are a clique that nobody outside reaches half: then there is one answer to who reaches whom.

use super::{Evidence, Violation};
use crate::{
    history::{Promise, WriteOutcome, WriteRecord},
    message::Refused,
    world::Kernel,
};

/// So long things have to stand still, microseconds: silence is noticed, suspicion becomes certainty.
const CALM_US: u64 = 30_000_000;
/// A refusal comes at once if it comes within this, microseconds.
const AT_ONCE_US: u64 = 1_000_000;

/// What is promised of a write that begins now at a node.
pub fn promise_of(kernel: &Kernel, client: u8, node: u8, key: u16) -> Promise {
    let shape = &kernel.shape;
    let endpoint = shape.nodes() + client;
    if !kernel.calm_for(CALM_US) || !kernel.is_on(node) || !kernel.network.connected(endpoint, node) {
        return Promise::None;
    }
    let Some(clique) = clique_of(kernel, node) else { return Promise::None };
    let (bucket, view, partition) = (shape.bucket_of(key), kernel.newest(), shape.partition(key));
    let (walk, homes) = (view.walk(partition), view.homes(partition));
    let reached = |nodes: &[u8]| nodes.iter().filter(|one| clique.contains(*one)).count();
    let (w, outsider) = (usize::from(bucket.w), !walk.contains(&node));
    match (bucket.strict, reached(homes) >= w) {
        (true, true) => Promise::Succeeds,
        (true, false) => Promise::FailsAtOnce,
        (false, _) if reached(walk) + usize::from(outsider) >= w => Promise::Succeeds,
        (false, _) => Promise::None,
    }
}

/// The nodes that reach this one, if they all reach each other, and no other live node reaches any of them by half.
fn clique_of(kernel: &Kernel, node: u8) -> Option<Vec<u8>> {
    let live: Vec<u8> = (0..kernel.shape.nodes()).filter(|one| kernel.is_on(*one)).collect();
    let reaches = |one: u8, other: u8| one == other || kernel.network.connected(one, other);
    let (clique, others): (Vec<u8>, Vec<u8>) = live.iter().partition(|one| reaches(node, **one));
    let whole = clique.iter().all(|one| clique.iter().all(|other| reaches(*one, *other)));
    let half = |one: u8, other: u8| !kernel.network.is_cut(one, other) || !kernel.network.is_cut(other, one);
    let apart = clique.iter().all(|one| others.iter().all(|other| !half(*one, *other)));
    (whole && apart).then_some(clique)
}

/// A promise holds only if nothing changed meanwhile: called when something does.
pub fn void_promises(writes: &mut [WriteRecord]) {
    // Those still open began lately: the newest ones.
    for write in writes.iter_mut().rev().take(1000).filter(|write| write.ended_us.is_none()) {
        write.promise = Promise::None;
    }
}

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    evidence.history.writes.iter().enumerate().find_map(|(id, write)| {
        let what = match (write.promise, write.outcome) {
            // The key is full: that is said of the key, wherever it lives, until somebody writes with what he read.
            (Promise::Succeeds, _) if write.refused == Some(Refused::TooManySiblings) => return None,
            (Promise::Succeeds, outcome) if outcome != WriteOutcome::Acknowledged => {
                format!("write {id} failed ({:?}) although W nodes could be reached", write.refused)
            }
            (Promise::FailsAtOnce, WriteOutcome::Acknowledged) => {
                format!("strict write {id} was acknowledged without W homes")
            }
            (Promise::FailsAtOnce, _) if write.ended_us.is_none_or(|ended| ended > write.began_us + AT_ONCE_US) => {
                format!("strict write {id} cannot be, and its client was not told at once")
            }
            _ => return None,
        };
        Some(Violation::new("availability", Some(write.key), what))
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{ending, plan},
        *,
    };
    use crate::{history::tests as histories, plan::BucketPlan};

    #[test]
    fn a_promise_that_is_not_kept_is_noticed_and_a_void_one_not() {
        let plan = plan(BucketPlan::DEFAULT);
        let found = |promise, outcome, took_us: Option<u64>| {
            let mut history = histories::history(&[&[]]);
            let write = &mut history.writes[0];
            (write.promise, write.outcome, write.ended_us) = (promise, outcome, took_us);
            check(&Evidence::new(&plan, &history, &ending(&[0]))).is_some()
        };
        assert!(!found(Promise::Succeeds, WriteOutcome::Acknowledged, Some(9)));
        assert!(found(Promise::Succeeds, WriteOutcome::NotWritten, Some(9)));
        assert!(found(Promise::Succeeds, WriteOutcome::Unknown, None));
        assert!(!found(Promise::None, WriteOutcome::Unknown, None));
        assert!(!found(Promise::FailsAtOnce, WriteOutcome::NotWritten, Some(9)));
        assert!(found(Promise::FailsAtOnce, WriteOutcome::NotWritten, Some(2 * AT_ONCE_US)));
        assert!(found(Promise::FailsAtOnce, WriteOutcome::Acknowledged, Some(9)));
        let mut history = histories::history(&[&[]]);
        (history.writes[0].ended_us, history.writes[0].promise) = (None, Promise::Succeeds);
        void_promises(&mut history.writes);
        assert_eq!(history.writes[0].promise, Promise::None);
    }
}
