//! What all parts of a run share: time, the queue, the network, the history, the trace.

use dynamo_ring::{Member, NodeId, PartitionCount, Position, Ring};
use dynamo_storage::RecordKey;
use dynamo_version::Mode;

use super::{event::Event, event::NodeEvent, queue::Queue};
use crate::{
    check::void_promises, fault::Fault, history::History, known_bad::KnownBad, network::Network, node::ReplyTo,
    plan::Plan, trace::Trace,
};

/// When a run begins, milliseconds since the Unix epoch, by a right clock.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// What a node is called in the ring.
pub fn id_of(node: u8) -> NodeId {
    NodeId(u128::from(node) + 1)
}

/// Which node that is.
pub fn index_of(id: NodeId) -> u8 {
    (id.0 - 1) as u8
}

/// A key, with all that is worked out of it once.
pub struct Key {
    pub record: RecordKey,
    pub name: String,
    pub bucket: u8,
}

/// A bucket as nodes read it.
pub struct Bucket {
    pub name: String,
    pub mode: Mode,
    pub r: u8,
    pub w: u8,
    pub strict: bool,
}

/// What does not change in a run.
pub struct Shape {
    pub plan: Plan,
    pub ring: Ring,
    pub keys: Vec<Key>,
    pub buckets: Vec<Bucket>,
}

impl Shape {
    pub fn new(plan: Plan) -> Self {
        let cluster = plan.cluster;
        let partitions = PartitionCount::try_from(cluster.partitions).expect("a plan's Q is a power of two");
        let member = |node: u8| Member {
            id: id_of(node),
            name: format!("node-{node}"),
            zone: format!("zone-{}", node % cluster.zones),
            weight: 1,
        };
        let members = (0..cluster.nodes).map(member).collect();
        let ring = Ring::bootstrap(cluster.replication, partitions, members).expect("a plan's cluster has a ring");
        let buckets: Vec<Bucket> = (0..plan.buckets.len()).map(|at| bucket(&plan, at)).collect();
        let key = |at: u16| {
            let (name, bucket) = (format!("key-{at}"), plan.bucket_of(at.into()));
            let partition = partitions.partition_of(Position::of(name.as_bytes()));
            let record = RecordKey::new(partition, buckets[bucket].name.as_bytes(), name.as_bytes(), None)
                .expect("a short name");
            Key { record, name, bucket: bucket as u8 }
        };
        let keys = (0..plan.keys).map(key).collect();
        Self { plan, ring, keys, buckets }
    }

    pub fn key(&self, key: u16) -> &Key {
        &self.keys[usize::from(key)]
    }

    pub fn bucket_of(&self, key: u16) -> &Bucket {
        &self.buckets[usize::from(self.key(key).bucket)]
    }

    /// The nodes of a key's walk: homes first.
    pub fn walk(&self, key: u16) -> &[u16] {
        self.ring.walk_ids(self.key(key).record.partition())
    }

    /// The key's home replicas.
    pub fn homes(&self, key: u16) -> &[u16] {
        &self.walk(key)[..self.ring.homes()]
    }

    pub fn nodes(&self) -> u8 {
        self.plan.cluster.nodes
    }
}

fn bucket(plan: &Plan, at: usize) -> Bucket {
    let settings = plan.buckets[at];
    let (r, w) = plan.quorums(at);
    let mode = if settings.last_write_wins { Mode::LastWriteWins } else { Mode::Siblings };
    Bucket { name: format!("bucket-{at}"), mode, r, w, strict: settings.strict }
}

/// Whether a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    On,
    /// The process is not there; the host refuses connections in its name.
    Down,
    /// The host is not there either: nobody answers.
    Off,
}

