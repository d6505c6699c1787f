//! Kubernetes and the operators of a run: a second of them at a time, what they want of the nodes carried out, and what the
//! nodes answer given to them.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_cluster_model::{self as model, Asked, Harm, Store, Told};
use dynamo_planner::{Action, Mark, PodId, Reclaim, RingView, Uid};

use super::{
    World,
    event::Event,
    kernel::{index_of, say, zone_letter},
};
use crate::{
    coverage::cover,
    history::Violation,
    known_bad::KnownBad,
    operator::{MARK, News, Nodes, Wish},
    tending::Deed,
    world::Shape,
};

/// How often Kubernetes and the operators have their turn, microseconds.
const SECOND_US: u64 = 1_000_000;
/// How long the ring may be asked for, and a change may take to be registered, microseconds.
const LOOK_US: u64 = 3_000_000;
const CHANGE_US: u64 = 5_000_000;
/// So many nodes are asked at once.
const ASKED_MAX: usize = 3;
/// How long a settled cluster is watched before it is to be written to no more, and how long after that, microseconds.
const REST_US: (u64, u64) = (60_000_000, 25_000_000);

/// What a node told of the ring, and which node.
type Heard = (u8, Box<RingView>);

/// A look of an operator.
struct Look {
    since: u64,
    /// Questions that are not answered yet.
    waits: BTreeSet<u64>,
    /// The newest that was told, not confirmed.
    newest: Option<Heard>,
}

/// Kubernetes, its operators, and what ties them to the nodes.
pub struct Tended {
    world: model::World<Nodes>,
    /// By node: the disk that it has, and the pod that it is.
    mounted: Vec<(Option<Uid>, Option<Uid>)>,
    next_place: u8,
    next_request: u64,
    /// Who is asked first.
    first: usize,
    looks: BTreeMap<usize, Look>,
    /// Changes that operators wait for: the question, and since when.
    changes: BTreeMap<usize, (u64, u64)>,
    /// Who told each operator of the ring: it is asked for the change.
    asked: BTreeMap<usize, u8>,
    /// Lines of the world's log that were told.
    logged: usize,
    deaths: u64,
    /// Something is wrong that holds requests up.
    wrong: bool,
}

impl Tended {
    pub fn new(shape: &Shape, known_bad: Option<KnownBad>) -> Option<Tended> {
        let (plan, cluster) = (shape.plan.tending.as_ref()?, &shape.plan.cluster);
        let zones: String = (0..cluster.zones).map(zone_letter).collect();
        let wanted = model::wanted(u32::from(cluster.nodes - cluster.spares), cluster.replication.into());
        let mut world = model::World::<Nodes>::new(shape.plan.seed, wanted, &zones, plan.operators.into());
        world.bad = known_bad.and_then(KnownBad::of_operators);
        let n = cluster.replication;
        let largest = |of: fn(u8, u8, u8) -> u8| {
            shape.buckets.iter().map(|bucket| of(n, bucket.r, bucket.w)).max().map_or(0, u32::from)
        };
        world.nodes.needed = (largest(|_, r, w| r.max(w)), largest(|n, r, _| r.max(n - r + 1)));
        Some(Tended {
            world,
            mounted: vec![(None, None); cluster.nodes.into()],
            next_place: cluster.nodes,
            next_request: 0,
            first: 0,
            looks: BTreeMap::new(),
            changes: BTreeMap::new(),
            asked: BTreeMap::new(),
            logged: 0,
            deaths: 0,
            wrong: false,
        })
    }

    fn request(&mut self, operator: usize) -> u64 {
        self.next_request += 1;
        MARK | (operator as u64) << 48 | self.next_request
    }
}

fn operator_of(request: u64) -> usize {
    (request >> 48 & 0xff) as usize
}

impl World {
    /// Whether a host runs nothing, and is to run nothing: it has no pod, or its node left.
    pub(super) fn is_away(&self, node: u8) -> bool {
        let host = &self.hosts[usize::from(node)];
        host.retired || host.absent
    }

