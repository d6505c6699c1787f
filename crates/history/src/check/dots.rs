//! No dot names two writes (§4.4).

use super::{Evidence, Violation};

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    let (key, dot, first, second) = evidence.history.minted_twice.first()?;
    let what = format!("writes {first} and {second} have one name: {dot:?}");
    Some(Violation::new("dots", Some(*key), what))
}

#[cfg(test)]
mod tests {
    use dynamo_version::{Actor, Dot, Timestamp};

    use super::{
        super::tests::{ending, terms},
        *,
    };
    use crate::{
        history::{Minted, tests as histories},
        terms::Bucket,
    };

    #[test]
    fn a_dot_minted_twice_is_noticed() {
        let terms = terms(Bucket::DEFAULT);
        let mut history = histories::history(&[&[], &[]]);
        let dot = |counter| Dot { actor: Actor { node: 1, incarnation: 1, key_epoch: 1 }, counter };
        let minted = |counter| Minted { dot: dot(counter), timestamp: Timestamp(1), at_us: 0 };
        history.minted(0, minted(1));
        assert_eq!(check(&Evidence::new(&terms, &history, &ending(&[0, 1]))), None);
        history.minted(1, minted(1));
        assert!(check(&Evidence::new(&terms, &history, &ending(&[0, 1]))).is_some());
    }
}
