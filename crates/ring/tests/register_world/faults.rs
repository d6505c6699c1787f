//! What goes wrong with nodes, and how it ends.

use dynamo_ring::register::{Acceptor, Outcome, State, Value, Voter};

use super::{Broken, World, index};

impl World {
    /// A node crashes, comes back, or loses its disk.
    pub(super) fn mishap(&mut self) {
        let some = if self.chance.percent(50) { self.proposers } else { self.nodes.len() };
        let node = self.chance.below(some);
        if self.chance.percent(15) {
            self.blackout();
        } else if self.chance.percent(self.wipes) && self.may_lose(node) {
            self.wipe(node);
        } else if !self.nodes[node].up {
            self.restart(node);
        } else if self.chance.percent(60) {
            let was_at_work = self.nodes[node].job.is_some();
            self.crash(node);
            if self.chance.percent(75) {
                self.restart(node);
                if was_at_work {
                    self.begin(node);
                }
            }
        }
    }

    /// Several nodes crash at once and come back.
    fn blackout(&mut self) {
        for node in 0..self.nodes.len() {
            if self.chance.percent(60) {
                self.crash(node);
                self.restart(node);
            }
        }
    }

    /// What is not on the disk is gone. Some of what is may be there though nobody was told.
    pub fn crash(&mut self, node: usize) {
        let done = self.chance.below(self.nodes[node].writes.len() + 1);
        self.put_on_disk(node, done);
        let known = self.something_older(&self.nodes[node].known.clone());
        let node = &mut self.nodes[node];
        node.writes.clear();
        (node.up, node.job, node.look, node.known) = (false, None, None, known);
        node.counter = node.counter.saturating_sub(1);
    }

    pub fn restart(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let state = node.disk.as_ref().map(|bytes| State::decode(bytes).expect("its own state"));
        node.acceptor = Acceptor::new(node.voter, state);
        node.up = true;
    }

    fn wipe(&mut self, node: usize) {
        self.crash(node);
        let state = &mut self.nodes[node];
        self.dead.insert(state.voter);
        state.disk = None;
        if self.broken != Broken::WipedVotesAgain {
            state.voter.incarnation += 1;
        }
        state.counter = 0;
        self.restart(node);
    }

    /// A value that was told before this one, or this one.
    fn something_older(&mut self, value: &Value) -> Value {
        let older: Vec<Value> = self.judge.told.range(..value.version()).map(|(_, value)| value.clone()).collect();
        if self.chance.percent(50) { self.chance.pick(&older).unwrap_or(value.clone()) } else { value.clone() }
    }

    /// Whether all that is alive of the register keeps its majorities without a node's disk. A register that lost them
    /// is lost, and that is not what is tested here.
    fn may_lose(&self, node: usize) -> bool {
        let voter = self.nodes[node].voter;
        let alive = |voter: &Voter| !self.dead.contains(voter) && self.nodes[index(*voter)].voter == *voter;
        self.keeps_majorities(voter, alive)
    }

    /// Whether no majority is lost when a voter is, beside those that are not `there` anyway.
    fn keeps_majorities(&self, voter: Voter, there: impl Fn(&Voter) -> bool) -> bool {
        let safe = |group: &[Voter]| {
            let count = group.iter().filter(|voter| there(voter)).count();
            !group.contains(&voter) || count * 2 <= group.len() || (count - 1) * 2 > group.len()
        };
        self.living_values().iter().all(|value| safe(value.voters()) && safe(value.previous_voters()))
    }

    /// The newest value told, what was sent to be accepted after it, and what may be sent yet.
    fn living_values(&self) -> Vec<Value> {
        let newest = self.judge.newest();
        let sent = self.sent.iter().filter(|value| value.is_newer(&newest)).cloned();
        let planned = self.nodes.iter().filter_map(|node| node.job.as_ref()).filter_map(|job| job.value());
        sent.chain(planned).chain([newest.clone()]).collect()
    }

    /// No more faults: nodes come back, old attempts are over, every node knows the newest value. What is on its way
    /// arrives at some time.
    pub fn calm_down(&mut self) {
        (self.loss, self.mishaps) = (0, 0);
        let newest = self.judge.newest();
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up {
                self.restart(node);
            }
            let node = &mut self.nodes[node];
            (node.job, node.look, node.apart, node.known) = (None, None, false, newest.clone());
        }
    }

    /// Nodes crash for good, as many as leave majorities, and not the first.
    pub fn leave_majorities(&mut self) {
        for node in 1..self.nodes.len() {
            let there = |voter: &Voter| {
                let node = &self.nodes[index(*voter)];
                node.up && node.voter == *voter && !self.dead.contains(voter)
            };
            if self.keeps_majorities(self.nodes[node].voter, there) && self.chance.percent(80) {
                self.crash(node);
            }
        }
    }

    /// Half of the newest value's voters or more crash for good. Some node that is still up.
    pub fn leave_no_majority(&mut self) -> usize {
        let newest = self.judge.newest();
        let mut up: Vec<usize> = newest.voters().iter().map(|voter| index(*voter)).collect();
        up.retain(|node| self.nodes[*node].up && newest.voters().contains(&self.nodes[*node].voter));
        while up.len() * 2 > newest.voters().len() {
            let node = up.swap_remove(self.chance.below(up.len()));
            self.crash(node);
        }
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].up).collect();
        self.chance.pick(&up).expect("a cluster has nodes without a vote")
    }

    /// Lets messages and disks go on until nothing is under way.
    pub fn drain(&mut self) {
        loop {
            let busy: Vec<usize> = (0..self.nodes.len())
                .filter(|node| self.nodes[*node].up && !self.nodes[*node].writes.is_empty())
                .collect();
            match self.chance.pick(&busy) {
                Some(node) if self.network.is_empty() || self.chance.percent(50) => self.write(node),
                None if self.network.is_empty() => return,
                _ => self.deliver(),
            }
        }
    }

    /// Calm at last, nodes read the register, from all that they may know: what went wrong unseen is seen now.
    pub fn ask_around(&mut self) {
        self.calm_down();
        self.drain();
        let told: Vec<Value> = self.judge.told.values().rev().take(8).cloned().collect();
        for known in told {
            let node = self.chance.below(self.proposers);
            (self.nodes[node].known, self.nodes[node].job) = (known, None);
            self.begin_read(node);
            while self.nodes[node].job.is_some() {
                self.begin(node);
                self.drain();
                self.give_up(node);
            }
        }
    }

    /// One attempt after the other of a node to change the register, with nobody else at work: how each ended, until
    /// one does as the caller waits for, or so many have. An attempt is given up when nothing is under way any more.
    pub fn attempts(&mut self, node: usize, most: usize, until: impl Fn(&Outcome) -> bool) -> Vec<Outcome> {
        let before = self.endings.len();
        while self.endings.len() < before + most {
            if self.nodes[node].job.is_none() {
                let voters = self.nodes[node].known.voters().to_vec();
                self.begin_change(node, voters);
            }
            self.begin(node);
            self.drain();
            self.give_up(node);
            if self.endings[before..].last().is_some_and(&until) {
                break;
            }
        }
        self.endings[before..].to_vec()
    }
}
