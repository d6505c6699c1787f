//! The checkers: each looks at what clients did and saw, and at what the replicas hold at the end.

mod acknowledged;
mod availability;
mod dots;
mod growth;
mod latest;
mod phantom;
mod siblings;
mod strict;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{acknowledged::lost, availability::void_promises};
use crate::{
    history::{History, WriteId},
    terms::{Bucket, Terms},
};

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which checker says so.
    pub checker: String,
    /// The key that it is about.
    pub key: Option<u16>,
    /// What is wrong.
    pub what: String,
}

impl Violation {
    /// What this checker has found.
    pub fn new(checker: &str, key: Option<u16>, what: String) -> Self {
        Self { checker: checker.to_owned(), key, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some(key) => write!(f, "{}: key-{key}: {}", self.checker, self.what),
            None => write!(f, "{}: {}", self.checker, self.what),
        }
    }
}

/// What a key's replicas hold when all is over, joined.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// The writes whose versions stand, deletes included.
    pub standing: Vec<WriteId>,
    /// Values that name no write of the key.
    pub strange: Vec<String>,
    /// Siblings with their tombstones.
    pub siblings: usize,
    /// Actors in its causality; 0 where that is not known.
    pub actors: usize,
}

/// All that the checkers look at.
pub struct Evidence<'a> {
    /// What was promised.
    pub terms: &'a Terms,
    /// What clients did and saw.
    pub history: &'a History,
    /// By key.
    pub endings: &'a [Ending],
    /// Writes of each key.
    pub by_key: Vec<Vec<WriteId>>,
}

impl<'a> Evidence<'a> {
    /// All of it.
    pub fn new(terms: &'a Terms, history: &'a History, endings: &'a [Ending]) -> Self {
        Self { terms, history, endings, by_key: history.by_key(terms.keys) }
    }

    fn keys(&self) -> impl Iterator<Item = u16> {
        0..self.terms.keys
    }

    fn writes(&self, key: u16) -> &[WriteId] {
        &self.by_key[usize::from(key)]
    }

    /// All that these writes of a key follow, themselves included, and what deletes of the key followed: a delete that was
    /// collected stands nowhere. Sorted.
    fn covered_by(&self, key: u16, writes: &[WriteId]) -> Vec<WriteId> {
        let made =
            |write: &&WriteId| self.history.write(**write).delete && self.history.write(**write).minted.is_some();
        let ends: Vec<WriteId> = writes.iter().chain(self.writes(key).iter().filter(made)).copied().collect();
        self.history.past_of(&ends)
    }

    fn ending(&self, key: u16) -> &Ending {
        &self.endings[usize::from(key)]
    }

    fn bucket(&self, key: u16) -> Bucket {
        self.terms.bucket(key)
    }
}

/// What is wrong, the most telling first.
pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    violations(evidence).next()
}

/// What each checker has found first, the most telling first.
pub fn violations<'a>(evidence: &'a Evidence<'_>) -> impl Iterator<Item = Violation> + 'a {
    let checkers: [fn(&Evidence<'_>) -> Option<Violation>; 8] = [
        acknowledged::check,
        phantom::check,
        latest::check,
        strict::check,
        siblings::check,
        dots::check,
        availability::check,
        growth::check,
    ];
    checkers.into_iter().filter_map(|checker| checker(evidence))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one key in one bucket.
    pub fn terms(bucket: Bucket) -> Terms {
        Terms { keys: 1, buckets: vec![bucket], replication: 3, nodes: 3, siblings_max: 100, may_lose: false }
    }

    pub fn ending(standing: &[WriteId]) -> Vec<Ending> {
        vec![Ending { standing: standing.to_vec(), siblings: standing.len(), actors: 1, ..Ending::default() }]
    }
}
