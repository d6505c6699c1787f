//! Siblings are exactly the concurrent ones (§4.4): of those that a client is given, none follows another.
//!
//! That none is missing is the matter of `acknowledged`: what is neither there nor followed is lost.

use super::{Evidence, Violation};
use crate::history::{History, WriteId};

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    let history = evidence.history;
    let read = history.reads.iter().find_map(|read| {
        let (earlier, later) = pair(history, &read.found)?;
        let what = format!("client-{} was given {earlier} beside {later}, which replaced it", read.client);
        Some(Violation::new("siblings", Some(read.key), what))
    });
    read.or_else(|| {
        evidence.keys().find_map(|key| {
            let (earlier, later) = pair(history, &evidence.ending(key).standing)?;
            Some(Violation::new("siblings", Some(key), format!("{earlier} stands beside {later}, which replaced it")))
        })
    })
}

/// Two of which the later follows the earlier.
fn pair(history: &History, found: &[WriteId]) -> Option<(WriteId, WriteId)> {
    let pairs = found.iter().enumerate().flat_map(|(at, one)| found[at + 1..].iter().map(move |other| (*one, *other)));
    pairs
        .map(|(one, other)| (one.min(other), one.max(other)))
        .find(|(earlier, later)| earlier == later || history.follows(*later, *earlier))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{ending, terms},
        *,
    };
    use crate::{history::tests as histories, terms::Bucket};

    #[test]
    fn a_false_sibling_is_noticed() {
        let terms = terms(Bucket::DEFAULT);
        let history = histories::history(&[&[], &[0], &[], &[1]]);
        let found = |standing: &[u32]| check(&Evidence::new(&terms, &history, &ending(standing)));
        assert_eq!(found(&[2, 3]), None);
        assert!(found(&[0, 2, 3]).unwrap().what.contains("0 stands beside 3"));
        assert!(found(&[2, 2]).is_some());
    }
}
