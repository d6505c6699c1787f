//! After the faults: waiting until the cluster has settled, reading every key once more, and looking at the replicas.

use dynamo_storage::{
    engine::{Reading, Space},
    record::Record,
};
use dynamo_version::SiblingSet;
use smallvec::SmallVec;

use super::{World, kernel::say};
use crate::{
    check::Violation,
    plan::{OpKind, PlannedOp},
};

/// How often it is looked whether all is settled, microseconds.
const STEP_US: u64 = 250_000;
/// Reads of every key: the first repairs, the second finds nothing to repair.
const AUDITS: usize = 3;

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
        let until = self.kernel.now + u64::from(self.kernel.shape.plan.settle_ms) * 1000;
        self.wait_until_quiet(until)
    }

    /// Waits; `Some` says what is not done in time.
    fn wait_until_quiet(&mut self, until: u64) -> Option<Violation> {
        loop {
            let what = self.unsettled()?;
            if self.kernel.now >= until {
                return Some(Violation::new("settle", None, what));
            }
            let next = self.kernel.now + STEP_US;
            self.run_until(next);
        }
    }

    /// What is still to be done, if anything is.
    fn unsettled(&self) -> Option<String> {
        let nodes: Vec<u8> = (0..self.kernel.shape.nodes()).collect();
        for (number, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { return Some(format!("node-{number} is not running")) };
            let checks = [
                (node.requests_in_flight() as u64, "requests in flight"),
                (node.hints_held(), "hints held"),
                (node.hints_sent() as u64, "hints sent and not confirmed"),
                (node.streams_down() as u64, "streams to open"),
                (node.store_waits() as u64, "operations in its store's queue"),
            ];
            if let Some((count, what)) = checks.iter().find(|(count, _)| *count > 0) {
                return Some(format!("node-{number} has {count} {what}"));
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
        let busy = self.clients.iter().chain([&self.auditor]).filter(|client| client.is_busy()).count();
        (busy > 0).then(|| format!("{busy} clients wait for answers"))
    }

    /// Reads every key at all its homes, as a client would; what homes miss is repaired by that.
    pub fn audit(&mut self) -> Option<Violation> {
        let shape = self.kernel.shape.clone();
        let until = self.kernel.now + u64::from(shape.plan.settle_ms) * 1000;
        for round in 0..AUDITS {
            if round > 0 && self.difference().is_none() {
                return None;
            }
            say!(self.kernel, "*** every key is read at all its homes, round {}", round + 1);
            let at_ms = (self.kernel.now / 1000) as u32;
            let read = |key| PlannedOp { at_ms, key, what: OpKind::Get, via: None };
            let failed = self.kernel.history.failed_reads;
            self.auditor.add((0..shape.plan.keys).map(read), &mut self.kernel);
            if let Some(violation) = self.wait_until_quiet(until) {
                return Some(violation);
            }
            if self.kernel.history.failed_reads > failed && !shape.plan.damages() {
                return Some(Violation::new("settle", None, "a read fails although nothing is wrong any more".into()));
            }
        }
        self.difference()
    }

    /// The first key that two of its homes hold differently.
    fn difference(&self) -> Option<Violation> {
        let shape = self.kernel.shape.clone();
        (0..shape.plan.keys).find_map(|key| {
            let replicas = self.replicas(key);
            let mut sound = replicas.iter().filter(|replica| !replica.damaged);
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
        shape.homes(key).iter().map(|node| state(*node as u8)).collect()
    }
}
