//! The read-modify-write of a record (§4.4) as pure functions: current record and operation in, new record out.
//!
//! The apply thread of the store and the simulator both drive these; there is no clock, no thread and no engine here.
//! The only thing from outside is `fresh`, which hands out key epochs that were reserved durably beforehand.

use crate::record::Record;
use bytes::Bytes;
use dynamo_version::{Actor, Causality, Dot, Minter, Mode, Payload, SiblingSet, Timestamp, mint};

/// What a coordinated write brings.
#[derive(Clone, Debug)]
pub struct WriteInput<'a> {
    /// What the client had read.
    pub context: &'a Causality,
    /// The latest timestamp it had read.
    pub context_ts: Timestamp,
    /// The value or tombstone.
    pub payload: Payload,
    /// The bucket's mode.
    pub mode: Mode,
    /// The coordinator's clock, ms since the Unix epoch.
    pub wall_ms: u64,
}

/// What a state from elsewhere brings.
#[derive(Clone, Debug)]
pub struct MergeInput {
    /// Canonical encoding of a sibling set.
    pub set: Bytes,
    /// Its digest, as the sender computed it.
    pub digest: u64,
    /// The bucket's mode.
    pub mode: Mode,
}

/// A record's next state.
#[derive(Clone, Debug)]
pub struct Next {
    /// What is to be stored.
    pub record: Record,
    /// False if that is what is stored already.
    pub changed: bool,
    /// The dot of a write.
    pub dot: Option<Dot>,
    /// The timestamp of a write.
    pub timestamp: Timestamp,
    /// Siblings in the set.
    pub siblings: usize,
    /// Siblings that a write replaced.
    pub superseded: usize,
    /// True if every sibling is a tombstone.
    pub deleted: bool,
    /// True if there was a record, and all its siblings were tombstones.
    pub was_deleted: bool,
}

/// A state that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The stored set passes its checksum and yet cannot be decoded.
    Stored(String),
    /// The received set does not match its digest or cannot be decoded.
    Received(String),
}

fn decode_stored(current: Option<&Record>) -> Result<SiblingSet, ApplyError> {
    match current {
        None => Ok(SiblingSet::new()),
        Some(record) => SiblingSet::decode(record.set.clone()).map_err(|error| ApplyError::Stored(error.to_string())),
    }
}

fn decode_received(set: &Bytes, digest: u64) -> Result<SiblingSet, ApplyError> {
    if SiblingSet::digest(set) != digest {
        return Err(ApplyError::Received("its digest does not match".into()));
    }
    let set = SiblingSet::decode(set.clone()).map_err(|error| ApplyError::Received(error.to_string()))?;
    if set.is_empty() {
        return Err(ApplyError::Received("it is the state of a key never written".into()));
    }
    Ok(set)
}

/// A write coordinated by this node.
pub fn write(
    current: Option<&Record>,
    input: WriteInput<'_>,
    minter: &Minter,
    fresh: impl FnOnce() -> u64,
) -> Result<Next, ApplyError> {
    let mut set = decode_stored(current)?;
    let was_deleted = current.is_some() && set.is_deleted();
    let own_epoch = current.and_then(|record| record.own_epoch);
    let (dot, own_epoch) = mint(&set, input.context, minter, own_epoch, fresh);
    let timestamp = Timestamp::after(input.wall_ms, set.max_timestamp().max(input.context_ts));
    let before = set.siblings().len();
    set.write(input.context, dot, timestamp, input.payload, input.mode);
    let superseded = before + 1 - set.siblings().len();
    Ok(Next { superseded, timestamp, ..next(set, Some(own_epoch), Some(dot), was_deleted) })
}

/// A state from another replica joins the record.
pub fn merge(current: Option<&Record>, input: MergeInput) -> Result<Next, ApplyError> {
    let received = decode_received(&input.set, input.digest)?;
    let Some(record) = current else {
        // A hint that joined two records may bring more than one version to a bucket that keeps the latest.
        if input.mode == Mode::LastWriteWins && received.siblings().len() > 1 {
            let mut set = SiblingSet::new();
            set.merge(&received, input.mode);
            return Ok(next(set, None, None, false));
        }
        let record = Record { own_epoch: None, digest: input.digest, set: input.set };
        let (siblings, deleted) = (received.siblings().len(), received.is_deleted());
        let timestamp = Timestamp::default();
        let (changed, dot, superseded, was_deleted) = (true, None, 0, false);
        return Ok(Next { record, changed, dot, timestamp, siblings, superseded, deleted, was_deleted });
    };
    let mut set = decode_stored(current)?;
    let was_deleted = set.is_deleted();
    let changed = record.digest != input.digest && set.merge(&received, input.mode);
    if !changed {
        let siblings = set.siblings().len();
        return Ok(Next {
            record: record.clone(),
            changed,
            dot: None,
            timestamp: Timestamp::default(),
            siblings,
            superseded: 0,
            deleted: was_deleted,
            was_deleted,
        });
    }
    Ok(next(set, record.own_epoch, None, was_deleted))
}

/// The join of two stored records, for a hint that has to deliver both. Every sibling is kept: the receiver knows the
/// bucket's mode and applies it.
pub fn join(one: &Record, other: &Record) -> Result<Record, ApplyError> {
    let mut set = decode_stored(Some(one))?;
    set.merge(&decode_stored(Some(other))?, Mode::Siblings);
    Ok(next(set, one.own_epoch, None, false).record)
}

/// Actors of a record above which all of them leave its causality that have no version there.
pub const ACTORS_MAX: usize = 16;

/// What [`Op::Prune`](crate::Op::Prune) makes of a state that all replicas have alike; None if that is the same.
///
/// `retired` are nodes, each with the incarnation that is over. Where there are many actors, those of nodes that go on are
/// left out as well: whoever had no memory of the key took an epoch of its own for each time it stood in.
pub fn pruned(set: &SiblingSet, retired: &[(u128, u64)]) -> Option<SiblingSet> {
    let crowded = set.causality().entries().len() + set.causality().dots().len() > ACTORS_MAX;
    if !crowded && retired.is_empty() {
        return None;
    }
    let mut pruned = set.clone();
    let goes = |actor: &Actor| crowded || retired.contains(&(actor.node, actor.incarnation));
    pruned.prune(goes).then_some(pruned)
}

/// Whether a state that all replicas have alike need not be kept as it is: it is deleted, or can be pruned.
pub fn is_spent(set: &SiblingSet, retired: &[(u128, u64)]) -> bool {
    set.is_deleted() || pruned(set, retired).is_some()
}

fn next(set: SiblingSet, own_epoch: Option<u64>, dot: Option<Dot>, was_deleted: bool) -> Next {
    let encoded = set.encode();
    let record = Record { own_epoch, digest: SiblingSet::digest(&encoded), set: encoded };
    Next {
        record,
        changed: true,
        dot,
        timestamp: Timestamp::default(),
        siblings: set.siblings().len(),
        superseded: 0,
        deleted: set.is_deleted(),
        was_deleted,
    }
}
