//! What befalls a cluster beside what its operator does. Never more disks at once than a store of N replicas can lose.

use dynamo_planner::{PARKED, PodId, Reclaim};

use crate::{Store, Weather, World, zones};

impl<S: Store> World<S> {
    /// One edit of the spec.
    pub fn edit(&mut self) {
        let n = u64::from(self.wanted.n);
        match self.chance.below(8) {
            0..=3 => self.wanted.replicas = (n + self.chance.below(10 - n)) as u32,
            4 => {
                let named = self.chance.pick(&["abc", "ab", "abcd", "bcd", "cab"]).expect("some");
                self.wanted.zones = Some(zones(named));
            }
            5 => {
                let template = self.chance.pick(&["one", "two", "three", "bad", "bad-too"]).expect("some");
                self.wanted.template = template.to_owned();
            }
            6 => self.wanted.storage.size_bytes += 1,
            _ => {
                let policy = &mut self.wanted.storage.on_scale_down;
                *policy = if *policy == Reclaim::Delete { Reclaim::Retain } else { Reclaim::Delete };
            }
        }
        let told = format!("{:>5} spec: {:?}", self.now, self.wanted);
        self.log.push(told);
    }

    /// One misfortune.
    pub fn befall(&mut self) {
        let pods: Vec<PodId> = self.kube.pods.keys().cloned().collect();
        let Some(pod) = self.chance.pick(&pods) else { return };
        let kind = self.chance.below(8);
        let told = format!("{:>5} misfortune {kind} of {pod}", self.now);
        self.log.push(told);
        match kind {
            0 | 1 => self.kill(&pod),
            2 => {
                // A process that does not come up for a while.
                self.held.insert(pod.clone(), self.now + 20 + self.chance.below(60));
                self.kill(&pod);
            }
            3 if self.chance.percent(30) => pods.iter().for_each(|pod| self.kill(pod)),
            4 if self.may_lose_a_disk(&pod) => {
                // kubectl delete pvc, with or without its pod.
                self.kube.claims.get_mut(&pod).expect("it is there").deleting = true;
                if self.chance.percent(50) {
                    self.kill(&pod);
                }
            }
            5 if self.may_lose_a_disk(&pod) => self.lose_machine(&pod),
            6 => self.scale_by_hand(&pod),
            7 => self.edit_by_hand(&pod),
            _ => {}
        }
    }

    /// A pod is deleted by nobody's plan.
    pub fn kill(&mut self, pod: &PodId) {
        if self.nodes.is_up(pod) {
            self.fell.insert(pod.clone(), self.now);
        }
        self.kube.delete_pod(pod, self.now, &mut self.chance);
        self.nodes.stop(pod, self.now);
    }

    /// Everything is where it should be, and nobody is giving a disk up.
    pub fn may_lose_a_disk(&self, pod: &PodId) -> bool {
        let has_all = |(partition, homes): (usize, &Vec<PodId>)| homes.iter().all(|pod| self.disk_has(pod, partition));
        let enough = self.nodes.sources() < self.wanted.n;
        let claim = self.kube.claims.get(pod).is_some_and(|claim| !claim.deleting && claim.host.is_some());
        let quiet = self.kube.turn.turn.is_none() && self.kube.claims.values().all(|claim| !claim.deleting);
        let pinned =
            |host: &String| self.kube.claims.values().filter(|claim| claim.host.as_ref() == Some(host)).count();
        let host = self.kube.claims.get(pod).and_then(|claim| claim.host.clone());
        enough
            && claim
            && quiet
            && host.is_some_and(|host| pinned(&host) == 1)
            && self.no_machine_is_gone()
            && self.nodes.homes().iter().enumerate().all(has_all)
    }

    fn no_machine_is_gone(&self) -> bool {
        self.kube.hosts.values().all(|host| !host.out_of_service)
    }

    /// A pod's machine is off for good, as a person says by the taint.
    pub fn lose_machine(&mut self, pod: &PodId) {
        let Some(host) = self.kube.claims[pod].host.clone() else { return };
        self.kube.hosts.get_mut(&host).expect("it is there").out_of_service = true;
        self.kill(pod);
    }

    /// kubectl scale statefulset, by somebody who did not ask the ring.
    pub fn scale_by_hand(&mut self, pod: &PodId) {
        let Some(replicas) = self.kube.sets.get(&pod.set).map(|set| set.replicas.saturating_sub(1)) else { return };
        self.kube.edit_set(&pod.set, |set| set.replicas = replicas);
        let pod = PodId::new(&pod.set, replicas);
        self.kill(&pod);
    }

    /// kubectl edit statefulset: another image.
    pub fn edit_by_hand(&mut self, pod: &PodId) {
        if self.kube.sets.get(&pod.set).is_some_and(|set| set.partition == PARKED) {
            self.kube.edit_set(&pod.set, |set| set.template = "by-hand".to_owned());
        }
    }

    /// Machines are back, processes start, and somebody has set the spec right.
    pub fn calm(&mut self) {
        self.weather = Weather::default();
        self.held.clear();
        for host in self.kube.hosts.values_mut() {
            host.out_of_service = false;
        }
        if self.wanted.template.starts_with("bad") {
            self.wanted.template = "good".to_owned();
        }
        let told = format!("{:>5} calm: {:?}", self.now, self.wanted);
        self.log.push(told);
    }
}
