//! The model of StatefulSets, held against the real kube-controller-manager: the same acts on both, and after each, once both
//! are at rest, the same pods (owner, template, life, phase, whether they go), claims and status; and just after a write to the
//! StatefulSet the same that its controller has not seen it.
//!
//! What it does not compare: how long anything takes, what else is seen on the way, and the scheduler, which is played here.

mod acts;
mod looks;
mod model;
mod real;
mod written;

use acts::{Act, draw, fits};
use dynamo_cluster_model::Chance;
use dynamo_control_plane::{ControlPlane, Controllers};
use kube::Client;
use looks::Look;
use model::Model;
use real::Real;
use tokio::task::JoinSet;

/// Cases at random, each by its seed, and how many acts each has.
const SEEDS: std::ops::Range<u64> = 0..12;
const ACTS: u32 = 24;

/// Nobody plays machines here: who looks after them would find them dead.
const WITHOUT: &[&str] = &[
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "taint-eviction-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-attach-detach-controller",
];

/// One StatefulSet, in the model and in reality.
struct Case {
    name: String,
    model: Model,
    real: Real,
    /// How both were when they were compared last.
    before: (Look, Look),
    done: Vec<Act>,
}

impl Case {
    fn new(name: &str, seed: u64, client: &Client) -> Self {
        let (model, real) = (Model::new(name, seed), Real::new(name, client));
        Self { name: name.to_owned(), model, real, before: Default::default(), done: vec![] }
    }

    async fn act(&mut self, act: Act) {
        self.done.push(act.clone());
        if act != Act::Kubelets {
            return self.all([act].to_vec()).await;
        }
        // A rollout of five pods takes ten rounds.
        for _ in 0..50 {
            let chores = self.model.chores();
            if chores.is_empty() {
                return;
            }
            self.all(chores).await;
        }
        panic!("{}: kubelets have no end of work: {:#?}", self.name, self.done);
    }

    async fn all(&mut self, acts: Vec<Act>) {
        for act in &acts {
            self.model.act(act);
            if let Some(written) = self.real.act(act).await {
                let written = Look { set: Some(written), ..Look::default() };
                let (model, real) = (self.model.look().since(&self.before.0).set, written.since(&self.before.1).set);
                assert_eq!(model, real, "{}: (the model, reality) just after the last of {:?}", self.name, self.done);
            }
        }
        self.model.rest();
        self.compare(&acts).await;
    }

    /// The real one is at rest when it is as the model says, and still is after its controller was made to look again.
    async fn compare(&mut self, acts: &[Act]) {
        let now = self.model.look();
        let expected = now.since(&self.before.0);
        let mut found = None;
        for looked in 1..real::LOOKS {
            let look = self.real.tend().await;
            let told = look.since(&self.before.1);
            if told == expected && found.as_ref() == Some(&look) {
                self.before = (now, look);
                return;
            }
            if told == expected || looked % 10 == 0 {
                self.real.nudge().await;
            } else {
                real::pause().await;
            }
            found = (told == expected).then_some(look);
        }
        let told = self.real.tend().await.since(&self.before.1);
        panic!(
            "{}: after {:?}, the last of these acts: {acts:?}\nthe model: {expected:#?}\nthe real controller: {told:#?}",
            self.name, self.done
        );
    }

    /// In the end everybody does what is to be done.
    async fn ends(&mut self) {
        for act in self.model.amends() {
            self.act(act).await;
        }
        if self.model.set().is_none() {
            self.act(Act::Create { replicas: 3, template: "two", bytes: 2 }).await;
        }
        self.act(Act::Kubelets).await;
    }
}

async fn at_random(seed: u64, client: Client) {
    let mut case = Case::new(&format!("seed-{seed}"), seed, &client);
    let mut chance = Chance(seed);
    for _ in 0..ACTS {
        let act = draw(&mut chance, &case.model);
        case.act(act).await;
    }
    case.ends().await;
}

async fn as_written(name: &'static str, acts: Vec<Act>, client: Client) {
    let mut case = Case::new(name, 0, &client);
    for act in acts {
        case.act(act).await;
    }
    case.ends().await;
}

#[test]
fn what_is_written_can_be_done() {
    for (name, acts) in written::all() {
        let mut model = Model::new(name, 0);
        for (number, act) in acts.iter().enumerate() {
            assert!(fits(act, &model), "{name}: {act:?}, act {number}, changes nothing: {:#?}", model.look());
            let mut acts = vec![act.clone()];
            while !acts.is_empty() {
                acts.iter().filter(|act| **act != Act::Kubelets).for_each(|act| model.act(act));
                model.rest();
                acts = if *act == Act::Kubelets { model.chores() } else { vec![] };
            }
        }
    }
}

#[tokio::test]
async fn the_model_does_what_the_real_controller_does() {
    let name = "the model of StatefulSets against their controller";
    let Some(plane) = ControlPlane::start(name, Controllers::AllBut(WITHOUT)).await else { return };
    let mut cases = JoinSet::new();
    for (name, acts) in written::all() {
        cases.spawn(as_written(name, acts, plane.admin()));
    }
    for seed in SEEDS {
        cases.spawn(at_random(seed, plane.admin()));
    }
    while let Some(ended) = cases.join_next().await {
        ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}
