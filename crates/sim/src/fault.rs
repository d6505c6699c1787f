//! What goes wrong, as data: what, to whom, from when on and for how long.
//!
//! Nodes are counted from 0. Where a fault concerns the network, clients are endpoints after the nodes.

use serde::{Deserialize, Serialize};

/// A fault and its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedFault {
    /// When it begins, milliseconds.
    pub at_ms: u32,
    /// After how long it ends, milliseconds. All faults end when the run does.
    pub for_ms: u32,
    /// What it is.
    pub what: Fault,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// A node dies and is started again at the end.
    Crash {
        /// Which.
        node: u8,
        /// Whether its host dies with it: then what was not synced may be lost, and nobody is told that it is gone.
        power: bool,
    },
    /// A node is stopped in order, and started again at the end.
    Restart {
        /// Which.
        node: u8,
    },
    /// A node stands still, and goes on at the end as if nothing had been.
    Pause {
        /// Which.
        node: u8,
    },
    /// Nothing gets from the ones to the others.
    Cut {
        /// The ones.
        from: Vec<u8>,
        /// The others.
        to: Vec<u8>,
        /// Nor the other way.
        both: bool,
        /// It comes and goes with this period, milliseconds; 0: it stays.
        flap_ms: u32,
    },
    /// The way from the ones to the others is slow or bad.
    Bad {
        /// The ones.
        from: Vec<u8>,
        /// The others.
        to: Vec<u8>,
        /// Added to each message's time, microseconds.
        slow_us: u32,
        /// Of a thousand messages so many are lost. A stream sends them again, gossip does not.
        loss: u32,
        /// Of a thousand gossip messages so many arrive twice.
        duplicate: u32,
        /// Of a thousand gossip messages so many are overtaken by later ones.
        reorder: u32,
    },
    /// The connections between two nodes are reset.
    Reset {
        /// The one.
        one: u8,
        /// The other.
        other: u8,
    },
    /// A node's disk has no space left.
    DiskFull {
        /// Whose.
        node: u8,
    },
    /// A node's disk fails to sync.
    DiskFailing {
        /// Whose.
        node: u8,
    },
    /// A node's disk takes longer.
    DiskSlow {
        /// Whose.
        node: u8,
        /// So many times.
        times: u32,
    },
    /// Bits flip in some values on a node's disk.
    BitFlips {
        /// Whose.
        node: u8,
        /// How many.
        count: u32,
    },
    /// A node dies with its disk, and is started again at the end with an empty one.
    Wipe {
        /// Which.
        node: u8,
    },
    /// A node dies, and is started again at the end with its engine's files as they were at the beginning of the fault of
    /// this kind before; what stands beside them tells of it. (The first takes the copy only.)
    RollBack {
        /// Which.
        node: u8,
    },
    /// A node dies, and is started again at the end with its whole disk as it was at the beginning of the fault of this kind
    /// before: nothing on it tells of what came after. (The first takes the copy only.)
    PutBack {
        /// Which.
        node: u8,
    },
    /// A node dies, and is started again at the end with a copy of another's disk; which it refuses, and is given its
    /// own back two seconds later.
    Clone {
        /// Which.
        node: u8,
        /// Whose disk it gets.
        of: u8,
    },
    /// All nodes whose place is another are stopped, and are started again at the end at other addresses: new ones, or
    /// each other's. The configuration goes on naming the first.
    Move {
        /// The place of each node. A node's first is its number.
        places: Vec<u8>,
    },
    /// A node's wall clock jumps, and jumps back at the end.
    Clock {
        /// Whose.
        node: u8,
        /// By so many milliseconds.
        by_ms: i64,
    },
}

impl Fault {
    /// Whether a cluster with so many nodes and endpoints has whom it concerns.
    pub(crate) fn fits(&self, nodes: u8, endpoints: u8) -> bool {
        match self {
            Self::Crash { node, .. }
            | Self::Restart { node }
            | Self::Pause { node }
            | Self::DiskFull { node }
            | Self::DiskFailing { node }
            | Self::DiskSlow { node, .. }
            | Self::BitFlips { node, .. }
            | Self::Wipe { node }
            | Self::RollBack { node }
            | Self::PutBack { node }
            | Self::Clock { node, .. } => *node < nodes,
            Self::Clone { node, of } => node.max(of) < &nodes && node != of,
            Self::Move { places } => {
                let again = |at: usize| places[..at].contains(&places[at]);
                places.len() == usize::from(nodes) && !(0..places.len()).any(again)
            }
            Self::Reset { one, other } => one.max(other) < &nodes && one != other,
            Self::Cut { from, to, .. } | Self::Bad { from, to, .. } => {
                from.iter().chain(to).all(|endpoint| *endpoint < endpoints)
            }
        }
    }
}
