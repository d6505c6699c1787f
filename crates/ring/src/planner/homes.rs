//! What a ring costs while it is worked at: how fair it is, how much is moved, which walks skip.

use super::{
    lists::{Lists, Replaced},
    shape::{Shape, VACANT},
};

/// Tokens and whom they go to.
pub type Gifts = Vec<(usize, u16)>;

/// What is to be as little as it can be.
#[derive(Clone, Copy, PartialEq)]
pub struct Cost {
    /// Replicas by which nodes are more than the tolerance off their fair shares, in all.
    pub excess: f64,
    /// Replicas that nodes hold which they did not hold before.
    pub gained: usize,
    /// Walks that skip a token.
    pub skips: usize,
}

impl Cost {
    /// Whether every node is within the tolerance, but for rounding in the sums.
    pub fn fair(&self) -> bool {
        self.excess < 1e-6
    }
}

/// What a ring is compared with.
#[derive(Clone, Copy)]
pub struct Measure<'a> {
    /// By partition: its former homes, as many for each; a node that is no more is [`VACANT`].
    pub before: &'a [u16],
    /// By node: its fair share, in replicas.
    pub fair: &'a [f64],
    /// How many replicas a node may be off it.
    pub tolerance: f64,
}

/// A ring that all its nodes are on.
pub struct Homes<'a> {
    /// Nodes and zones.
    pub shape: &'a Shape,
    lists: Lists<'a>,
    measure: Measure<'a>,
    /// By node: the replicas that it holds.
    held: Vec<i64>,
    /// What it comes to.
    pub cost: Cost,
}

impl<'a> Homes<'a> {
    /// Of owners.
    pub fn new(shape: &'a Shape, owners: Vec<u16>, measure: Measure<'a>) -> Self {
        let lists = Lists::new(&shape.zone, shape.homes, owners, true);
        let mut homes = Self {
            shape,
            lists,
            measure,
            held: vec![0; shape.nodes()],
            cost: Cost { excess: 0.0, gained: 0, skips: 0 },
        };
        for partition in 0..shape.tokens {
            let list = homes.lists.of(partition).to_vec();
            homes.cost.gained += homes.gained(partition, &list);
            homes.cost.skips += usize::from(homes.lists.skips(partition));
            list.into_iter().filter(|node| *node != VACANT).for_each(|node| homes.held[usize::from(node)] += 1);
        }
        homes.cost.excess = (0..shape.nodes()).map(|node| homes.excess(node)).sum();
        homes
    }

    /// By token.
    pub fn owners(&self) -> &[u16] {
        &self.lists.owners
    }

    /// How many tokens a node owns.
    pub fn owned(&self, node: u16) -> u32 {
        self.lists.owned[usize::from(node)]
    }

    /// By how many replicas a node is over its fair share.
    pub fn off(&self, node: usize) -> f64 {
        self.held[node] as f64 - self.measure.fair[node]
    }

    /// By how many replicas a node is out of its bounds.
    pub fn excess(&self, node: usize) -> f64 {
        (self.off(node).abs() - self.measure.tolerance).max(0.0)
    }

    /// Whether a partition's walk skips a token.
    pub fn skips(&self, partition: usize) -> bool {
        self.lists.skips(partition)
    }

    fn gained(&self, partition: usize, homes: &[u16]) -> usize {
        // On a first ring nothing was there before, and nothing moves.
        let each = self.measure.before.len() / self.shape.tokens;
        if each == 0 {
            return 0;
        }
        let before = &self.measure.before[partition * each..][..each];
        homes.iter().filter(|node| **node != VACANT && !before.contains(node)).count()
    }

    /// Gives a token away.
    pub fn give(&mut self, token: usize, to: u16) -> Replaced {
        let replaced = self.lists.give(token, to);
        for (partition, homes, skipped) in replaced.walks(self.shape.homes) {
            self.hold(homes, -1);
            self.cost.gained -= self.gained(partition, homes);
            self.cost.skips -= usize::from(skipped);
            let homes = self.lists.of(partition).to_vec();
            self.hold(&homes, 1);
            self.cost.gained += self.gained(partition, &homes);
            self.cost.skips += usize::from(self.lists.skips(partition));
        }
        replaced
    }

    fn hold(&mut self, homes: &[u16], by: i64) {
        for node in homes.iter().filter(|node| **node != VACANT).map(|node| usize::from(*node)) {
            self.cost.excess -= self.excess(node);
            self.held[node] += by;
            self.cost.excess += self.excess(node);
        }
    }

    /// Gives tokens away.
    pub fn give_all(&mut self, gifts: &[(usize, u16)]) {
        for (token, to) in gifts {
            self.give(*token, *to);
        }
    }

    /// What it would come to if tokens were given away.
    pub fn cost_of(&mut self, gifts: &[(usize, u16)]) -> Cost {
        let before = self.cost;
        let replaced: Vec<Replaced> = gifts.iter().map(|(token, to)| self.give(*token, *to)).collect();
        let cost = self.cost;
        for replaced in replaced.iter().rev() {
            for (partition, homes, _) in replaced.walks(self.shape.homes) {
                let now = self.lists.of(partition).to_vec();
                self.hold(&now, -1);
                self.hold(homes, 1);
            }
            self.lists.undo(replaced);
        }
        // As it was to the last digit, that it does not drift.
        self.cost = before;
        cost
    }
}
