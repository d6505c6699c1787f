//! A key's state at a replica: the siblings, and all that was ever seen of the key (§4.4).
//!
//! [`SiblingSet::merge`] is the join by which replicas agree; [`SiblingSet::write`] is a client's put or delete.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    causality::Causality,
    clock::Timestamp,
    dot::{Actor, Dot},
};

/// What becomes of concurrent writes: a bucket's choice (§6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// All are kept, for the client to reconcile.
    Siblings,
    /// Of what survives causally, the one with the highest timestamp is kept; a tie goes to the higher dot.
    LastWriteWins,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Payload {
    /// A value, of any bytes; it may have none.
    Value(Bytes),
    /// A delete: kept, so that replicas that have not heard of it can be told.
    Tombstone,
}

/// One version of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// The name of the write that made it.
    pub dot: Dot,
    /// When it was written, by the coordinator's hybrid clock. Of interest to last-write-wins alone.
    pub timestamp: Timestamp,
    /// What was written.
    pub payload: Payload,
}

/// How two states of a key stand to each other (§4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// This one has seen all of the other, and more.
    Newer,
    /// The other has seen all of this one, and more.
    Older,
    /// Each has seen something that the other has not; or both have seen the same and keep different versions of it, one
    /// having been resolved by last-write-wins and the other not.
    Concurrent,
}

/// All versions of a key that no other supersedes, and the causality that covers them and all they superseded (§4.4).
/// The [crate's text](crate) has an example.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiblingSet {
    pub(crate) causality: Causality,
    /// Sorted by dot.
    pub(crate) siblings: SmallVec<[Sibling; 1]>,
}

impl SiblingSet {
    /// The state of a key that was never written.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the key was never written here.
    pub fn is_empty(&self) -> bool {
        self.causality.is_empty() && self.siblings.is_empty()
    }

    /// All that was seen of the key.
    pub fn causality(&self) -> &Causality {
        &self.causality
    }

    /// The versions, sorted by dot.
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// The live values in the order of their dots; byte-identical ones (a retried write) count once.
    pub fn values(&self) -> SmallVec<[&Bytes; 2]> {
        let mut values: SmallVec<[&Bytes; 2]> = SmallVec::new();
        for sibling in &self.siblings {
            if let Payload::Value(value) = &sibling.payload
                && !values.contains(&value)
            {
                values.push(value);
            }
        }
        values
    }

    /// Whether it was written, and all its versions are tombstones: a get finds nothing.
    pub fn is_deleted(&self) -> bool {
        !self.is_empty() && self.siblings.iter().all(|sibling| sibling.payload == Payload::Tombstone)
    }

    /// The latest timestamp among the versions, tombstones included; 0 for none.
    pub fn max_timestamp(&self) -> Timestamp {
        self.siblings.iter().map(|sibling| sibling.timestamp).max().unwrap_or_default()
    }

    /// The timestamp of a write over this state by a client that has seen versions up to `context_latest`: the wall
    /// clock's (milliseconds since the Unix epoch), or right after the latest of them all if the clock is behind.
    ///
    /// So timestamps rise along causality, and a version that is dropped for its lower timestamp can never be one that
    /// supersedes the winner: replicas end with the same version in whatever order they hear of them.
    pub fn stamp(&self, wall_ms: u64, context_latest: Timestamp) -> Timestamp {
        Timestamp::after(wall_ms, self.max_timestamp().max(context_latest))
    }

    /// A write by a client that has seen `context`: it supersedes what the context covers, and nothing else.
    ///
    /// `timestamp` has to come from [`SiblingSet::stamp`]: later than what it supersedes, or last-write-wins is no join.
    ///
    /// # Panics
    /// If the dot was minted before: that would hide a write.
    pub fn write(&mut self, context: &Causality, dot: Dot, timestamp: Timestamp, payload: Payload, mode: Mode) {
        assert!(!self.causality.covers(&dot) && !context.covers(&dot), "a dot is never minted twice");
        self.siblings.retain(|sibling| !context.covers(&sibling.dot));
        self.causality.join(context);
        self.causality.insert(dot);
        self.insert(Sibling { dot, timestamp, payload });
        self.resolve(mode);
    }

    /// Takes in another replica's state; returns whether anything changed. Commutative, associative, idempotent.
    pub fn merge(&mut self, other: &SiblingSet, mode: Mode) -> bool {
        if self == other {
            // Still resolved: a state that was joined without regard to the mode may hold more than one version.
            return self.resolve(mode);
        }
        if self.is_empty() {
            // The first that this replica hears of the key: the common case of a replicated create.
            self.clone_from(other);
            self.resolve(mode);
            return !self.is_empty();
        }
        let before = self.siblings.len();
        self.siblings.retain(|sibling| other.has(&sibling.dot) || !other.causality.covers(&sibling.dot));
        let dropped = self.siblings.len() != before;
        for sibling in &other.siblings {
            // What is covered is here already, or was superseded.
            if !self.causality.covers(&sibling.dot) {
                self.insert(sibling.clone());
            }
        }
        let grew = self.causality.join(&other.causality);
        let resolved = self.resolve(mode);
        dropped || grew || resolved
    }

    /// Forgets what actors wrote that never write again, so that a key's causality does not grow with each node that ever
    /// was. An actor of which a version is still there stays. Returns whether anything changed.
    ///
    /// A state that still knows a pruned write brings it back, as a merge has to; and one that has an older version of that
    /// actor brings that back too, as if it were new. So only what all replicas have alike may be pruned, once no
    /// other state is under way.
    pub fn prune(&mut self, retired: impl Fn(&Actor) -> bool) -> bool {
        let siblings = &self.siblings;
        let is_left = |actor: &Actor| siblings.iter().any(|sibling| sibling.dot.actor == *actor);
        self.causality.retain(|actor| !retired(actor) || is_left(actor))
    }

    /// How this state stands to another.
    pub fn relation(&self, other: &SiblingSet) -> Relation {
        use std::cmp::Ordering;
        match self.causality.partial_cmp(&other.causality) {
            Some(Ordering::Equal) if self.siblings == other.siblings => Relation::Equal,
            Some(Ordering::Greater) => Relation::Newer,
            Some(Ordering::Less) => Relation::Older,
            Some(Ordering::Equal) | None => Relation::Concurrent,
        }
    }

    fn has(&self, dot: &Dot) -> bool {
        self.siblings.binary_search_by(|sibling| sibling.dot.cmp(dot)).is_ok()
    }

    fn insert(&mut self, sibling: Sibling) {
        if let Err(at) = self.siblings.binary_search_by(|known| known.dot.cmp(&sibling.dot)) {
            self.siblings.insert(at, sibling);
        }
    }

    /// Last-write-wins among what survived causally; returns whether anything was dropped.
    fn resolve(&mut self, mode: Mode) -> bool {
        if mode == Mode::Siblings || self.siblings.len() < 2 {
            return false;
        }
        let winner = self.siblings.iter().enumerate().max_by_key(|(_, sibling)| (sibling.timestamp, sibling.dot));
        let winner = winner.map(|(at, _)| at).expect("at least two");
        self.siblings.swap(0, winner);
        self.siblings.truncate(1);
        true
    }
}
