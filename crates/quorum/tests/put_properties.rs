//! Properties of a write that hold whatever is answered, in whatever order, late, twice or never (§4.5, 4.6).

use std::collections::{BTreeMap, BTreeSet};

use dynamo_quorum::{Candidate, Durability, NodeState, NotEnough, Put, PutEffect, PutEffects, PutSettings, Refusal};
use dynamo_ring::NodeId;
use proptest::prelude::*;

const REPLICA_TIMEOUT: u64 = 100;
const DEADLINE: u64 = 2_000;

#[derive(Clone, Debug)]
enum Event {
    Ack { node: u8, durable: bool },
    Refuse { node: u8, refusal: Refusal },
    Pass { us: u64 },
    Start,
}

#[derive(Clone, Debug)]
struct Case {
    candidates: Vec<Candidate>,
    me: NodeId,
    local: bool,
    /// An earlier attempt made the version.
    again: bool,
    settings: PutSettings,
}

impl Case {
    fn put(&self, now: u64) -> Result<Put, NotEnough> {
        match self.again {
            true => Put::again(self.me, &self.candidates, self.settings, 1, now),
            false => Put::new(self.me, &self.candidates, self.settings, self.local, now),
        }
    }
}

fn settings() -> impl Strategy<Value = PutSettings> {
    let durability =
        prop_oneof![Just(Durability::AllDurable), Just(Durability::OneDurable), Just(Durability::Buffered)];
    (1..=4u8, any::<bool>(), durability).prop_map(|(w, sloppy, durability)| PutSettings {
        w,
        sloppy,
        durability,
        replica_timeout_us: REPLICA_TIMEOUT,
        deadline_us: DEADLINE,
    })
}

/// Up to 5 homes and 5 fallbacks; the coordinator is any of them, or none.
fn case() -> impl Strategy<Value = Case> {
    let state = prop_oneof![4 => Just(NodeState::Up), 1 => Just(NodeState::Down), 1 => Just(NodeState::ReadOnly)];
    let states = prop::collection::vec(state, 1..=10);
    let how = prop_oneof![Just((true, false)), Just((false, false)), Just((false, true))];
    (1..=5usize, states, 0..12u128, how, settings()).prop_map(|(homes, states, me, (local, again), settings)| {
        let candidate = |(index, state): (usize, NodeState)| Candidate {
            node: NodeId(index as u128),
            home: index < homes,
            state,
            latency_us: 0,
        };
        let candidates = states.into_iter().enumerate().map(candidate).collect();
        Case { candidates, me: NodeId(me), local, again, settings }
    })
}

fn event() -> impl Strategy<Value = Event> {
    let refusals =
        [Refusal::Unreachable, Refusal::DiskFull, Refusal::HintsFull, Refusal::Overloaded, Refusal::Sealed].to_vec();
    prop_oneof![
        5 => (0..12u8, any::<bool>()).prop_map(|(node, durable)| Event::Ack { node, durable }),
        3 => (0..12u8, prop::sample::select(refusals)).prop_map(|(node, refusal)| Event::Refuse { node, refusal }),
        3 => (0..150u64).prop_map(|us| Event::Pass { us }),
        1 => Just(Event::Start),
    ]
}

/// What an observer outside has seen, and what follows from it by the paper alone.
struct Observer {
    case: Case,
    local_hint: Option<NodeId>,
    sends: BTreeMap<NodeId, Vec<(Option<NodeId>, bool)>>,
    kept: BTreeSet<NodeId>,
    acked: BTreeMap<NodeId, bool>,
    acknowledged: Option<u8>,
    failed: Option<NotEnough>,
    finished: bool,
}

impl Observer {
    fn new(case: Case, put: &Put) -> Self {
        Observer {
            case,
            local_hint: put.local_hint(),
            sends: BTreeMap::new(),
            kept: BTreeSet::new(),
            acked: BTreeMap::new(),
            acknowledged: None,
            failed: None,
            finished: false,
        }
    }

    fn home(&self, node: NodeId) -> bool {
        self.case.candidates.iter().any(|candidate| candidate.node == node && candidate.home)
    }

    fn was_asked(&self, node: NodeId) -> bool {
        self.sends.contains_key(&node) || (self.case.local && node == self.case.me)
    }

    fn deliver_ack(&mut self, node: NodeId, durable: bool) {
        if self.was_asked(node) {
            *self.acked.entry(node).or_default() |= durable;
        }
    }

    /// Distinct nodes that may be counted: of the allowed kind, and durable where all have to be.
    fn countable(&self) -> Vec<NodeId> {
        let all_durable = self.case.settings.durability == Durability::AllDurable;
        let counts = |(node, durable): (&NodeId, &bool)| {
            ((self.case.settings.sloppy || self.home(*node)) && (*durable || !all_durable)).then_some(*node)
        };
        self.acked.iter().filter_map(counts).collect()
    }

