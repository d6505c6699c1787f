//! Strict clients, and what they must find again.

use std::collections::BTreeSet;

use dynamo_merkle::Tree;
use dynamo_ring::{NodeId, Partition};

use super::{Event, MS, Q, State, World, id};

pub(super) struct Write {
    epoch: u64,
    partition: u16,
    key: Vec<u8>,
    bit: u64,
    acked_by: BTreeSet<NodeId>,
    acked: bool,
}

pub(super) struct Read {
    epoch: u64,
    partition: u16,
    key: Vec<u8>,
    must: u64,
    bits: u64,
    answered: BTreeSet<NodeId>,
    judged: bool,
}

impl World {
    /// A strict write (W = 2) or read (R = 2) through any node that runs, by the ring that it knows.
    pub(super) fn client(&mut self) {
        self.at(2 * MS, Event::Client);
        if !self.clients {
            return;
        }
        let running: Vec<NodeId> =
            self.nodes.iter().filter(|(_, node)| node.keeper.is_some()).map(|(id, _)| *id).collect();
        if running.is_empty() {
            return;
        }
        let coordinator = running[self.chance.below(running.len() as u64) as usize];
        let charter = self.nodes[&coordinator].charter.clone();
        let key = self.chance.below(self.keys);
        let partition = (key % u64::from(Q)) as u16;
        let key = format!("{partition:02}/{key}").into_bytes();
        let mut homes = charter.ring().preference_list(Partition(partition));
        // Often no more than have to: what only W have, and only R are asked for, shows what is missing somewhere.
        if self.chance.percent(50) {
            homes.remove(self.chance.below(homes.len() as u64) as usize);
        }
        let epoch = charter.ring().epoch();
        if self.chance.percent(60) {
            self.mint(coordinator);
            let bit = 1 << self.chance.below(64);
            let write = self.writes.len();
            self.writes.push(Write { epoch, partition, key, bit, acked_by: BTreeSet::new(), acked: false });
            for to in homes {
                if let Some(delay) = self.link(coordinator, to) {
                    self.at(delay, Event::Write { to, write });
                }
            }
        } else {
            let read = self.reads.len();
            let must = self.acked.get(&(partition, key.clone())).copied().unwrap_or(0);
            self.reads.push(Read { epoch, partition, key, must, bits: 0, answered: BTreeSet::new(), judged: false });
            for to in homes {
                if let Some(delay) = self.link(coordinator, to) {
                    self.at(delay, Event::Read { to, read });
                }
            }
        }
    }

    pub(super) fn serves(&self, node: NodeId, epoch: u64, partition: u16) -> bool {
        let entry = &self.nodes[&node];
        entry.keeper.is_some()
            && epoch <= entry.charter.ring().epoch()
            && epoch >= entry.disk.fence(partition)
            && entry.charter.ring().is_home(Partition(partition), node)
    }

    pub(super) fn write(&mut self, to: NodeId, write: usize) {
        let Write { epoch, partition, ref key, bit, .. } = self.writes[write];
        let key = key.clone();
        let done = self.serves(to, epoch, partition);
        if done {
            self.nodes.get_mut(&to).unwrap().disk.apply(partition, &key, State { seen: bit, live: bit });
        }
        let delay = 100 + self.chance.below(self.weather.slow_us);
        self.at(delay, Event::WriteAnswer { from: to, write, done });
    }

    pub(super) fn write_answered(&mut self, from: NodeId, write: usize, done: bool) {
        let write = &mut self.writes[write];
        if done && write.acked_by.insert(from) && write.acked_by.len() >= 2 && !write.acked {
            write.acked = true;
            self.acknowledged += 1;
            *self.acked.entry((write.partition, write.key.clone())).or_default() |= write.bit;
        }
    }

    pub(super) fn serve_read(&mut self, to: NodeId, read: usize) {
        let Read { epoch, partition, ref key, .. } = self.reads[read];
        let node = &self.nodes[&to];
        let whole = node.keeper.as_ref().is_some_and(|keeper| keeper.whole()[usize::from(partition)]);
        let bits = (whole && self.serves(to, epoch, partition)).then(|| node.disk.of(partition, key).seen);
        let delay = 100 + self.chance.below(self.weather.slow_us);
        self.at(delay, Event::ReadAnswer { from: to, read, bits });
    }

    pub(super) fn read_answered(&mut self, from: NodeId, read: usize, bits: Option<u64>) {
        let Some(bits) = bits else { return };
        let read = &mut self.reads[read];
        read.bits |= bits;
        if read.answered.insert(from) && read.answered.len() >= 2 && !read.judged {
            read.judged = true;
            self.read += 1;
            assert_eq!(
                read.must & !read.bits,
                0,
                "a strict read at epoch {} of {:?} by {:?} lacks an acknowledged write: {:?}\nrings {:?}\n{:?}",
                read.epoch,
                String::from_utf8_lossy(&read.key),
                read.answered,
                self.writes
                    .iter()
                    .filter(|w| w.acked && w.key == read.key && w.bit & read.must & !read.bits != 0)
                    .map(|w| (w.epoch, w.bit, w.acked_by.clone()))
                    .collect::<Vec<_>>(),
                self.rings
                    .iter()
                    .map(|(epoch, ring)| (epoch, ring.preference_list(Partition(read.partition))))
                    .collect::<Vec<_>>(),
                self.log.iter().rev().take(60).rev().collect::<Vec<_>>(),
            );
        }
    }

    /// Every acknowledged write is at the homes of the newest ring: at one at least.
    pub fn check_nothing_lost(&self) {
        let charter = self.newest();
        for ((partition, key), bits) in &self.acked {
            let homes = charter.ring().preference_list(Partition(*partition));
            let held = homes.iter().fold(0, |held, id| held | self.nodes[id].disk.of(*partition, key).seen);
            assert_eq!(
                bits & !held,
                0,
                "{} lost an acknowledged write\n{}",
                String::from_utf8_lossy(key),
                self.describe()
            );
        }
    }

    /// All homes of each partition have the same.
    pub fn equal(&self) -> bool {
        let charter = self.newest();
        let ring = charter.ring();
        ring.partitions().iter().all(|partition| {
            let root = |id: &NodeId| self.nodes[id].disk.trees.get(&partition.0).map_or(0, Tree::root);
            let roots: BTreeSet<u64> = ring.preference_list(partition).iter().map(root).collect();
            roots.len() == 1
        })
    }

    pub fn records(&self, number: u128) -> usize {
        self.nodes[&id(number)].disk.records()
    }
}
