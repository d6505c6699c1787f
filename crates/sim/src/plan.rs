//! A whole run as data: the cluster, what clients do and when, what goes wrong and when. Together with its seed it is
//! all that a run depends on; written down as YAML it can be kept and replayed.

pub use dynamo_history::Bucket as BucketPlan;
use dynamo_history::Terms;
use serde::{Deserialize, Serialize};

use crate::{
    edit::TimedEdit,
    fault::{Fault, TimedFault},
    tending::TendingPlan,
};

/// A run, composed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The scenario that it was made by.
    pub scenario: String,
    /// Where all randomness of the run itself comes from (latencies, losses, gossip's choices).
    pub seed: u64,
    /// The nodes.
    pub cluster: ClusterPlan,
    /// The network between them when nothing is wrong with it.
    pub network: NetworkPlan,
    /// The buckets; keys go to them in turn.
    pub buckets: Vec<BucketPlan>,
    /// How many keys there are.
    pub keys: u16,
    /// Bytes of a value, at least 8: its write's number stands in it.
    pub value_bytes: u32,
    /// When clients stop and everything is mended, milliseconds.
    pub run_ms: u32,
    /// How long it may take then until all replicas are equal, milliseconds.
    pub settle_ms: u32,
    /// What each client does.
    pub clients: Vec<Vec<PlannedOp>>,
    /// What goes wrong.
    pub faults: Vec<TimedFault>,
    /// What administrators do to the ring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<TimedEdit>,
    /// Operators that tend it in Kubernetes. None: its nodes run by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tending: Option<TendingPlan>,
}

/// The nodes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterPlan {
    /// How many.
    pub nodes: u8,
    /// The last so many of them are not on the first ring: they come with empty disks, and may join.
    #[serde(default)]
    pub spares: u8,
    /// In how many zones.
    pub zones: u8,
    /// N.
    pub replication: u8,
    /// Q.
    pub partitions: u32,
    /// What an acknowledgement promises (§6.1).
    pub durability: DurabilityPlan,
    /// Bytes of hints that a node may hold.
    pub hints_bytes_max: u64,
    /// Siblings that a key may have before blind writes are refused.
    pub siblings_max: u16,
    /// How often tombstones are collected at most, milliseconds; 0: never. (An hour by default, and here as often as a run
    /// has minutes.)
    #[serde(default = "collect_every_ms")]
    pub collect_every_ms: u32,
    /// How often somebody asks a node, one after the other, whether the ring that it goes by is the newest, milliseconds; 0:
    /// never.
    #[serde(default)]
    pub looks_every_ms: u32,
}

/// What plans have that do not say.
pub fn collect_every_ms() -> u32 {
    10_000
}

/// What an acknowledgement promises (§6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityPlan {
    /// W durable copies.
    Fsync,
    /// One durable copy of W.
    OneFsync,
    /// W copies with operating systems, written out every 100 ms.
    Interval,
}

/// The network without faults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPlan {
    /// The least time for one way, microseconds.
    pub latency_us: u32,
    /// The mean of what chance adds to it, microseconds.
    pub jitter_us: u32,
}

/// Something that a client will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOp {
    /// When, milliseconds; later if what it does before takes longer.
    pub at_ms: u32,
    /// To which key.
    pub key: u16,
    /// What.
    pub what: OpKind,
    /// At which node it begins; None: as one who knows the ring, at a home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<u8>,
}

/// What a client does to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// Reads it, and keeps the context.
    Get,
    /// Writes with the context that it has from before, if it has one.
    Put,
    /// Writes without any context.
    BlindPut,
    /// Reads, then writes over what it read. (A set gets an element this way, and a register its next value.)
    Update,
    /// Reads, then deletes what it read.
    Delete,
}

impl Plan {
    /// When everything is mended and clients stop, microseconds.
    pub fn run_us(&self) -> u64 {
        u64::from(self.run_ms) * 1000
    }

    /// The bucket of a key.
    pub fn bucket_of(&self, key: usize) -> usize {
        key % self.buckets.len()
    }

    /// R and W of a bucket.
    pub fn quorums(&self, bucket: usize) -> (u8, u8) {
        self.buckets[bucket].quorums(self.cluster.replication)
    }

    /// Operations of all clients.
    pub fn operations(&self) -> usize {
        self.clients.iter().map(Vec::len).sum()
    }

    /// Whether an acknowledged write may go with a disk or a power cut under what was promised: then its loss is none.
    pub fn may_lose(&self) -> bool {
        let cut = |fault: &TimedFault| matches!(fault.what, Fault::Crash { power: true, .. });
        self.cluster.durability == DurabilityPlan::Interval && self.faults.iter().any(cut)
    }

    /// What its clients are promised.
    pub fn terms(&self) -> Terms {
        let ClusterPlan { nodes, replication, siblings_max, .. } = self.cluster;
        let (buckets, may_lose) = (self.buckets.clone(), self.may_lose());
        Terms { keys: self.keys, buckets, replication, nodes, siblings_max, may_lose }
    }

    /// As it is kept in a file.
    ///
    /// # Panics
    /// Never: plain data can be written.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("plain data can be written")
    }

    /// From a file.
    ///
    /// # Errors
    /// What is wrong with it, with line and column.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        let plan: Self = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        plan.check()?;
        Ok(plan)
    }

    /// What a run takes for granted.
    fn check(&self) -> Result<(), String> {
        let nodes = self.cluster.nodes;
        let known = |node: u8| node < nodes;
        if nodes > 64
            || nodes <= self.cluster.spares
            || self.cluster.zones == 0
            || self.buckets.is_empty()
            || self.keys == 0
        {
            return Err("a run has 1 to 64 nodes, a zone, a bucket and a key".into());
        }
        if self.value_bytes < 8 || self.clients.len() > 64 {
            return Err("values have at least 8 bytes, and there are at most 64 clients".into());
        }
        let mut operations = self.clients.iter().flatten();
        if operations.any(|op| op.key >= self.keys || op.via.is_some_and(|node| !known(node))) {
            return Err("an operation on a key or at a node that there is not".into());
        }
        let endpoints = nodes + self.clients.len() as u8;
        if self.edits.iter().any(|edit| edit.via >= nodes || !edit.edit.fits(nodes)) {
            return Err("an edit of a node that there is not".into());
        }
        if let Some(TendingPlan { operators, deeds }) = &self.tending
            && (*operators == 0 || deeds.iter().any(|deed| !deed.deed.fits(nodes, *operators)))
        {
            return Err("a deed that concerns a node or an operator that there is not".into());
        }
        if self.faults.iter().any(|fault| !fault.what.fits(nodes, endpoints)) {
            return Err("a fault of a node that there is not".into());
        }
        Ok(())
    }
}
