//! What befalls nodes and their disks.

use bytes::Bytes;
use dynamo_keeper::{Keeper, Superseded};
use dynamo_ring::NodeId;

use super::{Disk, Event, MS, Q, World, id};

impl World {
    pub fn crash(&mut self, number: u128, down_us: u64) {
        self.log.push(format!("{} node {number} crashes", self.now));
        let node = self.nodes.get_mut(&id(number)).unwrap();
        if node.keeper.take().is_some() {
            node.life += 1;
            self.at(down_us, Event::Restart(id(number)));
        }
    }

    /// As after a crash between the fence for a charter and keeping it.
    pub fn fence_ahead(&mut self, number: u128, epoch: u64) {
        self.nodes.get_mut(&id(number)).unwrap().disk.floor = epoch;
    }

    /// Crashes it for good.
    pub fn kill(&mut self, number: u128) {
        let node = self.nodes.get_mut(&id(number)).unwrap();
        node.keeper = None;
        node.life += 1;
    }

    /// One that was killed for good comes back all the same.
    pub fn start_again(&mut self, number: u128) {
        if self.keeper(number).is_none() {
            self.start(id(number));
        }
    }

    /// It comes back with an empty disk.
    pub fn wipe(&mut self, number: u128, down_us: u64) {
        self.crash(number, down_us);
        let incarnation = self.now + 1;
        let node = self.nodes.get_mut(&id(number)).unwrap();
        node.disk = Disk { fences: vec![0; usize::from(Q)], incarnation, ..Disk::default() };
    }

    /// What is on its disk now.
    pub fn copy(&self, number: u128) -> Disk {
        self.nodes[&id(number)].disk.clone()
    }

    /// It comes back with an old copy of its disk.
    pub fn roll_back(&mut self, number: u128, to: Disk, down_us: u64) {
        self.crash(number, down_us);
        self.nodes.get_mut(&id(number)).unwrap().disk = to;
    }

    pub fn life(&self, number: u128) -> u64 {
        self.nodes[&id(number)].disk.incarnation
    }

    /// What a node does when it learns that its disk is an old copy: it begins another life, and starts again.
    pub(super) fn begin_life(&mut self, node: NodeId, superseded: Superseded) {
        self.log.push(format!("{} node {}: {superseded}", self.now, node.0));
        self.superseded.push(superseded);
        let entry = self.nodes.get_mut(&node).unwrap();
        let disk = &mut entry.disk;
        disk.incarnation = self.now.max(disk.incarnation + 1).max(superseded.newest_life + 1);
        disk.generation = disk.generation.max(superseded.mark.generation);
        entry.keeper = None;
        entry.life += 1;
        self.at(10 * MS, Event::Restart(node));
    }

    /// A coordinator names a write: no name is ever given twice.
    pub(super) fn mint(&mut self, node: NodeId) {
        let entry = self.nodes.get_mut(&node).unwrap();
        let known = entry.keeper.as_ref().is_some_and(Keeper::mints);
        let actor = if known { entry.disk.incarnation } else { entry.lot };
        entry.disk.minted += 1;
        entry.disk.commits += 1;
        let fresh = self.dots.insert((node, actor, entry.disk.minted));
        assert!(fresh, "node {} minted {} of {actor} twice\n{:?}", node.0, self.nodes[&node].disk.minted, self.log);
    }

    /// A record of this node's is found damaged.
    pub fn damage(&mut self, number: u128) -> bool {
        let records = self.nodes[&id(number)].disk.records.iter();
        let mut keys = records.flat_map(|(partition, records)| records.keys().map(move |key| (*partition, key)));
        let Some((partition, key)) = keys.next() else { return false };
        let key = Bytes::from([&partition.to_be_bytes()[..], key].concat());
        self.drive(id(number), |keeper, _, effects| keeper.damaged(key, effects));
        true
    }
}