/// What all parts of a run share.
pub struct Kernel {
    /// Virtual time, microseconds.
    pub now: u64,
    pub shape: std::rc::Rc<Shape>,
    pub network: Network,
    pub history: History,
    pub trace: Trace,
    pub known_bad: Option<KnownBad>,
    /// By how much each node's wall clock is wrong, milliseconds.
    pub clock_error_ms: Vec<i64>,
    /// Whether each node runs, and in which life.
    pub powers: Vec<Power>,
    pub lives: Vec<u32>,
    /// Faults under way that make answers uncertain.
    disturbances: u32,
    queue: Queue<Event>,
    /// Sums up all that happened: two runs that differ anywhere differ in it.
    pub fingerprint: u64,
    pub events: u64,
}

impl Kernel {
    pub fn new(shape: std::rc::Rc<Shape>, trace: Trace, known_bad: Option<KnownBad>) -> Self {
        let network = Network::new(&shape.plan);
        let nodes = usize::from(shape.nodes());
        Self {
            now: 0,
            shape,
            network,
            history: History::default(),
            trace,
            known_bad,
            clock_error_ms: vec![0; nodes],
            powers: vec![Power::Off; nodes],
            lives: vec![0; nodes],
            disturbances: 0,
            queue: Queue::new(),
            fingerprint: 0xcbf2_9ce4_8422_2325,
            events: 0,
        }
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.queue.push(at, event);
    }

    pub fn after(&mut self, delay_us: u64, event: Event) {
        self.queue.push(self.now + delay_us, event);
    }

    pub fn node_after(&mut self, delay_us: u64, node: u8, life: u32, what: NodeEvent) {
        self.after(delay_us, Event::Node { node, life, what });
    }

    /// The next event, if there is one until then; time goes on to it.
    pub fn next(&mut self, until: u64) -> Option<Event> {
        let (at, event) = self.queue.pop(until)?;
        self.now = at;
        self.events += 1;
        self.note(at);
        Some(event)
    }

    /// Takes a number into the fingerprint.
    pub fn note(&mut self, number: u64) {
        self.fingerprint = (self.fingerprint ^ number).wrapping_mul(0x100_0000_01b3).rotate_left(23);
    }

    pub fn is_on(&self, node: u8) -> bool {
        self.powers[usize::from(node)] == Power::On
    }

    /// Something changes that answers hang on: what was promised before holds no longer.
    pub fn changed(&mut self) {
        self.network.changed_us = self.now;
        void_promises(&mut self.history.writes);
    }

    /// A fault begins or ends.
    pub fn disturbed(&mut self, fault: &Fault, begins: bool) {
        self.changed();
        let steady = matches!(fault, Fault::Crash { .. } | Fault::Cut { flap_ms: 0, .. });
        if !steady {
            self.disturbances = if begins { self.disturbances + 1 } else { self.disturbances - 1 };
        }
    }

    /// Whether nothing has changed for so long, and nothing goes on that makes answers uncertain.
    pub fn calm_for(&self, us: u64) -> bool {
        self.disturbances == 0 && self.network.changed_us + us <= self.now
    }

    /// Whether an answer goes to the one who reads everything at the end.
    pub fn is_auditor(&self, reply: &ReplyTo) -> bool {
        matches!(reply, ReplyTo::Client { client, .. } if usize::from(*client) == self.shape.plan.clients.len())
    }

    /// What a node's wall clock says, milliseconds since the Unix epoch.
    pub fn wall_ms(&self, node: u8) -> u64 {
        (EPOCH_MS + self.now / 1000).saturating_add_signed(self.clock_error_ms[usize::from(node)])
    }

    /// A node's monotonic clock: it begins at a second, so that 0 can mean "never".
    pub fn clock_us(&self) -> u64 {
        self.now + 1_000_000
    }
}

/// Says something in the trace; what it says is only worked out where somebody listens.
macro_rules! say {
    ($kernel:expr, $($format:tt)*) => {
        if $kernel.trace.is_on() {
            let line = format!($($format)*);
            $kernel.trace.line($kernel.now, line);
        }
    };
}
pub(crate) use say;
