//! What all parts of a run share: time, the queue, the network, the history, the trace.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use dynamo_planner::PodId;
use dynamo_ring::{Member, NodeId, Partition, PartitionCount, Position, Ring, charter::Charter};
use dynamo_storage::RecordKey;
use dynamo_version::Mode;

use super::{event::Event, event::NodeEvent, queue::Queue, view::View};
use crate::{
    check::Seals,
    coverage::cover,
    fault::Fault,
    history::{History, Violation, void_promises},
    known_bad::KnownBad,
    network::Network,
    operator::News,
    plan::Plan,
    trace::Trace,
};

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
    /// The first.
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
        let members = (0..cluster.nodes - cluster.spares).map(member).collect();
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

    pub fn partition(&self, key: u16) -> Partition {
        self.key(key).record.partition()
    }

    pub fn nodes(&self) -> u8 {
        self.plan.cluster.nodes
    }

    /// The pod that a node is in Kubernetes.
    pub fn pod(&self, node: u8) -> PodId {
        let zones = self.plan.cluster.zones;
        PodId::new(&format!("c-{}", zone_letter(node % zones)), u32::from(node / zones))
    }

    /// Which node a pod is.
    pub fn node_of(&self, pod: &PodId) -> u8 {
        let zone = pod.set.bytes().next_back().map_or(0, |letter| letter - b'a');
        pod.ordinal as u8 * self.plan.cluster.zones + zone
    }
}

/// What a zone is called in Kubernetes.
pub fn zone_letter(zone: u8) -> char {
    char::from(b'a' + zone)
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
    /// Where each node is: the number of its address.
    pub places: Vec<u8>,
    /// Faults under way that make answers uncertain.
    disturbances: u32,
    /// Every value of the ring's register that a node has gone by.
    views: BTreeMap<u64, Rc<View>>,
    pub seals: Seals,
    /// Looks under way, with what the newest version was when each began.
    pub looks: BTreeMap<u64, u64>,
    /// What nodes have answered to operators.
    pub news: Vec<News>,
    /// What must not be, found while it went on.
    pub violation: Option<Violation>,
    queue: Queue<Event>,
    /// Sums up all that happened: two runs that differ anywhere differ in it.
    pub fingerprint: u64,
    pub events: u64,
}

impl Kernel {
    pub fn new(shape: std::rc::Rc<Shape>, trace: Trace, known_bad: Option<KnownBad>) -> Self {
        let network = Network::new(&shape.plan);
        let nodes = usize::from(shape.nodes());
        let first = View::new(1, Arc::new(Charter::first(shape.ring.clone())));
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
            places: (0..nodes as u8).collect(),
            disturbances: 0,
            views: BTreeMap::from([(1, Rc::new(first))]),
            seals: Seals::default(),
            looks: BTreeMap::new(),
            news: Vec::new(),
            violation: None,
            queue: Queue::new(),
            fingerprint: 0xcbf2_9ce4_8422_2325,
            events: 0,
        }
    }

    /// A value of the register as a node goes by it. There is one of each version, and one ring of each epoch.
    pub fn view_of(&mut self, version: u64, charter: &Arc<Charter>) -> Rc<View> {
        if let Some(known) = self.views.get(&version) {
            let known = known.clone();
            if *known.charter != **charter {
                self.broken("ring", format!("there are two values of version {version} of the register"));
                return Rc::new(View::new(version, charter.clone()));
            }
            return known;
        }
        let view = Rc::new(View::new(version, charter.clone()));
        let other = self.views.values().find(|other| other.epoch() == view.epoch() && other.ring() != view.ring());
        if let Some(other) = other {
            let what = format!("versions {} and {version} have two rings of epoch {}", other.version, view.epoch());
            self.broken("ring", what);
        }
        if let Err(error) = view.ring().check() {
            self.broken("ring", format!("the ring of epoch {} is none: {error}", view.epoch()));
        }
        self.note_view(&view);
        if let Some(lasted) = self.seals.turned(view.epoch(), self.now) {
            let what =
                format!("requests waited {} ms for epoch {}, and nothing was wrong", lasted / 1000, view.epoch());
            self.broken("seals", what);
        }
        self.views.insert(version, view.clone());
        self.changed();
        view
    }

    fn note_view(&self, view: &View) {
        let before = self.views.range(..view.version).next_back().map(|(_, before)| before);
        let Some(before) = before else { return };
        let (old, new) = (&before.charter, &view.charter);
        if new.ring().epoch() == old.ring().epoch() + 1 {
            let steps = |charter: &Charter| charter.change().map_or(0, |change| change.steps.len());
            match (old.change(), new.ring().owners() == old.ring().owners()) {
                (Some(_), true) if steps(old) == steps(new) => cover!("ring.unsealed"),
                (Some(_), _) => cover!("ring.turned"),
                (None, _) => {}
            }
        }
        if new.change().is_none() && old.change().is_some() {
            cover!("ring.change_done");
        }
        let admitted = new.gone().len() > old.gone().len() && old.change().is_none() && new.change().is_none();
        if admitted {
            cover!("ring.life_admitted");
        }
    }

    /// The newest value of the register that any node goes by.
    pub fn newest(&self) -> &Rc<View> {
        self.views.last_key_value().expect("there is a first").1
    }

    /// Something must not be.
    pub fn broken(&mut self, checker: &str, what: String) {
        say!(self, "!!! {what}");
        self.violation.get_or_insert_with(|| Violation::new(checker, None, what));
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

    /// Who is at an address now.
    pub fn resident(&self, place: u8) -> Option<u8> {
        self.places.iter().position(|at| *at == place).map(|node| node as u8)
    }

    /// Something changes that answers hang on: what was promised before holds no longer.
    pub fn changed(&mut self) {
        self.network.changed_us = self.now;
        void_promises(&mut self.history.writes);
    }

    /// A fault begins or ends.
    pub fn disturbed(&mut self, fault: &Fault, begins: bool) {
        self.changed();
        self.seals.fault(begins, self.now);
        let steady = matches!(fault, Fault::Crash { .. } | Fault::Cut { flap_ms: 0, .. });
        if !steady {
            self.disturbances = if begins { self.disturbances + 1 } else { self.disturbances - 1 };
        }
    }

    /// Whether nothing has changed for so long, and nothing goes on that makes answers uncertain.
    pub fn calm_for(&self, us: u64) -> bool {
        self.disturbances == 0 && self.newest().charter.change().is_none() && self.network.changed_us + us <= self.now
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
