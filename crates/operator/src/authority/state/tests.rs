//! Authorities run through their lives with operators that may die after any write, or hold an old view, and nodes that load
//! late; people delete things in between. No node is ever cut off from another.

use dynamo_crd::{DynamoCluster, DynamoClusterSpec};
use dynamo_planner::{Action, NodeView, Observed, Plan, PodId, PodView, RingView, certificates};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::*;

const SIGNER: &str = "the signer's\n";
const NODES: u32 = 3;

/// Chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn of(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

#[derive(Default)]
struct Object {
    data: Option<Data>,
    version: u64,
}

impl Object {
    fn of(&self) -> Data {
        self.data.clone().unwrap_or_default()
    }

    fn version(&self) -> Option<String> {
        self.data.as_ref().map(|_| self.version.to_string())
    }

    /// As the API server does it: a write that was planned on another version is refused.
    fn put(&mut self, on: Option<&String>, entries: BTreeMap<String, Option<String>>) {
        if self.version().as_ref() != on {
            return;
        }
        let data = self.data.get_or_insert_default();
        for (key, text) in entries {
            match text {
                Some(text) => drop(data.insert(key, text)),
                None => drop(data.remove(&key)),
            }
        }
        self.version += 1;
    }

    fn delete(&mut self) {
        self.data = None;
        self.version += 1;
    }
}

/// What a node has loaded: the bundle, and by whom its certificate is.
#[derive(Clone, Default)]
struct Node {
    trusts: Vec<String>,
    signed_by: Option<String>,
}

struct World {
    cluster: DynamoCluster,
    secret: Object,
    trust: Object,
    nodes: Vec<Node>,
    wall_s: u64,
    writes: usize,
}

impl State {
    fn trusts_of(&self) -> impl Iterator<Item = &String> {
        self.trusted.iter().map(|anchor| &anchor.fingerprint)
    }
}

impl World {
    fn new() -> World {
        let mut cluster = DynamoCluster::new("shop", DynamoClusterSpec::default());
        cluster.metadata.namespace = Some("prod".to_owned());
        let nodes = vec![Node::default(); NODES as usize];
        World { cluster, secret: Object::default(), trust: Object::default(), nodes, wall_s: 1_000_000_000, writes: 0 }
    }

    fn read(&self) -> State {
        let mut state = State::read(&self.secret.of(), &self.trust.of());
        (state.secret_version, state.trust_version) = (self.secret.version(), self.trust.version());
        state
    }

    fn write(&mut self, state: &State, write: Write) {
        self.writes += 1;
        match write {
            Write::Secret(entries) => self.secret.put(state.secret_version.as_ref(), entries),
            Write::Trust(entries) => {
                let entries = entries.into_iter().map(|(key, text)| (key, Some(text))).collect();
                self.trust.put(state.trust_version.as_ref(), entries);
            }
        }
    }

    /// One look of an operator that knows this, which ends after its first write: it may be its last.
    fn look(&mut self, state: &State) -> bool {
        let write = state.tidy(SIGNER).or_else(|| {
            let step = self.step(state)?;
            state.after(&self.cluster, &step, self.wall_s).unwrap_or_default()
        });
        write.map(|write| self.write(state, write)).is_some()
    }

    fn step(&self, state: &State) -> Option<Step> {
        let pods = (0..NODES).map(|number| PodId::new("shop-a", number));
        let mut observed =
            Observed { authorities: Some(state.observed(&self.cluster, self.wall_s)), ..Observed::default() };
        let mut ring = RingView::default();
        for (pod, node) in pods.zip(&self.nodes) {
            let (trusts, signed_by) = (node.trusts.iter().cloned().collect(), node.signed_by.clone());
            ring.nodes.insert(pod.clone(), NodeView { up: true, trusts, signed_by, ..NodeView::default() });
            let view =
                PodView { uid: String::new(), host: None, ready: true, template: String::new(), deleting: false };
            observed.pods.insert(pod, view);
        }
        // Nodes answer whom they believe; and what one says of the others is enough.
        let speaker = state.speaker(self.wall_s).map(|ca| ca.anchor.fingerprint.clone());
        let answers = speaker.is_some_and(|speaker| self.nodes.iter().any(|node| node.trusts.contains(&speaker)));
        observed.ring = answers.then_some(ring);
        let mut plan = Plan::default();
        certificates::plan(&observed, &mut plan);
        plan.actions.into_iter().find_map(|action| match action {
            Action::Certificates(step) => Some(step),
            _ => None,
        })
    }

