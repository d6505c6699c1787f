//! Removing and mending records: partitions given up (§4.9), tombstones and actors that nobody needs any more, damage.
//!
//! That a removal is right among all replicas is the caller's to know; here each is held against what is stored at the
//! moment when it is done. Each operation reads first and changes the batch after, so that one that fails changes nothing.

use super::{Planner, apply_error};
use crate::apply::{self, ApplyError};
use crate::engine::{EngineError, Scan, Space};
use crate::error::StoreError;
use crate::key::{RecordKey, hint_key, leaf_range, partition_prefix, tree_hash};
use crate::record::{Head, Record, RecordError};
use crate::store::Outcome;
use crate::trees::load::for_each_head;
use bytes::Bytes;
use dynamo_merkle::Tree;
use dynamo_ring::{NodeId, Partition};
use dynamo_version::{Actor, DecodeError, SiblingSet};
use std::collections::BTreeSet;

/// Bytes of records that one `Forget` reads, beyond its limit in number.
const FORGET_BYTES_MAX: usize = 4 << 20;

/// A record that is to go.
struct Removal {
    key: RecordKey,
    /// Bytes that it takes, key included.
    bytes: usize,
    /// Its digest; None if that cannot be told, and its leaf has to be counted anew.
    digest: Option<u64>,
    deleted: bool,
}

/// A note that becomes a copy.
struct Copied {
    target: NodeId,
    slot: Bytes,
    body: Bytes,
}

