//! The join of the states that come in (§4.4): the first is kept as it is, and only a second, different one makes both
//! decoded.

use dynamo_version::{Mode, SiblingSet};
use smallvec::SmallVec;

use super::{Found, NEVER_WRITTEN};

#[derive(Debug, Default)]
pub(super) struct Join {
    /// The join of all states that came in, in its encoding.
    held: Option<Found>,
    /// The same, decoded; only once there was a difference.
    set: Option<Box<SiblingSet>>,
    /// Digests of the states that went into it, and its own.
    known: SmallVec<[u64; 4]>,
}

/// What became of a state.
pub(super) enum Taken {
    /// It is in the join.
    Joined,
    /// It is the join now. What was held until then, under this digest, had been taken without a look and turns out to be
    /// no sibling set.
    InPlaceOf(u64),
    /// It is no sibling set.
    Damaged,
}

impl Join {
    /// The join; None as long as no state came in.
    pub fn held(&self) -> Option<&Found> {
        self.held.as_ref()
    }

    /// Whether what a node answered with this digest is in it.
    pub fn contains(&self, digest: u64) -> bool {
        digest == NEVER_WRITTEN || self.known.contains(&digest)
    }

    pub fn take(&mut self, new: Found, mode: Mode) -> Taken {
        if self.known.contains(&new.digest) {
            return Taken::Joined;
        }
        let Some(held) = &self.held else {
            self.keep(new);
            return Taken::Joined;
        };
        let Ok(other) = SiblingSet::decode(new.encoded.clone()) else { return Taken::Damaged };
        let mut set = match self.set.take() {
            Some(set) => set,
            None => match SiblingSet::decode(held.encoded.clone()) {
                Ok(set) => Box::new(set),
                Err(_) => {
                    let damaged = held.digest;
                    self.known.clear();
                    self.keep(new);
                    return Taken::InPlaceOf(damaged);
                }
            },
        };
        set.merge(&other, mode);
        self.known.push(new.digest);
        let encoded = set.encode();
        let digest = SiblingSet::digest(&encoded);
        self.set = Some(set);
        self.keep(Found { encoded, digest });
        Taken::Joined
    }

    fn keep(&mut self, found: Found) {
        if !self.known.contains(&found.digest) {
            self.known.push(found.digest);
        }
        self.held = Some(found);
    }
}
