//! Writes, deletes, hints and read repair that are as careless as is allowed: messages that are stuck for long, hints that
//! are delivered twice, reads whose repair comes late. What was deleted and collected must never live again.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_keeper::collect::Item;
use dynamo_keeper::{StoreAsk, StoreDone};
use dynamo_ring::{NodeId, Partition};

use super::{Event, MS, Q, State, World, digest};

/// A state on its way to a home, or to who keeps it as a hint for one.
pub struct Sent {
    to: NodeId,
    from: NodeId,
    epoch: u64,
    hint_for: Option<NodeId>,
    partition: u16,
    key: Vec<u8>,
    state: State,
    /// Of which write it is.
    write: Option<usize>,
    /// Which hint of the sender is delivered by it, in which life of the sender.
    hint: Option<(u64, NodeId)>,
}

/// A read that ends some time after it has had its answers.
pub struct Repair {
    by: NodeId,
    life: u64,
    epoch: u64,
    to: NodeId,
    partition: u16,
    key: Vec<u8>,
    state: State,
}

struct Made {
    key: (u16, Vec<u8>),
    dot: u64,
    /// What it replaces.
    over: u64,
    deletes: bool,
    by: BTreeSet<NodeId>,
}

#[derive(Default)]
pub struct Deletes {
    /// Customers write and delete.
    pub open: bool,
    pub keys: u64,
    /// Of a hundred writes so many are deletes.
    pub delete_percent: u64,
    /// Of a hundred messages so many are stuck for up to so long.
    pub stuck_percent: u64,
    pub stuck_us: u64,
    next_dot: BTreeMap<Vec<u8>, u32>,
    /// Who minted a dot, and in which life.
    minted: BTreeMap<(Vec<u8>, u64), (NodeId, u64)>,
    made: Vec<Made>,
    /// What was collected or pruned: it must never live again.
    over: BTreeMap<Vec<u8>, u64>,
    pub collected: usize,
    pub pruned: usize,
    pub sealed: usize,
}

impl World {
    /// From now on customers come.
    pub fn open(&mut self, keys: u64) {
        self.clients = false;
        self.deletes = Deletes { open: true, keys, delete_percent: 40, stuck_percent: 2, ..Deletes::default() };
        self.deletes.stuck_us = 20_000 * MS;
        self.at(MS, Event::Customer);
        self.at(MS, Event::Deliver);
    }

    /// A state joins a record. At a home, what was collected must not live by it.
    pub(super) fn take_in(&mut self, node: NodeId, partition: u16, key: &[u8], state: State) {
        // What a disk in doubt has is nobody's business: it is emptied, or was as new as any.
        let home = self.newest().ring().is_home(Partition(partition), node) && !self.in_doubt(node);
        let disk = &mut self.nodes.get_mut(&node).unwrap().disk;
        disk.apply(partition, key, state);
        let now = disk.of(partition, key);
        let over = self.deletes.over.get(key).copied().unwrap_or(0);
        assert!(
            !home || now.live & over == 0,
            "{} at {}: {:x} of {} lives again at node {}\n{}",
            "what was collected",
            self.now,
            now.live & over,
            String::from_utf8_lossy(key),
            node.0,
            self.log.iter().rev().take(80).rev().cloned().collect::<Vec<_>>().join("\n"),
        );
    }

    /// Names of those who are gone, without a version of theirs.
    fn names(&self, key: &[u8], state: State, retired: &[(u128, u64)]) -> u64 {
        let dead = state.seen & !state.live;
        let gone = |dot: &u64| {
            let by = self.deletes.minted.get(&(key.to_vec(), *dot));
            by.is_some_and(|(node, life)| retired.contains(&(node.0, *life)))
        };
        (0..64).map(|bit| 1 << bit).filter(|dot| dead & dot != 0).filter(gone).sum()
    }

