//! A client that reaches W live nodes can write, whatever else is down or cut off; and a strict write that cannot be
//! is refused at once (§2.3, 4.6). What is promised says who records the history: it knows who reaches whom.

use super::{Evidence, Violation};
use crate::history::{Promise, WriteOutcome, WriteRecord};

/// A refusal comes at once if it comes within this, microseconds.
const AT_ONCE_US: u64 = 1_000_000;

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
        super::tests::{ending, terms},
        *,
    };
    use crate::{history::tests as histories, terms::Bucket};

    #[test]
    fn a_promise_that_is_not_kept_is_noticed_and_a_void_one_not() {
        let terms = terms(Bucket::DEFAULT);
        let found = |promise, outcome, took_us: Option<u64>| {
            let mut history = histories::history(&[&[]]);
            let write = &mut history.writes[0];
            (write.promise, write.outcome, write.ended_us) = (promise, outcome, took_us);
            check(&Evidence::new(&terms, &history, &ending(&[0]))).is_some()
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
