//! One partition's walk at a time (§4.3), over a ring that is being changed.
//!
//! A ring as a value has all its walks worked out together ([`crate::walk`]); a planner changes an owner, looks what that
//! does to the few walks that see the token, and often takes it back. The rule is the same, and the tests compare the two.
//!
//! A walk goes in rounds: each takes at most one node of each zone, and the next begins when no unused zone has a node
//! left. So a zone's nodes are taken in the order in which they are met, one a round, and how many of each zone a walk of
//! a given length takes is known beforehand, but for its last round. One pass over the tokens is enough.

use crate::position::Partition;

/// Walks of one length over rings of the same nodes.
pub struct Walker<'a> {
    /// By node: its zone.
    zones: &'a [u16],
    length: usize,
    /// Rounds that are walked to their end.
    rounds: usize,
    /// Nodes taken in these.
    in_rounds: usize,
    /// By zone: nodes taken on this walk. All 0 between walks.
    taken: Vec<usize>,
    /// The walk: node, round.
    met: Vec<(usize, u16)>,
}

impl<'a> Walker<'a> {
    /// Walks to `length` nodes, or all; `zones` is each node's zone, `owns` whether it has a token.
    pub fn new(zones: &'a [u16], owns: impl Fn(usize) -> bool, length: usize) -> Self {
        let mut nodes = vec![0; zones.iter().max().map_or(0, |last| usize::from(*last) + 1)];
        let owning = zones.iter().enumerate().filter(|(node, _)| owns(*node));
        owning.for_each(|(_, zone)| nodes[usize::from(*zone)] += 1);
        let length = length.min(nodes.iter().sum());
        let in_rounds = |rounds: usize| nodes.iter().map(|all: &usize| (*all).min(rounds)).sum::<usize>();
        let most = nodes.iter().copied().max().unwrap_or(0);
        let rounds = (0..=most).rev().find(|rounds| in_rounds(*rounds) <= length).unwrap_or(0);
        let (in_rounds, taken) = (in_rounds(rounds), vec![0; nodes.len()]);
        Self { zones, length, rounds, in_rounds, taken, met: Vec::with_capacity(length) }
    }

    /// Appends the walk from `start` to `out`: indices of nodes, in order of preference. Says how many tokens it looked at.
    pub fn walk(&mut self, owners: &[u16], start: Partition, out: &mut Vec<u16>) -> usize {
        self.met.clear();
        let (mut due, mut extra) = (self.in_rounds, self.length - self.in_rounds);
        let (behind, ahead) = owners.split_at(usize::from(start.0));
        let mut tokens = ahead.iter().chain(behind);
        let mut looked = 0;
        while due + extra > 0 {
            let Some(&owner) = tokens.next() else { break };
            looked += 1;
            let taken = &mut self.taken[usize::from(self.zones[usize::from(owner)])];
            let left = if *taken < self.rounds {
                &mut due
            } else if *taken == self.rounds {
                &mut extra
            } else {
                continue;
            };
            if *left > 0 && !self.met.iter().any(|(_, node)| *node == owner) {
                *left -= 1;
                self.met.push((*taken, owner));
                *taken += 1;
            }
        }
        for (_, node) in &self.met {
            self.taken[usize::from(self.zones[usize::from(*node)])] = 0;
        }
        self.met.sort_by_key(|(round, _)| *round);
        out.extend(self.met.iter().map(|(_, node)| *node));
        looked
    }
}
