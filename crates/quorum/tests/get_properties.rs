//! Properties of a read that hold whatever is answered, in whatever order, late, twice or never (§4.5, 5).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynamo_quorum::{Answer, Candidate, Get, GetEffect, GetEffects, GetSettings, NodeState, NotEnough, Refusal};
use dynamo_ring::NodeId;
use dynamo_version::{Actor, Dot, Mode, Payload, SiblingSet, Timestamp};
use proptest::prelude::*;

const DEADLINE: u64 = 2_000;

fn written(onto: &SiblingSet, node: u128, counter: u64) -> SiblingSet {
    let mut set = onto.clone();
    let context = onto.causality().clone();
    let dot = Dot { actor: Actor { node, incarnation: 1, key_epoch: 1 }, counter };
    let value = Payload::Value(Bytes::from(format!("{node}/{counter}")));
    set.write(&context, dot, Timestamp(counter), value, Mode::Siblings);
    set
}

/// Never written; a first write; two concurrent ones upon it; one upon the first of these.
fn states() -> Vec<Option<SiblingSet>> {
    let first = written(&SiblingSet::new(), 1, 1);
    let (left, right) = (written(&first, 1, 2), written(&first, 2, 1));
    let newest = written(&left, 2, 2);
    vec![None, Some(first), Some(left), Some(right), Some(newest)]
}

fn encoded(set: &SiblingSet) -> (Bytes, u64) {
    let bytes = set.encode();
    let digest = SiblingSet::digest(&bytes);
    (bytes, digest)
}

#[derive(Clone, Debug)]
enum Event {
    /// The n-th open question is answered.
    Reply(usize),
    Refuse(usize, Refusal),
    /// A state that does not match its digest.
    Damaged(usize),
    /// Something that nobody asked for.
    Stray(u8),
    Change(u8, usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let refusal = prop::sample::select(vec![Refusal::Unreachable, Refusal::Corrupt, Refusal::Refilling]);
    prop_oneof![
        6 => (0..8usize).prop_map(Event::Reply),
        2 => (0..8usize, refusal).prop_map(|(which, refusal)| Event::Refuse(which, refusal)),
        1 => (0..8usize).prop_map(Event::Damaged),
        1 => (0..12u8).prop_map(Event::Stray),
        1 => (0..10u8, 0..5usize).prop_map(|(node, state)| Event::Change(node, state)),
        2 => (0..150u64).prop_map(Event::Pass),
    ]
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let state = prop_oneof![4 => Just(NodeState::Up), 1 => Just(NodeState::Down), 1 => Just(NodeState::ReadOnly)];
    (1..=5usize, prop::collection::vec((state, 0..1_000u32), 1..=9)).prop_map(|(homes, nodes)| {
        let candidate = |(index, (state, latency_us)): (usize, (NodeState, u32))| Candidate {
            node: NodeId(index as u128),
            home: index < homes,
            state,
            latency_us,
        };
        nodes.into_iter().enumerate().map(candidate).collect()
    })
}

fn settings() -> impl Strategy<Value = GetSettings> {
    (1..=4u8, any::<bool>()).prop_map(|(r, sloppy)| GetSettings {
        r,
        sloppy,
        mode: Mode::Siblings,
        hedge_after_us: 40,
        replica_timeout_us: 100,
        deadline_us: DEADLINE,
    })
}

struct Observer {
    candidates: Vec<Candidate>,
    settings: GetSettings,
    holds: BTreeMap<NodeId, Option<SiblingSet>>,
    open: Vec<(NodeId, bool)>,
    asked: BTreeSet<(NodeId, bool)>,
    /// The last answer of each node, and the join of all whole states.
    answers: BTreeMap<NodeId, Option<SiblingSet>>,
    join: SiblingSet,
    answer: Option<Answer>,
    failed: Option<NotEnough>,
    repaired: BTreeSet<NodeId>,
    finished: bool,
}

impl Observer {
    fn see(&mut self, effects: &mut GetEffects) {
        for effect in effects.drain(..) {
            assert!(!self.finished, "nothing follows Finished, but {effect:?}");
            match effect {
                GetEffect::Ask { to, digest } => {
                    let candidate = self.candidates.iter().find(|candidate| candidate.node == to).expect("a candidate");
                    assert!(candidate.state != NodeState::Down && (candidate.home || self.settings.sloppy));
                    assert!(self.asked.insert((to, digest)), "{to:?} was asked that before");
                    self.open.push((to, digest));
                }
                GetEffect::Answer(answer) => self.see_answer(answer),
                GetEffect::Fail(reason) => {
                    assert!(self.answer.is_none() && self.failed.is_none());
                    assert!(reason.acked < reason.needed);
                    self.failed = Some(reason);
                }
                GetEffect::Repair { to, state } => {
                    assert_eq!((state.encoded, state.digest), encoded(&self.join), "repaired with the final merge");
                    assert!(self.repaired.insert(to));
                }
                GetEffect::Finished => self.see_finished(),
            }
        }
    }