    /// A second of Kubernetes and its operators.
    pub(super) fn tend(&mut self) {
        let Some(mut tended) = self.tended.take() else { return };
        self.tell_the_truth(&mut tended);
        self.deliver(&mut tended);
        tended.world.step();
        for line in &tended.world.log[tended.logged..] {
            say!(self.kernel, "kubernetes:{line}");
        }
        tended.logged = tended.world.log.len();
        count(&mut tended);
        for wish in std::mem::take(&mut tended.world.nodes.wishes) {
            self.grant(&mut tended, wish);
        }
        self.sweep(&mut tended);
        if let Some((harm, told)) = tended.world.nodes.harm() {
            let checker = if harm == Harm::Disruption { "disruption" } else { "departure" };
            self.kernel.broken(checker, told.lines().next().unwrap_or_default().to_owned());
        }
        self.tended = Some(tended);
        self.kernel.after(SECOND_US, Event::Tending);
    }

    /// What is so, for the judge and for the kubelets.
    fn tell_the_truth(&mut self, tended: &mut Tended) {
        let (newest, shape) = (self.kernel.newest().clone(), self.kernel.shape.clone());
        let nodes = &mut tended.world.nodes;
        let charter = &newest.charter;
        if nodes.version != newest.version {
            let pods = |of: &[u8]| of.iter().map(|node| shape.pod(*node)).collect();
            nodes.version = newest.version;
            nodes.homes = newest.ring().partitions().iter().map(|partition| pods(newest.homes(partition))).collect();
            nodes.members = newest.ring().members().iter().map(|member| shape.pod(index_of(member.id))).collect();
            nodes.leavers = charter.leavers().iter().map(|id| shape.pod(index_of(*id))).collect();
            nodes.quiet = charter.change().is_none() && charter.leavers().is_empty();
            let moving = charter.change().into_iter().flat_map(|change| change.members.iter().chain(&change.origin));
            let moving = moving.map(|member| member.id).chain(charter.leavers().iter().copied());
            nodes.concerned = moving.map(|id| shape.pod(index_of(id))).collect();
            nodes.concerned.extend(nodes.members.iter().cloned());
        }
        let before = std::mem::take(&mut nodes.up);
        for (number, host) in self.hosts.iter().enumerate() {
            let pod = shape.pod(number as u8);
            let Some(node) = host.node.as_ref().filter(|node| !node.is_stopping()) else { continue };
            if let Some(disk) = &tended.mounted[number].0 {
                nodes.disks.insert(pod.clone(), (disk.clone(), node.whole_in(&newest)));
            }
            nodes.up.insert(pod);
        }
        let fallen: Vec<PodId> = before.difference(&nodes.up).cloned().collect();
        let now = tended.world.now;
        tended.world.fell.extend(fallen.into_iter().map(|pod| (pod, now)));
        let nodes = &mut tended.world.nodes;
        let serving: Vec<PodId> = nodes.members.iter().filter(|pod| nodes.serves(pod)).cloned().collect();
        let wrong = serving.len() < nodes.members.len();
        nodes.filled.extend(serving);
        if wrong != tended.wrong {
            tended.wrong = wrong;
            self.kernel.seals.fault(wrong, self.kernel.now);
        }
    }

    /// What nodes have answered, and who has waited long enough.
    fn deliver(&mut self, tended: &mut Tended) {
        let now = self.kernel.now;
        let mut told: Vec<(usize, Option<Heard>)> = Vec::new();
        for news in std::mem::take(&mut self.kernel.news) {
            match news {
                News::Changed { request, made } => {
                    let operator = operator_of(request);
                    if tended.changes.get(&operator).is_some_and(|(asked, _)| *asked == request) {
                        tended.changes.remove(&operator);
                        if made {
                            cover!("operator.ring_changed")
                        } else {
                            cover!("operator.ring_refused")
                        }
                        tended.world.nodes.asked.insert(operator, if made { Asked::Done } else { Asked::Failed });
                    }
                }
                News::Looked { request, node, ring } => {
                    let operator = operator_of(request);
                    let Some(look) = tended.looks.get_mut(&operator) else { continue };
                    if !look.waits.remove(&request) {
                        continue;
                    }
                    if ring.confirmed {
                        tended.looks.remove(&operator);
                        told.push((operator, Some((node, ring))));
                    } else if look.newest.as_ref().is_none_or(|(_, newest)| newest.version < ring.version) {
                        look.newest = Some((node, ring));
                    }
                }
            }
        }
        tended.looks.retain(|operator, look| {
            let goes_on = !look.waits.is_empty() && now < look.since + LOOK_US;
            if !goes_on {
                if look.newest.is_some() {
                    cover!("operator.not_confirmed");
                }
                told.push((*operator, look.newest.take()));
            }
            goes_on
        });
        for (operator, heard) in told {
            self.tell(tended, operator, heard);
        }
        let late: Vec<usize> = tended
            .changes
            .iter()
            .filter(|(_, (_, since))| now >= since + CHANGE_US)
            .map(|(operator, _)| *operator)
            .collect();
        for operator in late {
            tended.changes.remove(&operator);
            tended.world.nodes.asked.insert(operator, Asked::Failed);
        }
    }

