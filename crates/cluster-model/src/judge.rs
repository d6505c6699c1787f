//! What must hold whatever happens: each write that disturbs is held against the truth, not against what was seen.

use std::collections::BTreeSet;

use dynamo_planner::{
    PodId, Wanted,
    turn::{NOTICED_S, VALID_S},
};

use crate::{Harm, Store, World};

/// Who came up less than so long ago was down when it was looked at, and whoever is down may restart whatever else is broken.
const SEEN_S: u64 = VALID_S + NOTICED_S;

/// Who fell over less than so long ago can't have been known, and is not held against who acts.
const GRACE_S: u64 = 60;

impl<S: Store> World<S> {
    fn fail(&self, harm: Harm, what: &str) {
        let last = self.log.len().saturating_sub(60);
        let told = format!("seed {}, second {}: {what}\n{}", self.seed, self.now, self.log[last..].join("\n"));
        self.nodes.harmed(harm, told);
    }

    /// A pod is stopped on purpose: no range may lose its quorum by it.
    pub fn judge_disruption(&self, pod: &PodId) {
        let seen_down = self.up_since.get(pod).is_some_and(|since| self.now < since + SEEN_S);
        if !self.nodes.serves(pod) || seen_down {
            return;
        }
        let fell = |other: &PodId| self.fell.get(other).is_some_and(|since| self.now < since + GRACE_S);
        for homes in self.nodes.homes().iter().filter(|homes| homes.contains(pod)) {
            let serving = homes.iter().filter(|home| *home != pod && (self.nodes.serves(home) || fell(home))).count();
            let needed = (self.nodes.quorum() as usize).min(homes.len() - 1);
            if serving < needed {
                self.fail(Harm::Disruption, &format!("{pod} is stopped, and of {homes:?} only {serving} serve"));
            }
        }
    }

    /// A pod goes for good: the ring has nothing to do with it.
    pub fn judge_departure(&self, pod: &PodId) {
        if self.nodes.concerns(pod) {
            self.fail(Harm::Departure, &format!("{pod} goes and is in the ring"));
        }
    }

    /// A disk is deleted: all that its node answers for is elsewhere. Who joins is no home yet, and answers for nothing.
    pub fn judge_deletion(&self, pod: &PodId) {
        if self.nodes.hands_over(pod) && self.nodes.is_up(pod) {
            self.fail(Harm::Departure, &format!("the disk of {pod} is deleted, and it hands over"));
        }
        for (partition, homes) in self.nodes.homes().iter().enumerate().filter(|(_, homes)| homes.contains(pod)) {
            let others = homes.iter().filter(|home| *home != pod && self.disk_has(home, partition)).count();
            if others < (self.nodes.sources() as usize).min(homes.len() - 1).max(1) {
                let what = format!("the disk of {pod} is deleted, and only {others} others have partition {partition}");
                self.fail(Harm::Departure, &what);
            }
        }
    }

    /// Whether a pod's disk has all of a partition, and stays.
    pub fn disk_has(&self, pod: &PodId, partition: usize) -> bool {
        let claim = self.kube.claims.get(pod).filter(|claim| !claim.deleting);
        claim.is_some_and(|claim| self.nodes.has_whole(pod, &claim.uid, partition))
    }

    /// Somebody has each partition, at any time.
    pub fn judge_data(&self) {
        for (partition, homes) in self.nodes.homes().iter().enumerate() {
            let started = homes.iter().any(|pod| self.nodes.has_run(pod));
            if started && !homes.iter().any(|pod| self.disk_has(pod, partition)) {
                self.fail(Harm::Departure, &format!("nobody of {homes:?} has partition {partition}"));
            }
        }
    }

    /// The pods that are wanted: as many in each zone, the first ones having one more.
    fn spread(&self) -> BTreeSet<PodId> {
        let named = self.wanted.zones.as_ref().map(|zones| zones.iter().map(|zone| zone.name.clone()).collect());
        let names: Vec<String> = named.unwrap_or_else(|| self.kube.zones.clone());
        let mut spread = BTreeSet::new();
        for number in 0..self.wanted.replicas {
            let zones = names.len() as u32;
            let set = names.get((number % zones.max(1)) as usize).map(|name| format!("c-{name}"));
            spread.extend(set.map(|set| PodId::new(&set, number / zones)));
        }
        spread
    }

    /// Whether everything is as it is wanted.
    ///
    /// # Errors
    /// What is not.
    pub fn is_settled(&self) -> Result<(), String> {
        let Wanted { replicas, template, storage, .. } = &self.wanted;
        let kube = &self.kube;
        let say = |what: &str| Err(what.to_owned());
        if kube.turn.turn.is_some() || !self.nodes.is_quiet() {
            return say("a turn, a change, or somebody hands over");
        }
        let members = self.nodes.members();
        let spread = self.spread();
        if !members.iter().eq(&spread) || !kube.pods.keys().eq(&spread) {
            return Err(format!("{spread:?} are wanted, members {members:?}, pods {:?}", kube.pods.keys()));
        }
        if kube.sets.values().map(|set| set.replicas).sum::<u32>() != *replicas {
            return say("a StatefulSet has more pods than are wanted");
        }
        if kube.pods.values().any(|pod| !pod.ready || pod.template != *template) {
            return say("a pod is not ready, or of an old template");
        }
        if members.iter().any(|pod| !self.nodes.serves(pod)) {
            return say("a node is not whole");
        }
        if kube.sets.values().any(|set| set.storage_bytes < storage.size_bytes) {
            return say("a StatefulSet has small claims");
        }
        let claims = || members.iter().map(|pod| kube.claims.get(pod));
        if claims().any(|claim| claim.is_none_or(|claim| claim.size_bytes < storage.size_bytes || claim.mark.is_some()))
        {
            return say("a small claim, or one that is marked");
        }
        Ok(())
    }
}
