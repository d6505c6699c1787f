//! After the faults: waiting until the cluster has settled by itself, and looking at the replicas.

use dynamo_storage::{
    engine::{Reading, Space},
    record::Record,
};
use dynamo_version::SiblingSet;
use smallvec::SmallVec;

use super::World;
use crate::{history::Violation, world::id_of};

/// How often it is looked whether all is settled, microseconds.
const STEP_US: u64 = 250_000;

/// A home's state of a key.
pub struct Replica {
    pub node: u8,
    pub digest: u64,
    /// None: never written, or it cannot be read.
    pub set: Option<SiblingSet>,
    pub damaged: bool,
}

impl World {
    /// Lets things settle; what has not by then is a violation.
    pub fn settle(&mut self) -> Option<Violation> {
        self.clients.iter_mut().for_each(crate::client::Client::stop);
        self.calm_down();
        let until = self.kernel.now + u64::from(self.kernel.shape.plan.settle_ms) * 1000;
        self.wait_until_quiet(until).or_else(|| self.rests()).or_else(|| self.difference())
    }

    /// Waits; `Some` says what is not done in time.
    fn wait_until_quiet(&mut self, until: u64) -> Option<Violation> {
        loop {
            let what = self.unsettled().map(|what| Violation::new("settle", None, what)).or_else(|| self.difference());
            let what = what.or_else(|| self.untended().map(|what| Violation::new("operator", None, what)))?;
            if self.kernel.now >= until {
                return Some(what);
            }
            let next = self.kernel.now + STEP_US;
            self.run_until(next);
        }
    }

    /// What is still to be done, if anything is.
    fn unsettled(&self) -> Option<String> {
        let nodes: Vec<u8> = (0..self.kernel.shape.nodes()).filter(|node| !self.is_away(*node)).collect();
        let newest = self.kernel.newest();
        if let Some(change) = newest.charter.change() {
            let said = self.hosts.iter().filter_map(|host| host.node.as_ref()?.part_in_step());
            let said: Vec<String> = said.collect();
            return Some(format!("a change of the ring is under way: {}; {}", change.what, said.join("; ")));
        }
        for (number, host) in self.hosts.iter().enumerate().filter(|(_, host)| !host.retired && !host.absent) {
            let Some(node) = &host.node else { return Some(format!("node-{number} is not running")) };
            let (leftovers, refilling) = node.upkeep();
            // Nobody takes what a node still has that was removed for good.
            let heard = newest.charter.takes_from(id_of(number as u8));
            let (leftovers, hints) = if heard { (leftovers, node.hints_held()) } else { (0, 0) };
            let checks = [
                (newest.version - node.ring_version(), "versions of the ring's register to learn"),
                (leftovers as u64, "partitions to let go"),
                (refilling as u64, "partitions to be filled with"),
                (node.requests_in_flight() as u64, "requests in flight"),
                (hints, "hints held"),
                (node.hints_sent() as u64, "hints sent and not confirmed"),
                (node.streams_down(&nodes) as u64, "streams to open"),
                (node.store_waits() as u64, "operations in its store's queue"),
            ];
            if let Some((count, what)) = checks.iter().find(|(count, _)| *count > 0) {
                return Some(format!("node-{number} has {count} {what}"));
            }
            if newest.is_member(number as u8) && node.in_doubt() {
                return Some(format!("node-{number}'s disk is in doubt"));
            }
            if newest.is_member(number as u8) && !node.votes() {
                return Some(format!("node-{number} has no vote on the ring"));
            }
            if !node.thinks_well_of(&nodes) {
                return Some(format!("node-{number} takes a node for less than up"));
            }
        }
        let network = &self.kernel.network;
        let of_the_past = |(number, stream): &(u16, &crate::network::Stream)| {
            stream.open && stream.server_life != self.kernel.lives[usize::from(network.ends(*number).1)]
        };
        if network.streams().any(|stream| of_the_past(&stream)) {
            return Some("a stream is open to a node's former life".into());
        }
        if network.is_backed_up(self.kernel.now) {
            return Some("messages are late on their streams".into());
        }
        let mut digests = self.hosts.iter().filter_map(|host| host.node.as_ref()).map(|node| node.buckets_digest());
        let first = digests.next();
        if !digests.all(|digest| Some(digest) == first) {
            return Some("the tables of buckets differ".into());
        }
        let busy = self.clients.iter().filter(|client| client.is_busy()).count();
        (busy > 0).then(|| format!("{busy} clients wait for answers"))
    }

    /// The first key that two of its homes hold differently.
    fn difference(&self) -> Option<Violation> {
        let shape = self.kernel.shape.clone();
        (0..shape.plan.keys).find_map(|key| {
            let replicas = self.replicas(key);
            if let Some(replica) = replicas.iter().find(|replica| replica.damaged) {
                let what = format!("node-{} holds a damaged record of it", replica.node);
                return Some(Violation::new("convergence", Some(key), what));
            }
            let mut sound = replicas.iter();
            let first = sound.next()?;
            let other = sound.find(|replica| replica.digest != first.digest)?;
            let what = format!("node-{} and node-{} hold it differently", first.node, other.node);
            Some(Violation::new("convergence", Some(key), what))
        })
    }

    /// What each home of a key holds.
    pub fn replicas(&self, key: u16) -> SmallVec<[Replica; 3]> {
        let shape = &self.kernel.shape;
        let slot = shape.key(key).record.as_bytes();
        let state = |node: u8| {
            let Ok(Some(bytes)) = self.hosts[usize::from(node)].disk.get(Space::Data, slot) else {
                return Replica { node, digest: 0, set: None, damaged: false };
            };
            let record = Record::decode(slot, bytes).ok();
            let digest = record.as_ref().map_or(0, |record| record.digest);
            let set = record.and_then(|record| SiblingSet::decode(record.set).ok());
            Replica { node, digest, damaged: set.is_none(), set }
        };
        self.kernel.newest().homes(shape.partition(key)).iter().map(|node| state(*node)).collect()
    }
}
