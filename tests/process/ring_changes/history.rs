//! What clients wrote and were told, and what they may see after that.
//!
//! *Nothing is lost:* an element whose write was acknowledged is in its set at the end. *Nothing is made up:* an element that
//! nobody tried to write into a set is never seen in it. *A strict bucket reads its writes:* a read that begins after an
//! acknowledgement sees that element. (Sets only grow, so these three are all there is to be seen.)

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;

/// Elements of a set.
pub type Elements = BTreeSet<String>;

/// A hot set that is so full is left, and the next one is hot: values stay small however long it goes on.
const FULL: usize = 300;

/// A set, by its bucket and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Set {
    pub bucket: &'static str,
    pub key: String,
}

#[derive(Default)]
struct Written {
    tried: Elements,
    /// In the order in which it was heard of.
    acknowledged: Vec<String>,
}

/// Of all clients.
#[derive(Default)]
pub struct History {
    sets: Mutex<BTreeMap<Set, Written>>,
    acknowledged: AtomicUsize,
    reads: AtomicUsize,
    /// How many, by bucket and why.
    failed: Mutex<BTreeMap<String, usize>>,
    violations: Mutex<Vec<String>>,
}

/// A read that has begun.
pub struct Begun {
    set: Set,
    /// So many elements had been acknowledged by then.
    acknowledged: usize,
}

impl History {
    /// The hot set in this place: its key, which changes when it is full.
    pub fn hot(&self, bucket: &'static str, place: usize) -> Set {
        let sets = self.sets.lock().unwrap();
        let set = |generation: usize| Set { bucket, key: format!("hot-{place}-{generation}") };
        let is_full = |set: &Set| sets.get(set).is_some_and(|written| written.acknowledged.len() >= FULL);
        (0..).map(set).find(|set| !is_full(set)).expect("numbers do not end")
    }

    /// A read begins.
    pub fn begin(&self, set: &Set) -> Begun {
        let acknowledged = self.sets.lock().unwrap().get(set).map_or(0, |written| written.acknowledged.len());
        Begun { set: set.clone(), acknowledged }
    }

    /// It has ended, and saw this. `strict`: it must have seen all that had been acknowledged when it began.
    pub fn end(&self, begun: Begun, seen: &Elements, strict: bool) {
        let Begun { set, acknowledged } = begun;
        self.reads.fetch_add(1, Ordering::Relaxed);
        let sets = self.sets.lock().unwrap();
        let none = Written::default();
        let written = sets.get(&set).unwrap_or(&none);
        let made_up: Vec<&String> = seen.difference(&written.tried).collect();
        let missing: Vec<&String> =
            written.acknowledged[..acknowledged].iter().filter(|element| !seen.contains(*element)).collect();
        if !made_up.is_empty() {
            self.violations.lock().unwrap().push(format!("{set:?} has {made_up:?}, which nobody wrote"));
        }
        if strict && !missing.is_empty() {
            let of = written.acknowledged.len();
            self.violations.lock().unwrap().push(format!("{set:?}: a read lacks {missing:?} of {of} acknowledged"));
        }
    }

    /// A write begins.
    pub fn tries(&self, set: &Set, element: &str) {
        self.sets.lock().unwrap().entry(set.clone()).or_default().tried.insert(element.to_owned());
    }

    /// It is acknowledged.
    pub fn acknowledged(&self, set: &Set, element: &str) {
        let mut sets = self.sets.lock().unwrap();
        sets.get_mut(set).expect("it was tried").acknowledged.push(element.to_owned());
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// A read or a write failed.
    pub fn fails(&self, why: String) {
        *self.failed.lock().unwrap().entry(why).or_default() += 1;
    }

    /// How many have failed, by why.
    pub fn failed(&self) -> BTreeMap<String, usize> {
        self.failed.lock().unwrap().clone()
    }

    /// Acknowledged writes so far.
    pub fn writes(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Reads so far.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// All sets that anything was acknowledged of.
    pub fn sets(&self) -> Vec<Set> {
        let sets = self.sets.lock().unwrap();
        sets.iter().filter(|(_, written)| !written.acknowledged.is_empty()).map(|(set, _)| set.clone()).collect()
    }

    /// What must not have been seen, a sentence each.
    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }
}

/// All elements that any sibling has.
pub fn merged(values: &[Bytes]) -> Elements {
    let texts = values.iter().map(|value| std::str::from_utf8(value).unwrap());
    texts.flat_map(str::lines).map(str::to_owned).collect()
}

/// A set as a value.
pub fn encoded(elements: &Elements) -> Bytes {
    elements.iter().map(|element| format!("{element}\n")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Set {
        Set { bucket: "b", key: "k".into() }
    }

    fn elements(elements: &[&str]) -> Elements {
        elements.iter().map(|&element| element.to_owned()).collect()
    }

    #[test]
    fn a_read_that_lacks_what_was_acknowledged_before_it_began_is_noticed_and_later_ones_are_not_owed() {
        let history = History::default();
        history.tries(&set(), "a");
        history.tries(&set(), "b");
        history.acknowledged(&set(), "a");
        let begun = history.begin(&set());
        history.acknowledged(&set(), "b");
        history.end(begun, &elements(&["a"]), true);
        assert!(history.violations().is_empty());
        history.end(history.begin(&set()), &elements(&["a"]), false);
        assert!(history.violations().is_empty());
        history.end(history.begin(&set()), &elements(&["a"]), true);
        assert!(history.violations()[0].contains("lacks [\"b\"]"));
    }

    #[test]
    fn an_element_that_nobody_wrote_is_noticed() {
        let history = History::default();
        history.end(history.begin(&set()), &elements(&["x"]), false);
        assert!(history.violations()[0].contains("nobody wrote"));
    }

    #[test]
    fn a_full_set_is_hot_no_more() {
        let history = History::default();
        assert_eq!(history.hot("b", 3).key, "hot-3-0");
        for number in 0..FULL {
            let element = number.to_string();
            history.tries(&history.hot("b", 3), &element);
            history.acknowledged(&history.hot("b", 3), &element);
        }
        assert_eq!(history.hot("b", 3).key, "hot-3-1");
    }
}
