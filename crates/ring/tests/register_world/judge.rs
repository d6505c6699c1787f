//! What must hold of all that proposers are told, and of what voters' disks hold.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_ring::register::{Accepted, Ballot, Value, Voter};

/// What was said and done in a world.
#[derive(Debug, Default)]
pub struct Judge {
    /// By version: what somebody was told is chosen.
    pub told: BTreeMap<u64, Value>,
    /// By payload, each of which is proposed by one change: the value that it was to be made against.
    against: BTreeMap<Vec<u8>, Value>,
    /// Payloads of changes of which it was said that they were not made and never will be.
    denied: BTreeSet<Vec<u8>>,
    /// By ballot: what was accepted, and on whose disks.
    disks: BTreeMap<Ballot, (Value, BTreeSet<Voter>)>,
    /// What a user of the register sees go wrong.
    pub wrong: Vec<String>,
    /// What an onlooker sees that no user need ever see.
    pub wrong_inside: Vec<String>,
}

fn majority(group: &[Voter], of_them: impl Fn(&Voter) -> bool) -> bool {
    group.is_empty() || group.iter().filter(|voter| of_them(voter)).count() * 2 > group.len()
}

impl Judge {
    pub fn new(first: Value) -> Judge {
        Judge { told: BTreeMap::from([(1, first)]), ..Judge::default() }
    }

    /// The newest value that anybody knows to be chosen.
    pub fn newest(&self) -> Value {
        self.told.last_key_value().expect("the first").1.clone()
    }

    pub fn proposed(&mut self, against: &Value, payload: &[u8]) {
        self.against.insert(payload.to_vec(), against.clone());
    }

    /// Somebody is told that a value is chosen, and that it was the register's at a moment when the version `least` was
    /// chosen already.
    pub fn tell(&mut self, value: &Value, least: u64) {
        let version = value.version();
        if version < least {
            self.wrong.push(format!("version {version} was told as the register's after version {least}"));
        }
        let known = self.told.entry(version).or_insert_with(|| value.clone());
        if known != value {
            self.wrong.push(format!("two values of version {version}"));
        }
        if version > 1 {
            let base = self.against.get(value.payload());
            let before = self.told.get(&(version - 1));
            if base.is_none() || base != before {
                self.wrong.push(format!("version {version} was proposed against another value than the one before"));
            }
        }
        if self.denied.contains(value.payload()) {
            self.wrong.push(format!("version {version} was said not to be made"));
        }
        if version > 1 && !self.chosen().any(|chosen| chosen == value) {
            self.wrong_inside.push(format!("version {version} was told and is on too few disks"));
        }
    }

    /// A proposer of `payload` is told that the register's value is another one of the same version.
    pub fn deny(&mut self, payload: &[u8]) {
        self.denied.insert(payload.to_vec());
        if self.told.values().any(|value| value.payload() == payload) {
            self.wrong.push("a change that was made is said not to be".into());
        }
    }

    /// A voter's disk has accepted something.
    pub fn on_disk(&mut self, voter: Voter, Accepted { ballot, value }: &Accepted) {
        let (first, voters) = self.disks.entry(*ballot).or_insert_with(|| (value.clone(), BTreeSet::new()));
        if first != value {
            self.wrong_inside.push(format!("two values under {ballot:?}"));
        } else {
            voters.insert(voter);
        }
    }

    /// What majorities of disks have accepted at one ballot or another, lowest ballot first.
    fn chosen(&self) -> impl Iterator<Item = &Value> {
        let chosen = self.disks.values().filter(|(value, voters)| {
            [value.previous_voters(), value.voters()]
                .iter()
                .all(|group| majority(group, |voter| voters.contains(voter)))
        });
        chosen.map(|(value, _)| value)
    }

    /// At the end: the disks' chain is the one that was told, and no value was chosen after a newer one.
    pub fn look_at_disks(&mut self) {
        let mut chain: BTreeMap<u64, Value> = self.told.clone();
        let mut newest = 1;
        let mut wrong = Vec::new();
        for value in self.chosen() {
            if value.version() < newest {
                wrong.push(format!("version {} is chosen after version {newest}", value.version()));
            }
            newest = value.version();
            if chain.entry(newest).or_insert_with(|| value.clone()) != value {
                wrong.push(format!("two values of version {newest} on disks"));
            }
        }
        for (version, value) in chain.iter().skip(1) {
            if self.against.get(value.payload()) != chain.get(&(version - 1)) {
                wrong.push(format!("version {version} on disks does not follow the one before"));
            }
        }
        self.wrong_inside.extend(wrong);
    }
}
