//! Names of what Kubernetes keeps.

use std::fmt;

/// A pod by its StatefulSet and its number there; a node of the ring has its pod's name, and a claim belongs to one pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId {
    /// The StatefulSet's name, `<cluster>-<zone>`.
    pub set: String,
    /// Its number in the StatefulSet.
    pub ordinal: u32,
}

impl PodId {
    /// The pod of a StatefulSet with a number.
    pub fn new(set: &str, ordinal: u32) -> PodId {
        PodId { set: set.to_owned(), ordinal }
    }
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.set, self.ordinal)
    }
}

/// The API server's name for one life of an object: another object of the same name has another.
pub type Uid = String;

/// The API server's version of an object (`resourceVersion`); every write changes it.
pub type Version = String;

/// What is said of one of them, or else of several.
pub fn said_of<'a>(count: usize, one: &'a str, several: &'a str) -> &'a str {
    if count == 1 { one } else { several }
}

/// Names in words: "a, b and c".
pub fn listed(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    match names.pop() {
        None => "nobody".to_owned(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} and {last}", names.join(", ")),
    }
}
