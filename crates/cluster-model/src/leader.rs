//! An operator's process: it sees Kubernetes through a cache that may be old, asks the nodes, plans, and carries out one
//! write after the other, as slowly as chance wants, and it may die between any two.

use std::collections::VecDeque;

use dynamo_planner::{Action, ClaimView, Memory, Observed, PodView, SetView, Wanted, plan, turn::VALID_S};

use crate::{Asked, Store, Told, World, kube::Kube};

/// An operator's process.
#[derive(Debug, Clone)]
pub struct Leader {
    /// Since when it has seen what.
    pub memory: Memory,
    /// Kubernetes, as its watches told it last.
    pub cache: Kube,
    /// The spec, likewise.
    pub spec: Wanted,
    /// It does nothing before.
    pub asleep_until: u64,
    /// When it began to look at the ring, as long as it is not told.
    looking_since: Option<u64>,
    pending: Option<Pending>,
}

#[derive(Debug, Clone)]
struct Pending {
    actions: VecDeque<Action>,
    observed_at: u64,
    /// When the turn was read for the next action.
    checked_at: Option<u64>,
}

impl Leader {
    /// One that has just started.
    pub fn new(spec: Wanted) -> Leader {
        let (memory, cache) = (Memory::default(), Kube::default());
        Leader { memory, cache, spec, asleep_until: 0, looking_since: None, pending: None }
    }
}

impl<S: Store> World<S> {
    /// What the operator at `at` sees, with what the nodes said last.
    pub fn observe(&self, at: usize) -> Observed {
        self.observed(at, self.nodes.told(at, self.now).unwrap_or_default())
    }

    fn observed(&self, at: usize, told: Told) -> Observed {
        let kube = &self.leaders[at].cache;
        let set = |(name, set): (&String, &crate::Set)| {
            let view = SetView {
                uid: set.uid.clone(),
                version: set.version.clone(),
                generation: set.generation,
                zone: set.zone.clone(),
                replicas: set.replicas,
                partition: set.partition,
                template: set.template.clone(),
                storage_bytes: set.storage_bytes,
                rolled: set.rolled(),
            };
            (name.clone(), view)
        };
        let pods = kube.pods.iter().map(|(id, pod)| {
            let view = PodView {
                uid: pod.uid.clone(),
                host: pod.host.clone(),
                ready: pod.ready,
                template: pod.template.clone(),
                deleting: pod.gone_at.is_some(),
            };
            (id.clone(), view)
        });
        let claims = kube.claims.iter().map(|(id, claim)| {
            let view = ClaimView {
                uid: claim.uid.clone(),
                version: claim.version.clone(),
                size_bytes: claim.size_bytes,
                mark: claim.mark,
                deleting: claim.deleting,
                lost: false,
                pinned_to: claim.host.clone(),
            };
            (id.clone(), view)
        });
        Observed {
            now_s: self.now,
            founders: kube.founders.clone(),
            recorded_zones: kube.zones.clone(),
            hosts: Some(kube.hosts.clone()),
            sets: kube.sets.iter().map(set).collect(),
            pods: pods.collect(),
            claims: claims.collect(),
            turn: kube.turn.clone(),
            budget: kube.budget,
            retired: kube.retired.clone(),
            expandable: Some(true),
            ring: told.ring,
            receipts: told.receipts,
            authorities: None,
        }
    }

    /// One step of one operator.
    pub fn lead(&mut self, at: usize) {
        if self.leaders[at].asleep_until > self.now {
            return;
        }
        if self.weather.percent_now(&mut self.chance) {
            match self.chance.below(4) {
                0 => {
                    // It dies, and is back at once or in a while.
                    let for_s = self.chance.below(15);
                    self.dies(at, for_s);
                }
                1 => self.leaders[at].asleep_until = self.now + self.chance.below(25),
                _ => {}
            }
            return;
        }
        match self.nodes.asked(at, self.now) {
            Asked::Waits => return,
            Asked::Failed => self.leaders[at].pending = None,
            Asked::Done => {}
        }
        // What was seen of Kubernetes is older than what the nodes say.
        let looks = self.leaders[at].looking_since.is_some();
        if !looks && (!self.weather.rough || self.chance.percent(70)) {
            self.refresh(at);
        }
        if self.leaders[at].pending.is_none() && !self.plan(at) {
            return;
        }
        let most = if self.weather.rough { self.chance.below(4) } else { 100 };
        for _ in 0..most {
            if !self.carry_out_next(at) {
                break;
            }
        }
        let idle = |pending: &Pending| pending.actions.is_empty();
        if self.leaders[at].pending.as_ref().is_some_and(idle) {
            self.leaders[at].pending = None;
        }
    }

    /// An operator dies, and is back after so long.
    pub fn dies(&mut self, at: usize, for_s: u64) {
        self.leaders[at] = Leader::new(self.wanted.clone());
        self.deaths += 1;
        self.nodes.forget(at);
        self.leaders[at].asleep_until = self.now + for_s;
        self.refresh(at);
    }

    /// Looks, and plans what to do next; false: there is no answer yet.
    fn plan(&mut self, at: usize) -> bool {
        let observed_at = match self.leaders[at].looking_since {
            Some(since) => since,
            None => {
                self.nodes.look(at, self.now);
                self.now
            }
        };
        let Some(told) = self.nodes.told(at, self.now) else {
            self.leaders[at].looking_since = Some(observed_at);
            return false;
        };
        let mut observed = self.observed(at, told);
        if let Some(bad) = self.bad {
            bad.sees(&self.leaders[at].spec, &mut observed);
        }
        let leader = &mut self.leaders[at];
        leader.looking_since = None;
        leader.memory.observe(&observed);
        let planned = plan(&leader.spec, &observed, &leader.memory);
        let actions = planned.actions.into();
        leader.pending = Some(Pending { actions, observed_at, checked_at: None });
        true
    }

    /// Watches catch up.
    pub fn refresh(&mut self, at: usize) {
        self.leaders[at].cache = self.kube.clone();
        self.leaders[at].spec = self.wanted.clone();
    }

    /// False: nothing more in this step.
    fn carry_out_next(&mut self, at: usize) -> bool {
        let now = self.now;
        let Some(pending) = &mut self.leaders[at].pending else { return false };
        let Some(action) = pending.actions.front().cloned() else { return false };
        let drop_all = |world: &mut World<S>| {
            world.leaders[at].pending = None;
            false
        };
        if now > pending.observed_at + VALID_S {
            return drop_all(self);
        }
        if let Some(under) = action.under() {
            match pending.checked_at {
                None => {
                    let stands = self.kube.turn.turn.as_ref().is_some_and(|turn| turn.id == under);
                    if !stands {
                        return drop_all(self);
                    }
                    pending.checked_at = Some(now);
                    return !self.weather.rough;
                }
                Some(checked) if now > checked + VALID_S => return drop_all(self),
                Some(_) => pending.checked_at = None,
            }
        }
        pending.actions.pop_front();
        let lost = self.weather.rough && self.chance.percent(5);
        if lost && self.chance.percent(50) {
            return drop_all(self);
        }
        let done = self.write_by(at, &action);
        if lost || done.is_err() {
            return drop_all(self);
        }
        self.nodes.asked(at, now) == Asked::Done
    }
}