    /// An operator is told of the ring, and what those still have who are in none.
    fn tell(&self, tended: &mut Tended, operator: usize, heard: Option<Heard>) {
        let (now, shape) = (self.kernel.now, &self.kernel.shape);
        let receipts = heard.iter().filter(|(_, ring)| ring.confirmed).flat_map(|(_, ring)| {
            let running = self.hosts.iter().enumerate().filter(|(_, host)| host.paused_until <= now);
            let running = running.filter_map(|(number, host)| Some((shape.pod(number as u8), host.node.as_ref()?)));
            running.filter(|(pod, _)| !ring.concerns(pod)).filter_map(|(pod, node)| Some((pod, node.receipt()?)))
        });
        let receipts = receipts.collect();
        if let Some((node, _)) = &heard {
            tended.asked.insert(operator, *node);
        }
        let ring = heard.map(|(_, ring)| *ring);
        tended.world.nodes.told.insert(operator, Some(Told { ring, receipts }));
    }

    /// What the model of Kubernetes wants of the nodes.
    fn grant(&mut self, tended: &mut Tended, wish: Wish) {
        let shape = self.kernel.shape.clone();
        match wish {
            Wish::Found(pods) => {
                cover!("operator.founded");
                let founders = shape.plan.cluster.nodes - shape.plan.cluster.spares;
                let same: BTreeSet<PodId> = (0..founders).map(|node| shape.pod(node)).collect();
                if pods.iter().cloned().collect::<BTreeSet<_>>() != same {
                    self.kernel.broken("operator", format!("{pods:?} are to be the first ring's members"));
                }
            }
            Wish::Start { pod, disk, retired } => self.start_pod(tended, &pod, &disk, retired),
            Wish::Stop(pod) => {
                self.stop(shape.node_of(&pod));
                self.kernel.changed();
            }
            Wish::Look { operator } => {
                let mut targets = self.targets(&tended.world.kube);
                let first = tended.first % targets.len().max(1);
                targets.rotate_left(first);
                tended.first += 1;
                let mut look = Look { since: self.kernel.now, waits: BTreeSet::new(), newest: None };
                for node in targets.into_iter().take(ASKED_MAX) {
                    let request = tended.request(operator);
                    look.waits.insert(request);
                    let kernel = &mut self.kernel;
                    if let Some(node) = &mut self.hosts[usize::from(node)].node {
                        node.operator_looks(request, kernel);
                    }
                }
                tended.looks.insert(operator, look);
            }
            Wish::Change { operator, change } => {
                let request = tended.request(operator);
                tended.changes.insert(operator, (request, self.kernel.now));
                let Some(by) = tended.asked.get(&operator) else { return };
                let (host, kernel) = (&mut self.hosts[usize::from(*by)], &mut self.kernel);
                if let Some(node) = host.node.as_mut().filter(|_| host.paused_until <= kernel.now) {
                    say!(kernel, "operator {operator} asks node-{by} for {change:?}");
                    node.operator_changes(request, &change, kernel);
                }
            }
        }
    }

    /// Whom operators can ask: those that are ready.
    fn targets(&self, kube: &model::Kube) -> Vec<u8> {
        let shape = &self.kernel.shape;
        let answers = |node: &u8| {
            let host = &self.hosts[usize::from(*node)];
            host.node.is_some() && host.paused_until <= self.kernel.now
        };
        kube.pods.keys().map(|pod| shape.node_of(pod)).filter(answers).collect()
    }

