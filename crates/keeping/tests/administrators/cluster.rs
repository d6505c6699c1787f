//! A cluster as one node knows it: the register, and what gossip has heard of each node.

use dynamo_gossip::{NodeInfo, PeerState};
use dynamo_keeping::edits::{Edit, EditError, Edits, Known, Next, Wanted};
use dynamo_ring::{Member, NodeId, PartitionCount, Ring, charter::Charter};

pub const Q: u32 = 32;

pub fn id(number: u128) -> NodeId {
    NodeId(number)
}

/// In one of three zones.
pub fn member(number: u128) -> Member {
    Member { id: id(number), name: format!("node-{number}"), zone: format!("z{}", number % 3), weight: 1 }
}

/// The first charter of so many nodes, N = 3.
pub fn founded(nodes: u128) -> Charter {
    let members = (1..=nodes).map(member).collect();
    Charter::first(Ring::bootstrap(3, PartitionCount::try_from(Q).unwrap(), members).unwrap())
}

/// Which life of its disk a node is in.
pub fn life(number: u128) -> u64 {
    1_000 + number as u64
}

/// A node that answers and is well.
pub fn known(number: u128) -> Known {
    let Member { id, name, zone, weight } = member(number);
    let info = NodeInfo { id, name, zone, weight, incarnation: life(number), ring_version: 1, ..NodeInfo::default() };
    Known { info, state: PeerState::Up }
}

pub fn join(number: u128) -> Edit {
    Edit::Join { node: format!("node-{number}"), weight: 0 }
}

pub fn leave(number: u128) -> Edit {
    Edit::Leave { node: format!("node-{number}") }
}

pub fn remove(number: u128) -> Edit {
    Edit::Remove { node: format!("node-{number}") }
}

pub fn replace(number: u128, with: u128) -> Edit {
    Edit::Replace { node: format!("node-{number}"), with: format!("node-{with}") }
}

pub fn update(number: u128, weight: u32, zone: &str) -> Edit {
    Edit::Update { node: format!("node-{number}"), weight, zone: zone.to_owned() }
}

/// What edits are held against.
pub struct Cluster {
    pub charter: Charter,
    pub known: Vec<Known>,
    pub allow_fewer: bool,
    pub accept_loss: bool,
    pub needed: usize,
    pub tokens_at_once: usize,
    pub mismatch: fn(&NodeInfo, &NodeInfo) -> Option<String>,
}

impl Cluster {
    /// So many members, and so many nodes more that run.
    pub fn of(members: u128, newcomers: u128) -> Cluster {
        Cluster {
            charter: founded(members),
            known: (1..=members + newcomers).map(known).collect(),
            allow_fewer: false,
            accept_loss: false,
            needed: 2,
            tokens_at_once: 8,
            mismatch: |_, _| None,
        }
    }

    /// The same with a node that does not answer, or does.
    pub fn with(mut self, number: u128, state: PeerState) -> Cluster {
        self.node(number).state = state;
        self
    }

    pub fn node(&mut self, number: u128) -> &mut Known {
        self.known.iter_mut().find(|known| known.info.id == id(number)).expect("it is known")
    }

    fn edits(&self) -> Edits<'_> {
        Edits {
            charter: &self.charter,
            known: &self.known,
            allow_fewer: self.allow_fewer,
            accept_loss: self.accept_loss,
            needed: self.needed,
            tokens_at_once: self.tokens_at_once,
            mismatch: self.mismatch,
        }
    }

    pub fn wanted(&self, edits: &[Edit]) -> Result<Wanted, EditError> {
        self.edits().wanted(edits)
    }

    /// Why these edits can't be made.
    pub fn refused(&self, edits: &[Edit]) -> EditError {
        match self.wanted(edits) {
            Err(error) => error,
            Ok(wanted) => panic!("{edits:?} make {:?}", wanted.proposed.what),
        }
    }

    pub fn next(&self, version: u64, edits: &[Edit]) -> Result<Next, EditError> {
        self.edits().next(version, edits)
    }

    /// These edits become the change under way.
    pub fn begin(&mut self, edits: &[Edit]) {
        let Ok(Next::Begun(charter, steps)) = self.next(1, edits) else { panic!("{edits:?} begin nothing") };
        assert_eq!(charter.change().unwrap().steps.len(), steps);
        self.charter = charter;
    }

    /// These edits, to their end.
    pub fn make(&mut self, edits: &[Edit]) {
        self.begin(edits);
        while let Some(next) = self.charter.turn() {
            self.charter = next;
        }
    }
}
