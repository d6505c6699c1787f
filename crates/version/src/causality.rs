//! What is known of a key's writes: a version vector, and a cloud of dots detached from it (§4.4).
//!
//! The vector says "all writes of this actor up to n"; a detached dot says "this one". A client that has just written
//! over what it read knows its own write but not a sibling that the same node minted in between: only a dot can say so.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::dot::{Actor, Dot};

/// A set of dots: all that happened before, or all that was seen (§4.4).
///
/// Always in normal form (sorted; no dot of the cloud covered by the vector or next to it), so that equal sets are
/// equal values.
///
/// ```
/// use dynamo_version::{Actor, Causality, Dot};
///
/// let dot = |node, counter| Dot { actor: Actor { node, incarnation: 1, key_epoch: 1 }, counter };
/// let (one, mut other): (Causality, Causality) = ([dot(1, 1)].into_iter().collect(), [dot(2, 1)].into_iter().collect());
/// assert_eq!(one.partial_cmp(&other), None, "concurrent");
/// assert!(other.join(&one) && other > one);
/// // The third write of node 1 is covered; what node 1 wrote second is not.
/// other.insert(dot(1, 3));
/// assert!(other.covers(&dot(1, 3)) && !other.covers(&dot(1, 2)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Causality {
    pub(crate) vector: SmallVec<[(Actor, u64); 4]>,
    pub(crate) cloud: SmallVec<[Dot; 1]>,
}

impl Causality {
    /// Nothing was seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it covers no write.
    pub fn is_empty(&self) -> bool {
        self.vector.is_empty() && self.cloud.is_empty()
    }

    /// Whether it covers this write.
    pub fn covers(&self, dot: &Dot) -> bool {
        dot.counter <= self.counter(&dot.actor) || self.cloud.binary_search(dot).is_ok()
    }

    /// Up to which number all of the actor's writes are covered; 0: none. Detached dots do not count.
    pub fn counter(&self, actor: &Actor) -> u64 {
        match self.position(actor) {
            Ok(at) => self.vector[at].1,
            Err(_) => 0,
        }
    }

    /// The highest number of the actor's writes that is covered, detached dots included; 0: none.
    pub fn highest(&self, actor: &Actor) -> u64 {
        let detached = self.cloud.iter().filter(|dot| dot.actor == *actor).map(|dot| dot.counter).max();
        self.counter(actor).max(detached.unwrap_or(0))
    }

    /// The version vector's entries, sorted by actor: up to which number, at least 1, all its writes are covered.
    pub fn entries(&self) -> &[(Actor, u64)] {
        &self.vector
    }

    /// The detached dots, sorted: none is covered by the vector.
    pub fn dots(&self) -> &[Dot] {
        &self.cloud
    }

    /// Covers this write too.
    ///
    /// # Panics
    /// On counter 0, which no write has.
    pub fn insert(&mut self, dot: Dot) {
        assert!(dot.counter > 0, "writes are counted from 1");
        if self.covers(&dot) {
            return;
        }
        if follows(&dot, self.counter(&dot.actor)) {
            self.raise(dot.actor, dot.counter);
            self.absorb_contiguous();
        } else if let Err(at) = self.cloud.binary_search(&dot) {
            self.cloud.insert(at, dot);
        }
    }

    /// Covers all that `other` covers too; returns whether that is more than before. Commutative, associative, idempotent.
    pub fn join(&mut self, other: &Causality) -> bool {
        let mut grew = false;
        for (actor, counter) in &other.vector {
            if self.counter(actor) < *counter {
                self.raise(*actor, *counter);
                grew = true;
            }
        }
        for dot in &other.cloud {
            if !self.covers(dot)
                && let Err(at) = self.cloud.binary_search(dot)
            {
                self.cloud.insert(at, *dot);
                grew = true;
            }
        }
        if grew {
            self.absorb_contiguous();
        }
        grew
    }

    /// Uncovers all writes of the other actors; returns whether there were any.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Actor) -> bool) -> bool {
        let before = (self.vector.len(), self.cloud.len());
        self.vector.retain(|(actor, _)| keep(actor));
        self.cloud.retain(|dot| keep(&dot.actor));
        before != (self.vector.len(), self.cloud.len())
    }

    fn position(&self, actor: &Actor) -> Result<usize, usize> {
        self.vector.binary_search_by(|(known, _)| known.cmp(actor))
    }

    fn raise(&mut self, actor: Actor, counter: u64) {
        match self.position(&actor) {
            Ok(at) => self.vector[at].1 = counter,
            Err(at) => self.vector.insert(at, (actor, counter)),
        }
    }

    /// Back to normal form after the vector grew: dots that it covers now, or that are its next, go into it.
    fn absorb_contiguous(&mut self) {
        if self.cloud.is_empty() {
            return;
        }
        // Sorted by actor, then counter: one pass sees each actor's dots in the order in which they can follow.
        let cloud = std::mem::take(&mut self.cloud);
        for dot in cloud {
            let counter = self.counter(&dot.actor);
            if follows(&dot, counter) {
                self.raise(dot.actor, dot.counter);
            } else if dot.counter > counter {
                self.cloud.push(dot);
            }
        }
    }

    fn covers_all(&self, other: &Causality) -> bool {
        // A vector entry of the other may be covered by ours and our cloud together only if ours is not in normal form.
        other.vector.iter().all(|(actor, counter)| self.counter(actor) >= *counter)
            && other.cloud.iter().all(|dot| self.covers(dot))
    }

    pub(crate) fn is_normal(&self) -> bool {
        let sorted = self.vector.windows(2).all(|pair| pair[0].0 < pair[1].0) && self.cloud.is_sorted_by(|a, b| a < b);
        sorted
            && self.vector.iter().all(|(_, counter)| *counter > 0)
            && self.cloud.iter().all(|dot| {
                let counter = self.counter(&dot.actor);
                dot.counter > counter && !follows(dot, counter)
            })
    }
}

/// Whether the dot is the next after `counter`, in a form that no counter overflows: they come from peers too.
fn follows(dot: &Dot, counter: u64) -> bool {
    dot.counter.checked_sub(1) == Some(counter)
}

impl PartialOrd for Causality {
    /// `Less`: the other covers all of this and more. None: each covers something that the other does not.
    fn partial_cmp(&self, other: &Causality) -> Option<Ordering> {
        match (self.covers_all(other), other.covers_all(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl FromIterator<Dot> for Causality {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut causality = Self::new();
        for dot in dots {
            causality.insert(dot);
        }
        causality
    }
}