    /// A node looks at its mounted bundle, or asks for a certificate.
    fn node(&mut self, number: usize, loads: bool) {
        let bundle = self.trust.data.as_ref().and_then(|data| data.get(TRUST_KEY)).cloned();
        let state = self.read();
        let node = &mut self.nodes[number];
        match bundle {
            // kubelet leaves what is mounted where the object is gone.
            Some(bundle) if loads => {
                node.trusts = Anchor::all_of(&bundle).into_iter().map(|anchor| anchor.fingerprint).collect();
            }
            _ => {
                let signer = state.signer().map(|ca| ca.anchor.fingerprint.clone());
                let due = node.signed_by.as_ref() != node.trusts.first();
                if let Some(signer) = signer.filter(|signer| due && node.trusts.contains(signer)) {
                    node.signed_by = Some(signer);
                }
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..60 {
            let state = self.read();
            let wrote = self.look(&state);
            for number in 0..self.nodes.len() {
                self.node(number, true);
                self.node(number, false);
            }
            if !wrote && self.step(&self.read()).is_none() {
                return;
            }
        }
        panic!("it does not settle: {:?}", self.read());
    }

    /// What the nodes show is known from there alone: of what is lost from both objects nothing can be made again.
    fn is_kept(&self, known: impl Fn(&State) -> Vec<&String>) -> bool {
        let state = self.read();
        let known = known(&state);
        self.nodes.iter().filter_map(|node| node.signed_by.as_ref()).all(|shown| known.contains(&shown))
    }

    /// Each node takes what each other shows.
    fn judge(&self, seed: u64) {
        for shown in self.nodes.iter().filter_map(|node| node.signed_by.as_ref()) {
            let trusted =
                self.nodes.iter().filter(|node| !node.trusts.is_empty()).all(|node| node.trusts.contains(shown));
            assert!(trusted, "seed {seed}, after write {}: a node is cut off: {:?}", self.writes, self.read());
        }
    }

    /// One authority, trusted and shown by all, and nothing left of others.
    fn is_whole(&self) -> String {
        let state = self.read();
        let signer = state.signer().expect("somebody signs").anchor.fingerprint.clone();
        assert_eq!((state.keys.len(), state.trusted.len()), (1, 1), "{state:?}");
        assert!(self.nodes.iter().all(|node| node.signed_by.as_ref() == Some(&signer)), "{state:?}");
        assert_eq!(self.trust.of()[SIGNER_KEY], SIGNER);
        signer
    }

    fn ask(&mut self) {
        self.wall_s += 10;
        let second = i64::try_from(self.wall_s).unwrap();
        self.cluster.spec.maintenance.ca_requested_at = Some(Time(Timestamp::from_second(second).unwrap()));
        self.wall_s += 10;
    }
}

#[test]
fn an_authority_is_made_once_and_a_settled_cluster_is_not_written_to() {
    let mut world = World::new();
    world.settle();
    let first = world.is_whole();
    let writes = world.writes;
    assert_eq!(writes, 4, "whom to trust as the signer, its keys, the bundle, and that it signs");
    world.settle();
    assert_eq!((world.writes, world.is_whole()), (writes, first));
}

#[test]
fn an_authority_that_is_asked_for_takes_the_place_of_the_former_one_once() {
    let mut world = World::new();
    world.settle();
    let first = world.is_whole();
    world.ask();
    world.settle();
    let second = world.is_whole();
    assert_ne!(first, second);
    world.settle();
    assert_eq!(world.is_whole(), second);
    // Two thirds of its life later it is followed without being asked for.
    world.wall_s += u64::from(world.cluster.spec.tls.ca_days) * DAY_S / 3 * 2;
    world.settle();
    assert_ne!(world.is_whole(), second);
}

#[test]
fn what_is_deleted_by_hand_comes_back_and_lost_keys_are_followed_by_others() {
    let mut world = World::new();
    world.settle();
    let first = world.is_whole();
    world.trust.delete();
    world.settle();
    assert_eq!(world.is_whole(), first, "the bundle is made again of the keys");
    world.secret.delete();
    world.settle();
    let second = world.is_whole();
    assert_ne!(second, first, "keys that are lost can't be made again");
    world.secret.data.as_mut().unwrap().insert(format!("{second}.key"), "nonsense".to_owned());
    world.settle();
    assert_ne!(world.is_whole(), second);
}

#[test]
fn one_that_ends_while_its_follower_waits_for_nodes_is_followed_all_the_same() {
    let mut world = World::new();
    world.settle();
    let first = world.is_whole();
    let life_s = u64::from(world.cluster.spec.tls.ca_days) * DAY_S;
    world.wall_s += life_s / 10 * 9;
    while world.look(&world.read()) {}
    assert_eq!(world.read().signing(), Some(first.clone()), "no node has loaded the new one yet");
    world.wall_s += life_s / 5;
    world.settle();
    assert_ne!(world.is_whole(), first);
}

#[test]
fn no_order_of_crashes_old_views_late_nodes_and_deleted_objects_cuts_a_node_off() {
    for seed in 1..=40 {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let mut world = World::new();
        world.settle();
        let mut old = world.read();
        for _ in 0..120 {
            match chance.of(20) {
                0 => world.ask(),
                // A bundle that was not there says nothing about the one that is missing now.
                1 if world.trust.data.is_some() => old = world.read(),
                // An operator that slept, with a write in hand.
                2 => drop(world.look(&old.clone())),
                3 if chance.of(4) == 0 && world.is_kept(|state| state.keys.keys().collect()) => world.trust.delete(),
                4 if chance.of(8) == 0 && world.is_kept(|state| state.trusts_of().collect()) => world.secret.delete(),
                5..=9 => drop(world.look(&world.read())),
                _ => {
                    let (number, loads) = (chance.of(NODES.into()), chance.of(2) == 0);
                    world.node(usize::try_from(number).unwrap(), loads);
                }
            }
            world.judge(seed);
        }
        world.settle();
        world.judge(seed);
        world.is_whole();
    }
}
