//! Nothing grows without bound: a key's siblings, and the actors in its causality.

use super::{Evidence, Violation};

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    let nodes = usize::from(evidence.terms.nodes);
    evidence.keys().find_map(|key| {
        let ending = evidence.ending(key);
        // Each coordinator that did not know of the others' yet may have added one more than the limit.
        let siblings_max = usize::from(evidence.terms.siblings_max) + nodes;
        if ending.siblings > siblings_max {
            let what = format!("it has {} siblings, the limit is {siblings_max}", ending.siblings);
            return Some(Violation::new("growth", Some(key), what));
        }
        // An actor has written at least once.
        let minted = evidence.history.versions(key);
        (ending.actors > minted).then(|| {
            let what = format!("its causality names {} actors, and {minted} versions were made", ending.actors);
            Violation::new("growth", Some(key), what)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Ending,
            tests::{ending, terms},
        },
        *,
    };
    use crate::{history::tests as histories, terms::Bucket};

    #[test]
    fn too_many_siblings_and_actors_from_nowhere_are_noticed() {
        let mut terms = terms(Bucket::DEFAULT);
        terms.siblings_max = 2;
        let history = histories::history(&[&[]]);
        let endings = [Ending { siblings: 6, ..Ending::default() }];
        assert!(check(&Evidence::new(&terms, &history, &endings)).unwrap().what.contains("6 siblings"));
        assert!(check(&Evidence::new(&terms, &history, &ending(&[0]))).unwrap().what.contains("1 actors"));
        let endings = [Ending { siblings: 5, ..Ending::default() }];
        assert_eq!(check(&Evidence::new(&terms, &history, &endings)), None);
    }
}