    /// A pod's process is to run on its claim's disk.
    fn start_pod(&mut self, tended: &mut Tended, pod: &PodId, disk: &Uid, retired: Option<u64>) {
        let number = self.kernel.shape.node_of(pod);
        let Some(uid) = tended.world.kube.pods.get(pod).map(|pod| pod.uid.clone()) else { return };
        if self.hosts[usize::from(number)].node.is_some() || self.hosts[usize::from(number)].held_down > 0 {
            return;
        }
        let mounted = tended.mounted[usize::from(number)].clone();
        if mounted.1.as_ref() != Some(&uid) {
            if mounted.1.is_some() {
                self.move_to_a_new_place(tended, number);
            }
            tended.mounted[usize::from(number)].1 = Some(uid);
        }
        if mounted.0.as_ref() != Some(disk) {
            if mounted.0.is_some() {
                cover!("operator.new_disk");
                say!(self.kernel, "node-{number} gets an empty disk");
                let host = &mut self.hosts[usize::from(number)];
                host.disk.wipe();
                (host.beside, host.retired) = (Default::default(), false);
            } else if number < self.kernel.shape.plan.cluster.nodes - self.kernel.shape.plan.cluster.spares {
                self.give_buckets(number);
            }
            tended.mounted[usize::from(number)].0 = Some(disk.clone());
        } else if let Some(retired) = retired {
            self.retire(number, retired);
        }
        self.hosts[usize::from(number)].absent = false;
        self.power_on(number);
    }

    /// A disk whose life is this one or an earlier one left: it is emptied, and begins another life.
    fn retire(&mut self, number: u8, retired: u64) {
        let now = self.kernel.wall_ms(number);
        let host = &mut self.hosts[usize::from(number)];
        if let Some(identity) = host.beside.identity.as_mut().filter(|identity| identity.incarnation <= retired) {
            cover!("operator.retired");
            say!(self.kernel, "node-{number}'s disk left in life {}, and is emptied", identity.incarnation);
            identity.begin_life(now, (retired, 0));
            host.disk.wipe();
            (host.beside.high_water, host.retired) = (None, false);
        }
    }

    /// Each pod has an address of its own.
    fn move_to_a_new_place(&mut self, tended: &mut Tended, number: u8) {
        loop {
            tended.next_place = tended.next_place.wrapping_add(1);
            if self.kernel.resident(tended.next_place).is_none() && tended.next_place >= self.kernel.shape.nodes() {
                break;
            }
        }
        self.kernel.places[usize::from(number)] = tended.next_place;
    }

    /// Whoever has no pod any more, or no machine, runs no more.
    fn sweep(&mut self, tended: &mut Tended) {
        let shape = self.kernel.shape.clone();
        for number in 0..shape.nodes() {
            let pod = tended.world.kube.pods.get(&shape.pod(number));
            let machine = pod.and_then(|pod| pod.host.as_ref());
            let off = machine.is_some_and(|machine| tended.world.kube.is_gone(machine));
            if machine.is_none() || off {
                self.hosts[usize::from(number)].absent = true;
                if self.hosts[usize::from(number)].node.is_some() {
                    self.crash(number, off);
                }
            }
        }
    }

    /// What people do, or what befalls.
    pub(super) fn deed(&mut self, number: u16) {
        let Some(mut tended) = self.tended.take() else { return };
        let shape = self.kernel.shape.clone();
        let deed = shape.plan.tending.as_ref().map(|plan| &plan.deeds[usize::from(number)].deed);
        if let Some(deed) = deed {
            say!(self.kernel, "*** {deed:?}");
            self.tell_the_truth(&mut tended);
            let hints: u64 =
                self.hosts.iter().filter_map(|host| host.node.as_ref()).map(|node| node.hints_held()).sum();
            perform(&mut tended.world, deed, &shape, hints == 0);
            for wish in std::mem::take(&mut tended.world.nodes.wishes) {
                self.grant(&mut tended, wish);
            }
        }
        self.tended = Some(tended);
    }

    /// Everything is mended that people mend.
    pub(super) fn calm_down(&mut self) {
        if let Some(tended) = &mut self.tended {
            tended.world.calm();
            tended.world.leaders.iter_mut().for_each(|leader| leader.asleep_until = 0);
        }
    }