impl Planner<'_> {
    pub(super) fn forget(&mut self, partition: Partition, epoch: u64, limit: usize) -> Result<Outcome, StoreError> {
        match self.fence(partition) {
            fence if fence == epoch && epoch > 0 => {}
            fence => return Err(StoreError::Serving { fence }),
        }
        let (found, end) = self.some_records(partition, limit.max(1))?;
        let (mut removals, mut copies, mut strays) = (Vec::with_capacity(found.len()), Vec::new(), Vec::new());
        for (slot, value) in found {
            let Ok(key) = RecordKey::decode(&slot) else {
                // No key of ours: not counted, and in no tree.
                strays.push(slot);
                continue;
            };
            let removal = Removal::of(key, &value);
            if let Ok(record) = Record::decode(&slot, value) {
                self.copy_into_notes(&removal.key, record, &mut copies)?;
            }
            removals.push(removal);
        }
        let gone = |slot: &[u8]| removals.binary_search_by(|removal| removal.key.as_bytes()[..].cmp(slot)).is_ok();
        let unknown = removals.iter().filter(|removal| removal.digest.is_none());
        let leaves: BTreeSet<u32> = unknown.map(|removal| self.leaf_of(&removal.key)).collect();
        let sums = if end {
            // Nothing is left, whatever the tree says.
            self.leaves.sums(&self.live.trees, partition).into_iter().map(|(leaf, _)| (leaf, 0)).collect()
        } else {
            let sum = |leaf| Ok((leaf, self.leaf_sum(partition, leaf, gone)?));
            leaves.into_iter().map(sum).collect::<Result<Vec<_>, StoreError>>()?
        };
        for Copied { target, slot, body } in copies {
            // No bound on hints here: the record that it is a copy of goes.
            self.totals.hint_changed(target, Some(slot.len()), Some(slot.len() + body.len()));
            self.overlay.insert((Space::Hints, slot), Some(body));
        }
        removals.into_iter().for_each(|removal| self.remove(removal));
        self.overlay.extend(strays.into_iter().map(|slot| ((Space::Data, slot), None)));
        sums.into_iter().for_each(|(leaf, sum)| self.leaves.set(&self.live.trees, partition, leaf, sum));
        Ok(Outcome::Forgot { left: !end })
    }

    pub(super) fn collect(&mut self, key: &RecordKey, digest: u64) -> Result<Outcome, StoreError> {
        let Some((set, _, bytes)) = self.exactly(key, digest)? else { return Ok(Outcome::Collected(false)) };
        if !set.is_deleted() || self.is_hinted(key)? {
            return Ok(Outcome::Collected(false));
        }
        self.remove(Removal { key: key.clone(), bytes, digest: Some(digest), deleted: true });
        Ok(Outcome::Collected(true))
    }

    pub(super) fn prune(
        &mut self,
        key: &RecordKey,
        digest: u64,
        actors: &[(u128, u64)],
    ) -> Result<Outcome, StoreError> {
        let Some((before, own_epoch, bytes)) = self.exactly(key, digest)? else { return Ok(Outcome::Pruned(false)) };
        let Some(set) = apply::pruned(&before, actors) else { return Ok(Outcome::Pruned(false)) };
        // Numbering on from what was just dropped would give a dot twice.
        let (node, incarnation) = (self.settings.node, self.settings.incarnation);
        let known = |key_epoch: &u64| {
            let actor = Actor { node, incarnation, key_epoch: *key_epoch };
            set.causality().highest(&actor) == before.causality().highest(&actor)
        };
        let own_epoch = own_epoch.filter(known);
        let encoded = set.encode();
        let pruned = Record { own_epoch, digest: SiblingSet::digest(&encoded), set: encoded };
        let slot = key.as_bytes().clone();
        let value = pruned.encode(&slot);
        let deleted = set.is_deleted();
        self.totals.record_changed(Some((deleted, bytes)), Some((deleted, slot.len() + value.len())));
        self.leaves.record_changed(&self.live.trees, key, Some(digest), Some(pruned.digest));
        self.overlay.insert((Space::Data, slot), Some(value));
        Ok(Outcome::Pruned(true))
    }

    pub(super) fn mend(&mut self, key: &RecordKey) -> Result<Outcome, StoreError> {
        let slot = key.as_bytes();
        let Some(value) = self.raw(Space::Data, slot)?.filter(|value| is_damaged(slot, value)) else {
            return Ok(Outcome::Mended(false));
        };
        let removal = Removal::of(key.clone(), &value);
        let (partition, leaf) = (key.partition(), self.leaf_of(key));
        let sum = match removal.digest {
            Some(_) => None,
            None => Some(self.leaf_sum(partition, leaf, |other| other == &slot[..])?),
        };
        self.remove(removal);
        if let Some(sum) = sum {
            self.leaves.set(&self.live.trees, partition, leaf, sum);
        }
        Ok(Outcome::Mended(true))
    }

    pub(super) fn rebuild(&mut self, partition: Partition) -> Result<Outcome, StoreError> {
        let trees = &self.live.trees;
        let mut built = Tree::new(trees.shape());
        self.for_each_head_now(&partition_prefix(partition), None, None, |slot, digest| {
            built.apply(tree_hash(slot), None, Some(digest));
        })?;
        let kept = Tree::from_leaves(trees.shape(), self.leaves.sums(trees, partition)).expect("leaves of one shape");
        let mut changed_leaves = 0;
        for leaf in built.differing_leaves(&kept) {
            self.leaves.set(trees, partition, leaf, built.leaf(leaf));
            changed_leaves += 1;
        }
        if changed_leaves > 0 {
            tracing::error!(partition = partition.0, changed_leaves, "a hash tree was not that of the records");
        }
        Ok(Outcome::Rebuilt { changed_leaves })
    }

    /// The record if its digest is this: its set, its own key epoch, the bytes that it takes.
    fn exactly(&self, key: &RecordKey, digest: u64) -> Result<Option<(SiblingSet, Option<u64>, usize)>, StoreError> {
        let Some((record, bytes)) = self.own(key)?.filter(|(record, _)| record.digest == digest) else {
            return Ok(None);
        };
        let set = SiblingSet::decode(record.set);
        let set = set.map_err(|error| apply_error(ApplyError::Stored(error.to_string()), key))?;
        Ok(Some((set, record.own_epoch, bytes)))
    }

    fn is_hinted(&self, key: &RecordKey) -> Result<bool, StoreError> {
        for target in self.totals.hints.keys() {
            if self.raw(Space::Hints, &hint_key(*target, key))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A note promises the own record, which goes: it becomes a copy.
    fn copy_into_notes(&self, key: &RecordKey, record: Record, copies: &mut Vec<Copied>) -> Result<(), StoreError> {
        let record = Record { own_epoch: None, ..record };
        for &target in self.totals.hints.keys() {
            let slot = hint_key(target, key);
            if self.raw(Space::Hints, &slot)?.is_some_and(|body| body.is_empty()) {
                let body = record.encode(&slot);
                copies.push(Copied { target, slot, body });
            }
        }
        Ok(())
    }

    fn remove(&mut self, Removal { key, bytes, digest, deleted }: Removal) {
        self.totals.record_changed(Some((deleted, bytes)), None);
        if digest.is_some() {
            self.leaves.record_changed(&self.live.trees, &key, digest, None);
        }
        self.overlay.insert((Space::Data, key.as_bytes().clone()), None);
    }

    fn leaf_of(&self, key: &RecordKey) -> u32 {
        self.live.trees.shape().leaf_of(key.tree_hash())
    }

    /// What a leaf's sum should be, but for some records.
    fn leaf_sum(&self, partition: Partition, leaf: u32, except: impl Fn(&[u8]) -> bool) -> Result<u64, StoreError> {
        let shape = self.live.trees.shape();
        let (from, until) = leaf_range(partition, leaf, shape.leaf_bits());
        let mut sums = Tree::new(shape);
        let until = until.as_ref().map(|until| &until[..]);
        self.for_each_head_now(&partition_prefix(partition), Some(&from), until, |slot, digest| {
            if !except(slot) {
                sums.apply(tree_hash(slot), None, Some(digest));
            }
        })?;
        Ok(sums.leaf(leaf))
    }

    /// Some of a partition's records as they are after the changes so far, in key order, and whether those are all.
    fn some_records(&self, partition: Partition, limit: usize) -> Result<(Vec<(Bytes, Bytes)>, bool), StoreError> {
        let prefix = partition_prefix(partition);
        let (space, bytes_max) = (Space::Data, FORGET_BYTES_MAX);
        let scan = Scan { space, prefix: &prefix, after: None, until: None, limit, bytes_max };
        let page = self.live.engine.scan(scan).map_err(|error| StoreError::running(&error))?;
        let stored = page.entries.into_iter().filter(|(slot, _)| !self.is_touched(slot));
        let touched =
            self.touched(&prefix, None, None).filter_map(|(slot, value)| Some((slot.clone(), value?.clone())));
        let mut records: Vec<(Bytes, Bytes)> = stored.chain(touched).collect();
        records.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok((records, page.end))
    }

    /// Digests of a range's records as they are after the changes so far. Those with a damaged head are left out.
    fn for_each_head_now(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        until: Option<&[u8]>,
        mut each: impl FnMut(&[u8], u64),
    ) -> Result<(), StoreError> {
        let mut counted = |slot: &[u8], head: Result<Head, RecordError>| {
            if let Ok(head) = head {
                each(slot, head.digest);
            }
        };
        let stored = for_each_head(&*self.live.engine, prefix, after, until, |slot, head| {
            if !self.is_touched(&slot) {
                counted(&slot, head);
            }
        });
        stored.map_err(|error: EngineError| StoreError::running(&error))?;
        for (slot, value) in self.touched(prefix, after, until) {
            if let Some(value) = value {
                counted(slot, Head::decode(slot, value));
            }
        }
        Ok(())
    }

    fn is_touched(&self, slot: &Bytes) -> bool {
        self.overlay.contains_key(&(Space::Data, slot.clone()))
    }

    /// What this batch has made of records in a range.
    fn touched<'b>(
        &'b self,
        prefix: &'b [u8],
        after: Option<&'b [u8]>,
        until: Option<&'b [u8]>,
    ) -> impl Iterator<Item = (&'b Bytes, Option<&'b Bytes>)> {
        let from = (Space::Data, Bytes::copy_from_slice(after.unwrap_or(prefix)));
        let all = self.overlay.range(from..).map(|((space, slot), value)| (*space, slot, value.as_ref()));
        let within = move |space: Space, slot: &[u8]| {
            space == Space::Data && slot.starts_with(prefix) && until.is_none_or(|until| slot < until)
        };
        all.take_while(move |(space, slot, _)| within(*space, slot)).map(|(_, slot, value)| (slot, value))
    }
}

impl Removal {
    fn of(key: RecordKey, value: &Bytes) -> Removal {
        let slot = key.as_bytes();
        let digest = Head::decode(slot, value).ok().map(|head| head.digest);
        let body = value.get(crate::record::HEAD_BYTES..).map(|body| value.slice_ref(body));
        let deleted = body.is_some_and(|body| SiblingSet::decode(body).is_ok_and(|set| set.is_deleted()));
        Removal { bytes: slot.len() + value.len(), key, digest, deleted }
    }
}

/// What a newer version wrote is not damaged: this one just cannot read it.
fn is_damaged(slot: &[u8], value: &Bytes) -> bool {
    match Record::decode(slot, value.clone()) {
        Ok(record) => !matches!(SiblingSet::decode(record.set), Ok(_) | Err(DecodeError::NewerFormat { .. })),
        Err(RecordError::NewerFormat(_)) => false,
        Err(RecordError::Short | RecordError::Head | RecordError::Body) => true,
    }
}
