//! Picking the dot of a new write, so that no dot ever names two writes (§4.4; riak_kv 679 is what happens else).
//!
//! A node numbers its writes of a key in sequence as long as it remembers the key without a break. When it may have
//! forgotten (a fallback handed its hint off, a tombstone was collected, a disk lost its last writes), a number could
//! repeat, and a reader's context would cover a write that it never saw. Then the node takes a fresh key epoch, which
//! makes it a new actor.

use crate::{
    causality::Causality,
    dot::{Actor, COUNTER_MAX, Dot},
    siblings::SiblingSet,
};

/// The node that mints, as it is for all keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minter {
    /// Its id.
    pub node: u128,
    /// Which life of its disk (see [`Actor::incarnation`]).
    pub incarnation: u64,
    /// Memories of key epochs below this may lack writes that were sent to others: a crash came between.
    pub epoch_floor: u64,
}

/// The dot of a write by `me` over `set` with `context`, and the key epoch to remember with the record.
///
/// `own_epoch` is the epoch under which this node has minted for the key with unbroken memory. It is local: a vector
/// entry of this node that came back from another replica is no memory, it may be behind. `fresh` hands out an epoch that
/// was never used by this incarnation, from a block reserved durably; it is called at most once.
///
/// ```
/// use bytes::Bytes;
/// use dynamo_version::{Causality, Minter, Mode, Payload, SiblingSet, Timestamp, mint};
///
/// let me = Minter { node: 7, incarnation: 1, epoch_floor: 40 };
/// let (mut set, nothing) = (SiblingSet::new(), Causality::new());
/// let (dot, epoch) = mint(&set, &nothing, &me, None, || 41);
/// assert_eq!((dot.counter, epoch), (1, 41));
/// set.write(&nothing, dot, Timestamp(1), Payload::Value(Bytes::from("v")), Mode::Siblings);
/// // With unbroken memory it counts on.
/// let (dot, epoch) = mint(&set, &nothing, &me, Some(41), || unreachable!());
/// assert_eq!((dot.counter, epoch), (2, 41));
/// // After a crash the floor has risen above that memory.
/// let (dot, epoch) = mint(&set, &nothing, &Minter { epoch_floor: 60, ..me }, Some(41), || 60);
/// assert_eq!((dot.counter, epoch), (1, 60));
/// ```
pub fn mint(
    set: &SiblingSet,
    context: &Causality,
    me: &Minter,
    own_epoch: Option<u64>,
    fresh: impl FnOnce() -> u64,
) -> (Dot, u64) {
    let actor = |key_epoch| Actor { node: me.node, incarnation: me.incarnation, key_epoch };
    if let Some(epoch) = own_epoch.filter(|epoch| *epoch >= me.epoch_floor) {
        let actor = actor(epoch);
        let counter = set.causality().counter(&actor);
        // A context, or a detached dot, that knows more of this actor than the record does: the memory is broken.
        let unbroken = set.causality().highest(&actor) == counter && context.highest(&actor) <= counter;
        if unbroken && counter < COUNTER_MAX {
            return (Dot { actor, counter: counter + 1 }, epoch);
        }
    }
    let epoch = fresh();
    let actor = actor(epoch);
    // Nobody knows a fresh epoch, unless this disk was rolled back unseen: then at least what is known here is not reused.
    let known = set.causality().highest(&actor).max(context.highest(&actor));
    (Dot { actor, counter: known + 1 }, epoch)
}
