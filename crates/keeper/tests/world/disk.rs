//! What a node's store has, and what it does for the keeper.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynamo_keeper::{StoreAsk, StoreDone, Trees};
use dynamo_merkle::{Entry, Tree};
use dynamo_ring::NodeId;
use dynamo_transfer::{MergeRefusal, Page, Record, Stored};

use super::{SHAPE, World, hash};

/// A record: writes that were seen, and those that no other supersedes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    pub seen: u64,
    pub live: u64,
}

impl State {
    pub fn join(self, other: State) -> State {
        let live = (self.live & other.live) | (self.live & !other.seen) | (other.live & !self.seen);
        State { seen: self.seen | other.seen, live }
    }

    pub(super) fn encode(self) -> Bytes {
        Bytes::from([self.seen.to_be_bytes(), self.live.to_be_bytes()].concat())
    }

    pub(super) fn decode(bytes: &[u8]) -> State {
        let (seen, live) = bytes.split_at(8);
        let word = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
        State { seen: word(seen), live: word(live) }
    }
}

pub(super) fn digest(state: State) -> u64 {
    hash(&state.encode()) | 1
}

/// What survives a crash of the process.
#[derive(Clone, Default)]
pub struct Disk {
    pub(super) meta: BTreeMap<&'static str, Bytes>,
    pub(super) fences: Vec<u64>,
    pub(super) floor: u64,
    pub(super) records: BTreeMap<u16, BTreeMap<Vec<u8>, State>>,
    pub(super) hints: BTreeMap<(NodeId, u16, Vec<u8>), State>,
    pub(super) trees: BTreeMap<u16, Tree>,
    pub(super) incarnation: u64,
    /// Starts of this life, writes, and dots that were minted.
    pub(super) generation: u64,
    pub(super) commits: u64,
    pub(super) minted: u64,
}

impl Trees for Disk {
    fn with(&self, partition: u16, read: &mut dyn FnMut(&Tree)) {
        match self.trees.get(&partition) {
            Some(tree) => read(tree),
            None => read(&Tree::new(SHAPE)),
        }
    }
}

impl Disk {
    pub(super) fn apply(&mut self, partition: u16, key: &[u8], state: State) {
        self.commits += 1;
        let joined = self.of(partition, key).join(state);
        self.put(partition, key, Some(joined));
    }

    pub(super) fn put(&mut self, partition: u16, key: &[u8], state: Option<State>) {
        let records = self.records.entry(partition).or_default();
        let before = match state {
            Some(state) => records.insert(key.to_vec(), state),
            None => records.remove(key),
        };
        let tree = self.trees.entry(partition).or_insert_with(|| Tree::new(SHAPE));
        tree.apply(hash(key), before.map(digest), state.map(digest));
    }

    pub(super) fn of(&self, partition: u16, key: &[u8]) -> State {
        self.records.get(&partition).and_then(|records| records.get(key)).copied().unwrap_or_default()
    }

    pub fn records(&self) -> usize {
        self.records.values().map(BTreeMap::len).sum()
    }

    pub(super) fn fence(&self, partition: u16) -> u64 {
        self.fences[usize::from(partition)].max(self.floor)
    }
}

impl World {
    /// Applies at once: the process may crash before it hears of it.
    pub(super) fn store(&mut self, node: NodeId, what: StoreAsk) -> StoreDone {
        let disk = &mut self.nodes.get_mut(&node).unwrap().disk;
        match what {
            StoreAsk::Put { key, value } => {
                disk.commits += 1;
                disk.meta.insert(key, value);
                StoreDone::Kept
            }
            StoreAsk::Fence { .. } if self.full.contains(&node) => {
                self.fences_refused += 1;
                StoreDone::Failed
            }
            StoreAsk::Fence { partitions, epoch, floor } => {
                self.log.push(format!("{} node {} fences {partitions:?} {epoch}, floor {floor}", self.now, node.0));
                disk.floor = floor.max(disk.floor);
                for partition in partitions {
                    let fence = &mut disk.fences[usize::from(partition)];
                    *fence = epoch.max(*fence);
                }
                StoreDone::Kept
            }
            StoreAsk::Merge { partition, epoch, records } => {
                if epoch < disk.fence(partition) {
                    return StoreDone::Merged(Err(MergeRefusal::Sealed));
                }
                for Record { key, set, .. } in records {
                    self.take_in(node, partition, &key, State::decode(&set));
                }
                StoreDone::Merged(Ok(()))
            }
            StoreAsk::Leaf { partition, leaf, after, entries_max, .. } => {
                let records = disk.records.get(&partition).into_iter().flatten();
                let of_leaf = records.filter(|(key, _)| SHAPE.leaf_of(hash(key)) == leaf);
                let mut after: Vec<Entry> = of_leaf
                    .filter(|(key, _)| after.as_ref().is_none_or(|after| key[..] > after[..]))
                    .map(|(key, bits)| Entry { key: key.clone().into(), digest: digest(*bits) })
                    .take(entries_max + 1)
                    .collect();
                let end = after.len() <= entries_max;
                after.truncate(entries_max);
                StoreDone::Leaf { entries: after, end }
            }
            StoreAsk::Records { partition, keys, .. } => {
                let stored = |key: &Bytes| match disk.of(partition, key) {
                    state if state == State::default() => Stored::Absent,
                    state => Stored::State { set: state.encode(), digest: digest(state) },
                };
                StoreDone::Records(keys.iter().map(stored).collect())
            }
            StoreAsk::Page { partition, after, .. } => {
                let records = disk.records.get(&partition).into_iter().flatten();
                let mut rest = records.filter(|(key, _)| after.as_ref().is_none_or(|after| key[..] > after[..]));
                let page: Vec<Record> = rest
                    .by_ref()
                    .take(3)
                    .map(|(key, bits)| Record { key: key.clone().into(), set: bits.encode(), digest: digest(*bits) })
                    .collect();
                let go_on = rest.next().and(page.last().map(|last| last.key.clone()));
                StoreDone::Page(Page { records: page, damaged: 0, go_on })
            }
            StoreAsk::Scrub { .. } => StoreDone::Scrubbed { go_on: None, damaged: vec![], bytes: 0 },
            StoreAsk::Mend { key } => {
                let partition = u16::from_be_bytes([key[0], key[1]]);
                disk.put(partition, &key[2..], None);
                StoreDone::Kept
            }
            StoreAsk::Forget { partition, epoch, limit } => {
                if disk.fence(partition) < epoch {
                    return StoreDone::Failed;
                }
                let records = disk.records.entry(partition).or_default();
                let gone: Vec<Vec<u8>> = records.keys().take(limit).cloned().collect();
                gone.iter().for_each(|key| disk.put(partition, key, None));
                let left = !disk.records[&partition].is_empty();
                self.watch.forgotten.push((node, partition, left));
                StoreDone::Forgot { left }
            }
            ask @ (StoreAsk::Spent { .. } | StoreAsk::Digests { .. } | StoreAsk::Hinted | StoreAsk::Collect { .. }) => {
                self.spent(node, ask)
            }
        }
    }
}