    fn see(&mut self, effects: &mut PutEffects) {
        for effect in effects.drain(..) {
            assert!(!self.finished, "nothing follows Finished, but {effect:?}");
            match effect {
                PutEffect::Send { to, hint_for, sync } => self.see_send(to, hint_for, sync),
                PutEffect::Acknowledge { acks, .. } => self.see_acknowledge(acks),
                PutEffect::Fail(reason) => {
                    assert!(self.acknowledged.is_none() && self.failed.is_none());
                    let before = usize::from(self.case.again);
                    assert!(usize::from(reason.holding) <= self.acked.len().max(before));
                    assert!(reason.begun || !self.case.again, "what was made before is denied");
                    assert!(reason.acked < reason.needed || reason.lacks_durable);
                    self.failed = Some(reason);
                }
                PutEffect::KeepHint { hint_for } => {
                    assert!(self.home(hint_for));
                    assert!(!self.case.local || hint_for != self.case.me, "nobody delivers from a node to itself");
                    assert!(self.kept.insert(hint_for), "kept twice");
                }
                PutEffect::Finished => self.see_finished(),
            }
        }
    }

    fn see_send(&mut self, to: NodeId, hint_for: Option<NodeId>, sync: bool) {
        let candidate = self.case.candidates.iter().find(|candidate| candidate.node == to);
        let own = self.case.local && to == self.case.me;
        assert!(own || candidate.is_some_and(|candidate| candidate.state == NodeState::Up), "sent to {to:?}");
        assert_eq!(hint_for.is_none(), self.home(to), "homes get the write, fallbacks get hints");
        assert!(hint_for.is_none_or(|home| self.home(home)));
        let own_copy = if own { vec![(self.local_hint, false)] } else { Vec::new() };
        let sends = self.sends.entry(to).or_insert(own_copy);
        let first = sends.is_empty();
        let resend = self.case.settings.durability == Durability::OneDurable && sync && sends.len() == 1;
        assert!(first || resend, "{to:?} was sent the write before: {sends:?}");
        if resend {
            assert!(!sends[0].1 && self.acked.contains_key(&to), "only who has it unsynced is asked to sync it");
            assert_eq!(sends[0].0, hint_for, "for the same home");
        }
        if self.case.settings.durability == Durability::AllDurable {
            assert!(sync);
        }
        sends.push((hint_for, sync));
    }

    fn see_acknowledge(&mut self, acks: u8) {
        assert!(self.acknowledged.is_none() && self.failed.is_none());
        let countable = self.countable();
        assert!(acks >= self.case.settings.w, "acknowledged on {acks}");
        assert!(usize::from(acks) <= countable.len(), "{acks} counted of {countable:?}");
        if self.case.settings.durability == Durability::OneDurable {
            assert!(countable.iter().any(|node| self.acked[node]), "none of {countable:?} is durable");
        }
        self.acknowledged = Some(acks);
    }

    fn see_finished(&mut self) {
        self.finished = true;
        assert!(self.acknowledged.is_some() != self.failed.is_some(), "exactly one verdict");
        if self.acknowledged.is_none() {
            return;
        }
        for home in self.case.candidates.iter().filter(|candidate| candidate.home).map(|candidate| candidate.node) {
            let hinted = |node: &NodeId| {
                self.sends.get(node).is_some_and(|sends| sends.iter().any(|(hint_for, _)| *hint_for == Some(home)))
                    || (*node == self.case.me && self.case.local && self.local_hint == Some(home))
            };
            let own = self.case.local && home == self.case.me;
            let settled =
                own || self.acked.contains_key(&home) || self.kept.contains(&home) || self.acked.keys().any(hinted);
            assert!(settled, "{home:?} would miss the write silently");
        }
    }
}