    /// What the operators have still to do.
    pub(super) fn untended(&self) -> Option<String> {
        self.tended.as_ref()?.world.is_settled().err()
    }

    /// Nothing is written to a cluster that is as it is wanted.
    pub(super) fn rests(&mut self) -> Option<Violation> {
        self.tended.as_ref()?;
        self.run_until(self.kernel.now + REST_US.0);
        let before = self.tended.as_ref().map(|tended| (tended.world.writes, tended.world.log.len()))?;
        self.run_until(self.kernel.now + REST_US.1);
        let world = &self.tended.as_ref()?.world;
        let log = world.log.get(before.1).cloned().unwrap_or_default();
        let why = world.is_settled().err().or_else(|| (world.writes > before.0).then_some(log));
        why.map(|why| Violation::new("operator", None, format!("a settled cluster is written to: {why}")))
    }
}

/// Does a deed to Kubernetes.
fn perform(world: &mut model::World<Nodes>, deed: &Deed, shape: &Shape, drained: bool) {
    let (now, pod) = (world.now, |node: &u8| shape.pod(*node));
    match deed {
        Deed::Scale { replicas } => world.wanted.replicas = *replicas,
        Deed::Roll { template } => world.wanted.template.clone_from(template),
        Deed::Reclaim { delete } => {
            world.wanted.storage.on_scale_down = if *delete { Reclaim::Delete } else { Reclaim::Retain };
        }
        Deed::Grow => world.wanted.storage.size_bytes += 1,
        Deed::GiveUp { node } => {
            let claim = world.kube.claims.get(&pod(node)).map(|claim| claim.uid.clone());
            world.wanted.maintenance.replace.extend(claim.filter(|_| drained).map(|uid| (pod(node), uid)));
        }
        Deed::DeletePod { node } => world.kill(&pod(node)),
        Deed::DeleteAllPods => {
            let pods: Vec<PodId> = world.kube.pods.keys().cloned().collect();
            pods.iter().for_each(|pod| world.kill(pod));
        }
        Deed::HoldUp { node, for_s } => {
            world.held.insert(pod(node), now + u64::from(*for_s));
            world.kill(&pod(node));
        }
        Deed::DeleteClaim { node, pod: with } if drained && world.may_lose_a_disk(&pod(node)) => {
            if let Some(claim) = world.kube.claims.get_mut(&pod(node)) {
                claim.deleting = true;
            }
            if *with {
                world.kill(&pod(node));
            }
        }
        Deed::LoseMachine { node } if drained && world.may_lose_a_disk(&pod(node)) => world.lose_machine(&pod(node)),
        Deed::ScaleByHand { node } => world.scale_by_hand(&pod(node)),
        Deed::EditByHand { node } => world.edit_by_hand(&pod(node)),
        Deed::OperatorDies { operator, for_s } => world.dies((*operator).into(), (*for_s).into()),
        Deed::OperatorSleeps { operator, for_s } => {
            world.leaders[usize::from(*operator)].asleep_until = now + u64::from(*for_s);
        }
        Deed::RoughWeather { for_s } => {
            (world.weather.rough, world.weather.until) = (true, now + u64::from(*for_s));
        }
        Deed::DeleteClaim { .. } | Deed::LoseMachine { .. } => {}
    }
}

/// Which rare branches were taken in this second.
fn count(tended: &mut Tended) {
    let world = &tended.world;
    for (action, made) in &world.carried {
        match action {
            _ if !made => cover!("operator.conflict"),
            Action::ShrinkSet { .. } => cover!("operator.shrunk"),
            Action::MarkClaim { mark: Some(Mark::Left { .. }), .. } => cover!("operator.receipt"),
            Action::DeleteClaim { cleared, .. } if cleared.mark() == Mark::Lost => cover!("operator.disk_replaced"),
            Action::DeleteClaim { .. } => cover!("operator.disk_deleted"),
            Action::DeletePod { .. } => cover!("operator.restarted"),
            Action::LowerPartition { .. } => cover!("operator.rolled"),
            Action::CancelChange { .. } => cover!("operator.cancelled"),
            Action::DeleteSet { orphan: true, .. } => cover!("operator.set_remade"),
            _ => {}
        }
    }
    for _ in tended.deaths..world.deaths {
        cover!("operator.died");
    }
    tended.deaths = world.deaths;
}