    fn see_answer(&mut self, answer: Answer) {
        assert!(self.answer.is_none() && self.failed.is_none());
        assert!(answer.answers >= self.settings.r);
        match &answer.found {
            None => assert!(self.join == SiblingSet::new()),
            Some(found) => assert_eq!((found.encoded.clone(), found.digest), encoded(&self.join)),
        }
        let contained = self.answers.values().filter(|state| {
            let mut more = self.join.clone();
            state.as_ref().is_none_or(|state| {
                more.merge(state, Mode::Siblings);
                more == self.join
            })
        });
        let contained = contained.count();
        assert!(usize::from(answer.answers) <= contained, "{} of {contained}", answer.answers);
        self.answer = Some(answer);
    }

    fn see_finished(&mut self) {
        self.finished = true;
        assert!(self.answer.is_some() != self.failed.is_some(), "exactly one verdict");
        let home = |node: &NodeId| self.candidates.iter().any(|candidate| candidate.node == *node && candidate.home);
        let differs = |state: &Option<SiblingSet>| state.as_ref().unwrap_or(&SiblingSet::new()) != &self.join;
        let stale = self.answers.iter().filter(|(node, state)| home(node) && differs(state)).map(|(node, _)| *node);
        if self.answer.is_some() && self.join != SiblingSet::new() {
            assert_eq!(self.repaired, stale.collect(), "exactly the stale homes");
        } else {
            assert!(self.repaired.is_empty());
        }
    }