/// Follows `next_time` alone until the machine ends.
fn run_out(put: &mut Put, observer: &mut Observer, mut now: u64, began: u64) {
    let mut effects = PutEffects::new();
    for _ in 0..100 {
        let Some(next) = put.next_time() else { break };
        assert!(next <= began + DEADLINE);
        now = now.max(next);
        put.on_time(now, &mut effects);
        observer.see(&mut effects);
    }
    assert!(observer.finished && put.is_finished(), "never ended");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_ends_in_one_honest_verdict(case in case(), events in prop::collection::vec(event(), 0..40)) {
        let began = 1_000;
        let mut now = began;
        let Ok(mut put) = case.put(now) else { return Ok(()) };
        let mut observer = Observer::new(case, &put);
        let mut effects = PutEffects::new();
        let mut started = false;
        for event in events {
            match event {
                Event::Ack { node, durable } => {
                    let node = NodeId(u128::from(node));
                    if !observer.finished {
                        observer.deliver_ack(node, durable);
                    }
                    put.on_ack(node, durable, now, &mut effects);
                }
                Event::Refuse { node, refusal } => put.on_refusal(NodeId(u128::from(node)), refusal, now, &mut effects),
                Event::Pass { us } => {
                    now += us;
                    put.on_time(now, &mut effects);
                }
                Event::Start => {
                    put.start(now, &mut effects);
                    started = true;
                }
            }
            observer.see(&mut effects);
        }
        if !started {
            put.start(now, &mut effects);
            observer.see(&mut effects);
        }
        run_out(&mut put, &mut observer, now, began);
        let before = observer.sends.clone();
        put.on_ack(NodeId(0), true, now, &mut effects);
        put.on_refusal(NodeId(1), Refusal::Overloaded, now, &mut effects);
        put.on_time(u64::MAX, &mut effects);
        prop_assert!(effects.is_empty() && before == observer.sends, "it has ended");
    }

    #[test]
    fn enough_live_nodes_always_acknowledge(
        case in case(),
        live in prop::collection::vec(any::<bool>(), 12),
        refuse in prop::collection::vec(any::<bool>(), 12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let Ok(mut put) = case.put(0) else { return Ok(()) };
        let me = case.me;
        // The coordinator itself is alive.
        let alive = |node: NodeId| live[node.0 as usize] || (case.local && node == me);
        let up = |candidate: &&Candidate| {
            candidate.state == NodeState::Up && (case.settings.sloppy || candidate.home) && candidate.node != me
        };
        let own = case.candidates.iter().find(|candidate| candidate.node == me);
        let own_counts = match own {
            Some(own) if own.home => case.local || (own.state == NodeState::Up && alive(me)),
            Some(own) => case.settings.sloppy && (case.local || (own.state == NodeState::Up && alive(me))),
            None => case.settings.sloppy && case.local,
        };
        let others = case.candidates.iter().filter(up).filter(|candidate| alive(candidate.node)).count();
        let enough = others + usize::from(own_counts) >= usize::from(case.settings.w);
        let mut observer = Observer::new(case.clone(), &put);
        let mut effects = PutEffects::new();
        // (node, sync) of what was sent and not answered yet.
        let mut open: Vec<(NodeId, bool)> = Vec::new();
        if case.local {
            open.push((me, put.local_sync()));
        }
        let mut now = 0;
        put.start(now, &mut effects);
        for index in order {
            open.extend(effects.iter().filter_map(|effect| match effect {
                PutEffect::Send { to, sync, .. } => Some((*to, *sync)),
                _ => None,
            }));
            observer.see(&mut effects);
            if observer.finished {
                break;
            }
            open.retain(|(node, _)| alive(*node) || refuse[node.0 as usize]);
            if open.is_empty() {
                now = put.next_time().unwrap();
                put.on_time(now, &mut effects);
                continue;
            }
            let (node, sync) = open.swap_remove(index.index(open.len()));
            if alive(node) {
                observer.deliver_ack(node, sync);
                put.on_ack(node, sync, now, &mut effects);
            } else {
                put.on_refusal(node, Refusal::Unreachable, now, &mut effects);
            }
        }
        observer.see(&mut effects);
        run_out(&mut put, &mut observer, now, 0);
        prop_assert_eq!(observer.acknowledged.is_some(), enough, "{:?}", observer.failed);
        if observer.failed.is_some() && !case.settings.sloppy {
            prop_assert!(observer.kept.len() <= case.candidates.len());
        }
    }

    #[test]
    fn what_cannot_succeed_is_told_before_anything_is_written(case in case()) {
        let homes = case.candidates.iter().filter(|candidate| candidate.home).count();
        let usable = |candidate: &&Candidate| candidate.state == NodeState::Up || (case.local && candidate.node == case.me);
        let counted = |candidate: &&Candidate| case.settings.sloppy || candidate.home;
        let mut reachable = case.candidates.iter().filter(usable).filter(counted).count();
        let outside = !case.candidates.iter().any(|candidate| candidate.node == case.me);
        reachable += usize::from(outside && case.local && case.settings.sloppy);
        let w = usize::from(case.settings.w);
        let put = case.put(0);
        prop_assert_eq!(put.is_ok(), w <= homes && w <= reachable);
        if let Err(reason) = put {
            prop_assert_eq!(reason.begun, case.again);
            prop_assert_eq!(reason.to_string().contains("nothing was written"), !case.again);
        }
    }
}
