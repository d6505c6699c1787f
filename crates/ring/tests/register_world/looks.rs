//! Nodes that look at the register without writing anything.

use dynamo_ring::register::{Answer, Ballot, Glimpse, Reading, Reply};

use super::{Broken, Packet, World};

/// A look that a node is at.
#[derive(Debug)]
pub struct Look {
    reading: Reading,
    /// The version that somebody knew to be chosen when it began.
    least: u64,
}

impl World {
    /// A node begins to look, or asks again, or begins anew.
    pub(super) fn look(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        let (begins, forgets) = (self.nodes[node].look.is_none(), self.chance.percent(30));
        if begins {
            self.payloads += 1;
            // Another name for each; no proposer has such a ballot.
            let name = Ballot { counter: u64::MAX - self.payloads, proposer: self.nodes[node].voter };
            let least = self.judge.newest().version();
            self.nodes[node].look = Some(Look { reading: Reading::new(name), least });
        }
        let known = self.nodes[node].known.clone();
        let Some(look) = &mut self.nodes[node].look else { return };
        if forgets {
            look.reading.begin_again();
        }
        let again = look.reading.ask_again(&known);
        self.network.extend(again.into_iter().map(|request| Packet::Request { from: node, request }));
        self.go_on_looking(node);
    }

    /// A node looks, and all goes well.
    pub fn look_once(&mut self, node: usize) {
        self.look(node);
        self.drain();
    }

    /// How many of the disks hold anything.
    pub fn disks_written(&self) -> usize {
        self.nodes.iter().filter(|node| node.disk.is_some() || !node.writes.is_empty()).count()
    }

    /// A voter's answer, if it is one to a look.
    pub(super) fn seen(&mut self, to: usize, reply: &Reply) {
        let Some(look) = &mut self.nodes[to].look else { return };
        if !look.reading.on_reply(reply.clone()) {
            return;
        }
        if let (Broken::LooksAtOneVoter, Answer::Seen { accepted: Some(accepted) }) = (self.broken, &reply.answer) {
            let value = accepted.value.clone();
            return self.learn(to, value, 0);
        }
        self.go_on_looking(to);
    }

    fn go_on_looking(&mut self, node: usize) {
        let known = self.nodes[node].known.clone();
        let Some(look) = &mut self.nodes[node].look else { return };
        match look.reading.look(&known) {
            Glimpse::Newest => {
                let least = look.least;
                self.nodes[node].look = None;
                self.looked += 1;
                self.judge.tell(&known, least);
            }
            Glimpse::Chosen(value) => {
                self.learn(node, value, 0);
                self.go_on_looking(node);
            }
            Glimpse::HalfDone | Glimpse::Waiting { .. } => {
                let asked = look.reading.ask(&known);
                self.network.extend(asked.into_iter().map(|request| Packet::Request { from: node, request }));
            }
        }
    }
}