    fn reply(&mut self, get: &mut Get, which: usize, now: u64, effects: &mut GetEffects) {
        if self.open.is_empty() {
            return;
        }
        let (node, digest) = self.open.swap_remove(which % self.open.len());
        let state = self.holds.get(&node).cloned().flatten();
        if !self.finished {
            self.answers.insert(node, state.clone());
        }
        if digest {
            return get.on_digest(node, state.map_or(0, |state| encoded(&state).1), now, effects);
        }
        if let Some(state) = &state {
            self.join.merge(state, Mode::Siblings);
        }
        get.on_state(node, state.map(|state| encoded(&state)), now, effects);
    }
}

fn observer(candidates: Vec<Candidate>, settings: GetSettings, held: &[usize]) -> Observer {
    let states = states();
    let hold = |(node, &state): (usize, &usize)| (NodeId(node as u128), states[state].clone());
    Observer {
        candidates,
        settings,
        holds: held.iter().enumerate().map(hold).collect(),
        open: Vec::new(),
        asked: BTreeSet::new(),
        answers: BTreeMap::new(),
        join: SiblingSet::new(),
        answer: None,
        failed: None,
        repaired: BTreeSet::new(),
        finished: false,
    }
}

fn run_out(get: &mut Get, observer: &mut Observer, mut now: u64) {
    let mut effects = GetEffects::new();
    for _ in 0..100 {
        let Some(next) = get.next_time() else { break };
        assert!(next <= DEADLINE);
        now = now.max(next);
        get.on_time(now, &mut effects);
        observer.see(&mut effects);
    }
    assert!(observer.finished && get.is_finished(), "never ended");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_ends_in_one_honest_answer(
        candidates in candidates(),
        settings in settings(),
        me in 0..12u128,
        held in prop::collection::vec(0..5usize, 10),
        events in prop::collection::vec(event(), 0..40),
    ) {
        let Ok(mut get) = Get::new(NodeId(me), &candidates, settings, 0) else { return Ok(()) };
        let mut observer = observer(candidates, settings, &held);
        let (mut now, mut effects) = (0, GetEffects::new());
        get.start(now, &mut effects);
        observer.see(&mut effects);
        for event in events {
            match event {
                Event::Reply(which) => observer.reply(&mut get, which, now, &mut effects),
                Event::Refuse(which, refusal) if !observer.open.is_empty() => {
                    let (node, _) = observer.open.swap_remove(which % observer.open.len());
                    get.on_refusal(node, refusal, now, &mut effects);
                }
                Event::Damaged(which) if !observer.open.is_empty() => {
                    let (node, _) = observer.open.swap_remove(which % observer.open.len());
                    get.on_state(node, Some((Bytes::from_static(b"damaged"), 1)), now, &mut effects);
                }
                Event::Stray(node) if !observer.open.iter().any(|(open, _)| open.0 == u128::from(node)) => {
                    get.on_digest(NodeId(u128::from(node)), 77, now, &mut effects);
                    get.on_state(NodeId(u128::from(node)), None, now, &mut effects);
                }
                Event::Change(node, state) => {
                    observer.holds.insert(NodeId(u128::from(node)), states()[state].clone());
                }
                Event::Pass(us) => {
                    now += us;
                    get.on_time(now, &mut effects);
                }
                Event::Refuse(..) | Event::Damaged(_) | Event::Stray(_) => {}
            }
            observer.see(&mut effects);
        }
        run_out(&mut get, &mut observer, now);
    }

    #[test]
    fn enough_live_nodes_always_answer(
        candidates in candidates(),
        settings in settings(),
        held in prop::collection::vec(0..5usize, 10),
        live in prop::collection::vec(any::<bool>(), 10),
    ) {
        let Ok(mut get) = Get::new(NodeId(0), &candidates, settings, 0) else { return Ok(()) };
        let alive = |candidate: &&Candidate| {
            candidate.state != NodeState::Down && (candidate.home || settings.sloppy) && live[candidate.node.0 as usize]
        };
        let enough = candidates.iter().filter(alive).count() >= usize::from(settings.r);
        let mut observer = observer(candidates, settings, &held);
        let (mut now, mut effects) = (0, GetEffects::new());
        get.start(now, &mut effects);
        observer.see(&mut effects);
        while !observer.finished {
            observer.open.retain(|(node, _)| live[node.0 as usize]);
            if observer.open.is_empty() {
                now = get.next_time().unwrap();
                get.on_time(now, &mut effects);
            } else {
                observer.reply(&mut get, 0, now, &mut effects);
            }
            observer.see(&mut effects);
        }
        prop_assert_eq!(observer.answer.is_some(), enough);
    }
}

#[test]
fn agreeing_digests_pass_the_state_through_undecoded() {
    let node = |index: u128| Candidate { node: NodeId(index), home: true, state: NodeState::Up, latency_us: 0 };
    let settings = GetSettings {
        r: 2,
        sloppy: true,
        mode: Mode::Siblings,
        hedge_after_us: 40,
        replica_timeout_us: 100,
        deadline_us: DEADLINE,
    };
    let mut get = Get::new(NodeId(1), &[node(0), node(1), node(2)], settings, 0).unwrap();
    let mut effects = GetEffects::new();
    get.start(0, &mut effects);
    let asks = [GetEffect::Ask { to: NodeId(1), digest: false }, GetEffect::Ask { to: NodeId(0), digest: true }];
    assert_eq!(effects.drain(..).collect::<Vec<_>>(), asks);
    // No sibling set at all: whoever decoded it would refuse it.
    let opaque = Bytes::from_static(b"not looked into");
    let digest = SiblingSet::digest(&opaque);
    get.on_state(NodeId(1), Some((opaque.clone(), digest)), 1, &mut effects);
    assert!(effects.is_empty());
    get.on_digest(NodeId(0), digest, 1, &mut effects);
    assert!(
        matches!(&effects[..], [GetEffect::Answer(Answer { found: Some(found), answers: 2, diverged: false }), GetEffect::Finished] if found.encoded == opaque)
    );
    assert_eq!(get.next_time(), None);
}