    pub(super) fn spent(&mut self, node: NodeId, ask: StoreAsk) -> StoreDone {
        let disk = &self.nodes[&node].disk;
        match ask {
            StoreAsk::Spent { partition, after, retired, .. } => {
                let records = disk.records.get(&partition).into_iter().flatten();
                let mut rest = records.filter(|(key, _)| after.as_ref().is_none_or(|after| key[..] > after[..]));
                let page: Vec<(Vec<u8>, State)> =
                    rest.by_ref().take(4).map(|(key, state)| (key.clone(), *state)).collect();
                let go_on = rest.next().and(page.last().map(|(key, _)| key.clone().into()));
                let is_spent =
                    |(key, state): &&(Vec<u8>, State)| state.live == 0 || self.names(key, *state, &retired) != 0;
                let items = page.iter().filter(is_spent);
                let items = items.map(|(key, state)| Item { key: key.clone().into(), digest: digest(*state) });
                StoreDone::Spent { items: items.collect(), go_on, bytes: 10 }
            }
            StoreAsk::Digests { partition, keys } => {
                let record =
                    |key: &bytes::Bytes| disk.records.get(&partition).and_then(|records| records.get(&key[..]));
                StoreDone::Digests(keys.iter().map(|key| record(key).map(|state| digest(*state))).collect())
            }
            StoreAsk::Hinted => {
                let held = disk.hints.keys().map(|(_, partition, _)| *partition).collect();
                StoreDone::Hinted { kept: self.nodes[&node].kept.clone(), held }
            }
            StoreAsk::Collect { partition, items, retired } => {
                let (mut gone, mut pruned) = (0, 0);
                for Item { key, digest: named } in items {
                    let state = self.nodes[&node].disk.of(partition, &key);
                    if state == State::default() || digest(state) != named {
                        continue;
                    }
                    let names = self.names(&key, state, &retired);
                    let over = if state.live == 0 { state.seen } else { names };
                    let left = (state.live != 0).then_some(State { seen: state.seen & !names, ..state });
                    gone += u32::from(left.is_none());
                    pruned += u32::from(left.is_some() && names != 0);
                    *self.deletes.over.entry(key.to_vec()).or_default() |= over;
                    self.nodes.get_mut(&node).unwrap().disk.put(partition, &key, left);
                    self.check_over(partition, &key);
                }
                self.deletes.collected += gone as usize;
                self.deletes.pruned += pruned as usize;
                self.log.push(format!("{} node {} collects {gone}, prunes {pruned} of {partition}", self.now, node.0));
                StoreDone::Collected { gone, pruned }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Whatever was collected lives nowhere at a home.
    fn check_over(&self, partition: u16, key: &[u8]) {
        let over = self.deletes.over.get(key).copied().unwrap_or(0);
        let homes = self.newest().ring().preference_list(Partition(partition));
        for home in homes.into_iter().filter(|home| !self.in_doubt(*home)) {
            let live = self.nodes[&home].disk.of(partition, key).live;
            assert_eq!(live & over, 0, "{} lives at node {}", String::from_utf8_lossy(key), home.0);
        }
    }

    fn delay(&mut self) -> u64 {
        let Deletes { stuck_percent, stuck_us, .. } = self.deletes;
        if self.chance.percent(stuck_percent) {
            self.chance.below(stuck_us)
        } else {
            100 + self.chance.below(self.weather.slow_us)
        }
    }

    /// Whether a message arrives at all; a link that is cut takes nothing.
    fn send(&mut self, sent: Sent) -> bool {
        let open = !self.cut.contains(&(sent.from, sent.to)) && self.nodes[&sent.to].keeper.is_some();
        if !open || self.chance.percent(self.weather.lost_percent) {
            return false;
        }
        let delay = self.delay();
        self.at(delay, Event::Sent(sent));
        true
    }

    /// A put or delete through some node that takes itself for a member.
    pub(super) fn customer(&mut self) {
        self.at(3 * MS, Event::Customer);
        if !self.deletes.open {
            return;
        }
        let running: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(id, node)| node.keeper.is_some() && node.charter.ring().member(**id).is_some())
            .map(|(id, _)| *id)
            .collect();
        if running.is_empty() {
            return;
        }
        let asked = running[self.chance.below(running.len() as u64) as usize];
        let number = self.chance.below(self.deletes.keys);
        let partition = (number % u64::from(Q)) as u16;
        let key = format!("{partition:02}/{number}").into_bytes();
        let charter = self.nodes[&asked].charter.clone();
        let homes = charter.ring().preference_list(Partition(partition));
        let reachable = self.reachable(asked);
        let by = if homes.contains(&asked) {
            asked
        } else {
            homes.iter().copied().find(|home| reachable.contains(home)).unwrap_or(asked)
        };
        if self.chance.percent(15) {
            return self.read(by, partition, key);
        }
        self.write_by(by, partition, key);
    }

    fn read(&mut self, by: NodeId, partition: u16, key: Vec<u8>) {
        let (charter, life) = (self.nodes[&by].charter.clone(), self.nodes[&by].life);
        let homes = charter.ring().preference_list(Partition(partition));
        let mut answering = self.reachable(by);
        answering.insert(by);
        let epoch = charter.ring().epoch();
        let serves = |home: &NodeId| !self.in_doubt(*home) || epoch <= self.nodes[home].charter.ring().epoch();
        let found = homes.iter().filter(|home| answering.contains(home) && serves(home));
        let state = found.fold(State::default(), |state, home| state.join(self.nodes[home].disk.of(partition, &key)));
        if state == State::default() {
            return;
        }
        let to = homes[self.chance.below(homes.len() as u64) as usize];
        let delay = self.delay();
        let repair = Repair { by, life, epoch: charter.ring().epoch(), to, partition, key, state };
        self.at(delay, Event::Repair(repair));
    }

    pub(super) fn repair(&mut self, repair: Repair) {
        let Repair { by, life, epoch, to, partition, key, state } = repair;
        if self.nodes[&by].life == life {
            self.send(Sent { to, from: by, epoch, hint_for: None, partition, key, state, write: None, hint: None });
        }
    }

    fn write_by(&mut self, by: NodeId, partition: u16, key: Vec<u8>) {
        let node = &self.nodes[&by];
        let Some(ring) = node.keeper.as_ref().map(|_| node.charter.ring().clone()) else { return };
        let next = self.deletes.next_dot.entry(key.clone()).or_default();
        if *next == 64 {
            return;
        }
        let dot = 1 << *next;
        let epoch = ring.epoch();
        let homes = ring.preference_list(Partition(partition));
        // Who is no home stands in for one.
        let hint_for = (!homes.contains(&by)).then(|| homes[0]);
        let disk = &node.disk;
        let old = hint_for.map_or_else(
            || disk.of(partition, &key),
            |home| disk.hints.get(&(home, partition, key.clone())).copied().unwrap_or_default(),
        );
        let deletes = self.chance.percent(self.deletes.delete_percent);
        if epoch < disk.floor || (hint_for.is_none() && epoch < disk.fence(partition)) || (deletes && old.live == 0) {
            return;
        }
        *next += 1;
        let over = if deletes || self.chance.percent(60) { old.seen } else { 0 };
        let live = (old.live & !over) | if deletes { 0 } else { dot };
        let state = State { seen: old.seen | dot, live };
        self.deletes.minted.insert((key.clone(), dot), (by, disk.incarnation));
        let write = self.deletes.made.len();
        let made = Made { key: (partition, key.clone()), dot, over, deletes, by: BTreeSet::new() };
        self.deletes.made.push(made);
        let own = Sent { to: by, from: by, epoch, hint_for, partition, key, state, write: Some(write), hint: None };
        for to in homes.into_iter().filter(|home| *home != by && Some(*home) != hint_for) {
            let sent = Sent { to, key: own.key.clone(), hint_for: None, hint: None, ..own };
            if !self.send(sent) {
                self.stand_in(to, &own, &ring);
            }
        }
        self.sent(own);
    }

    /// A home has not answered: some member keeps the write for it, the coordinator itself if nobody else can be had.
    fn stand_in(&mut self, home: NodeId, own: &Sent, ring: &dynamo_ring::Ring) {
        let reachable = self.reachable(own.from);
        let homes = ring.preference_list(Partition(own.partition));
        let mut others: Vec<NodeId> = ring.members().iter().map(|member| member.id).collect();
        others.retain(|id| reachable.contains(id) && !homes.contains(id));
        let to = if others.is_empty() { own.from } else { others[self.chance.below(others.len() as u64) as usize] };
        let hint = Sent { to, key: own.key.clone(), hint_for: Some(home), hint: None, ..*own };
        if to == own.from {
            self.sent(hint);
        } else {
            self.send(hint);
        }
    }

    /// A state arrives.
    pub(super) fn sent(&mut self, sent: Sent) {
        let Sent { to, from, epoch, hint_for, partition, key, state, write, hint } = sent;
        let entry = &self.nodes[&to];
        let known = to == from || entry.charter.takes_from(from) || epoch > entry.charter.ring().epoch();
        let taken = match hint_for {
            None => self.serves(to, epoch, partition),
            Some(_) => {
                let newer = epoch > entry.charter.ring().epoch();
                entry.keeper.is_some() && epoch >= entry.disk.floor && !(newer && self.in_doubt(to))
            }
        };
        if !known || !taken {
            self.deletes.sealed += usize::from(epoch < entry.disk.floor);
            return;
        }
        match hint_for {
            None => self.take_in(to, partition, &key, state),
            Some(home) => {
                let entry = self.nodes.get_mut(&to).unwrap();
                let slot = entry.disk.hints.entry((home, partition, key.clone())).or_default();
                *slot = slot.join(state);
                *entry.kept.entry(partition).or_default() += 1;
            }
        }
        if let Some(write) = write {
            self.deletes.made[write].by.insert(to);
        }
        if let Some((life, target)) = hint {
            let delay = 100 + self.chance.below(self.weather.slow_us);
            self.at(delay, Event::Delivered { node: from, life, hint: (target, partition, key), state });
        }
    }

    /// Each node hands over some of its hints; what is not confirmed is sent again, the first copy being anywhere.
    pub(super) fn deliver(&mut self) {
        self.at(60 * MS, Event::Deliver);
        let mut out = Vec::new();
        for (id, node) in self.nodes.iter().filter(|(id, _)| !self.in_doubt(**id)) {
            let (ring, reachable) = (node.charter.ring(), self.reachable(*id));
            for ((target, partition, key), state) in node.disk.hints.iter().take(6) {
                let homes = ring.preference_list(Partition(*partition));
                let heir = if homes.contains(target) { Some(*target) } else { None };
                let heir = heir.or_else(|| homes.contains(id).then_some(*id));
                let heir = heir.or_else(|| homes.iter().copied().find(|home| reachable.contains(home)));
                let Some(to) = heir else { continue };
                let hint = Some((node.life, *target));
                let (epoch, key) = (ring.epoch(), key.clone());
                let (partition, state) = (*partition, *state);
                out.push(Sent { to, from: *id, epoch, hint_for: None, partition, key, state, write: None, hint });
            }
        }
        for sent in out {
            if sent.to == sent.from {
                self.sent(sent);
            } else {
                self.send(sent);
            }
        }
    }

    pub(super) fn delivered(&mut self, node: NodeId, life: u64, hint: &(NodeId, u16, Vec<u8>), state: State) {
        let entry = self.nodes.get_mut(&node).unwrap();
        if entry.life == life && entry.disk.hints.get(hint) == Some(&state) {
            entry.disk.hints.remove(hint);
        }
    }

    /// All that live at homes of the newest ring: by key, its homes' join.
    fn at_homes(&self) -> BTreeMap<(u16, Vec<u8>), State> {
        let charter = self.newest();
        let mut found = BTreeMap::<(u16, Vec<u8>), State>::new();
        for partition in charter.ring().partitions().iter() {
            for home in charter.ring().preference_list(partition) {
                for (key, state) in self.nodes[&home].disk.records.get(&partition.0).into_iter().flatten() {
                    let joined = found.entry((partition.0, key.clone())).or_default();
                    *joined = joined.join(*state);
                }
            }
        }
        found
    }

    /// What was deleted, and known to two nodes, is deleted; what was put, known to two and replaced by nobody, is there.
    pub fn check_deletes(&self) {
        let found = self.at_homes();
        found.keys().for_each(|(partition, key)| self.check_over(*partition, key));
        let mut replaced = BTreeMap::<&(u16, Vec<u8>), u64>::new();
        self.deletes.made.iter().for_each(|made| *replaced.entry(&made.key).or_default() |= made.over);
        for made in self.deletes.made.iter().filter(|made| made.by.len() >= 2) {
            let live = found.get(&made.key).map_or(0, |state| state.live);
            let key = String::from_utf8_lossy(&made.key.1);
            assert_eq!(live & made.over, 0, "{key}: what was replaced lives");
            let stays = !made.deletes && replaced[&made.key] & made.dot == 0;
            assert!(!stays || live & made.dot != 0, "{key}: an acknowledged write is lost");
        }
    }

    /// Keys that are deleted and still take room at a home; hints held by nodes that run and are members.
    pub fn tombstones(&self) -> (usize, usize) {
        let charter = self.newest();
        let mut tombstones = 0;
        for partition in charter.ring().partitions().iter() {
            for home in charter.ring().preference_list(partition) {
                let records = self.nodes[&home].disk.records.get(&partition.0).into_iter().flatten();
                tombstones += records.filter(|(_, state)| state.live == 0).count();
            }
        }
        let members = charter.ring().members().iter().map(|member| &self.nodes[&member.id]);
        (tombstones, members.map(|node| node.disk.hints.len()).sum())
    }

    /// Names of this node's present life in keys of homes, where no version of it is left.
    pub fn names_of(&self, number: u128, life: u64) -> usize {
        let retired = [(number, life)];
        self.at_homes().iter().filter(|((_, key), state)| self.names(key, **state, &retired) != 0).count()
    }

    pub fn life_of(&self, number: u128) -> u64 {
        self.nodes[&super::id(number)].disk.incarnation
    }

    pub fn hints(&self, number: u128) -> usize {
        self.nodes[&super::id(number)].disk.hints.len()
    }

    /// Hints for keys of every partition are kept by this node, and handed over.
    pub fn hints_come_and_go(&mut self, number: u128) {
        let node = self.nodes.get_mut(&super::id(number)).unwrap();
        (0..Q).for_each(|partition| *node.kept.entry(partition).or_default() += 1);
    }

    /// A node that was killed runs again, with the disk that it had.
    pub fn revive(&mut self, number: u128) {
        self.start(super::id(number));
    }
}
