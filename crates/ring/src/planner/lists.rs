//! Every partition's homes, kept up to date while tokens change hands.

use super::{shape::VACANT, walker::Walker};
use crate::position::Partition;

/// Preference lists, as sets.
pub struct Lists<'a> {
    zones: &'a [u16],
    /// Homes of a partition at most.
    pub n: usize,
    /// By token.
    pub owners: Vec<u16>,
    /// By node: how many tokens it owns.
    pub owned: Vec<u32>,
    /// Whether nodes without a token are waited for, as if they were about to get one.
    all: bool,
    walker: Walker<'a>,
    /// By partition, `n` each: its homes, then [`VACANT`].
    homes: Vec<u16>,
    /// By partition: how many tokens its walk looks at.
    looked: Vec<u32>,
}

/// What a gift replaced: the walks that it changed, as they were.
pub struct Replaced {
    token: usize,
    owner: u16,
    walks: Vec<(usize, u32)>,
    homes: Vec<u16>,
}

impl Replaced {
    /// Partitions, each with its former homes and whether its walk skipped a token.
    pub fn walks(&self, n: usize) -> impl Iterator<Item = (usize, &[u16], bool)> {
        let homes = self.homes.chunks_exact(n);
        self.walks.iter().zip(homes).map(|((partition, looked), homes)| (*partition, homes, skips(homes, *looked)))
    }
}

/// A walk that looks at more tokens than it finds homes passed one by.
fn skips(homes: &[u16], looked: u32) -> bool {
    looked as usize > homes.iter().filter(|home| **home != VACANT).count()
}

impl<'a> Lists<'a> {
    /// Of owners, nodes that are numbered like `zones`. With `all` every one of them owns a token, or is about to.
    pub fn new(zones: &'a [u16], n: usize, owners: Vec<u16>, all: bool) -> Self {
        let mut owned = vec![0; zones.len()];
        owners.iter().for_each(|owner| owned[usize::from(*owner)] += 1);
        let walker = Walker::new(zones, |node| all || owned[node] > 0, n);
        let (homes, looked) = (vec![VACANT; owners.len() * n], vec![0; owners.len()]);
        let mut lists = Self { zones, n, owners, owned, all, walker, homes, looked };
        (0..lists.owners.len()).for_each(|partition| lists.walk(partition));
        lists
    }

    /// A partition's homes, in no order that matters, filled up with [`VACANT`].
    pub fn of(&self, partition: usize) -> &[u16] {
        &self.homes[partition * self.n..][..self.n]
    }

    /// Whether a partition's walk skips a token.
    pub fn skips(&self, partition: usize) -> bool {
        skips(self.of(partition), self.looked[partition])
    }

    fn walk(&mut self, partition: usize) {
        let mut found = Vec::with_capacity(self.n);
        self.looked[partition] = self.walker.walk(&self.owners, Partition(partition as u16), &mut found) as u32;
        found.resize(self.n, VACANT);
        self.homes[partition * self.n..][..self.n].copy_from_slice(&found);
    }

    /// Gives a token away, and says what that replaced.
    pub fn give(&mut self, token: usize, to: u16) -> Replaced {
        let tokens = self.owners.len();
        let owner = std::mem::replace(&mut self.owners[token], to);
        let mut replaced = Replaced { token, owner, walks: vec![], homes: vec![] };
        let others = self.count(owner, to) && !self.all;
        if others {
            // Other nodes are on the ring: that may change what every walk looks for.
            self.walker = Walker::new(self.zones, |node| self.owned[node] > 0, self.n);
        }
        for back in 0..tokens {
            let partition = (token + tokens - back) % tokens;
            // A walk ends no sooner than the one from the token before: the first that does not come so far is the last.
            if !others && self.looked[partition] as usize <= back {
                break;
            }
            replaced.walks.push((partition, self.looked[partition]));
            replaced.homes.extend_from_slice(&self.homes[partition * self.n..][..self.n]);
            self.walk(partition);
        }
        replaced
    }

    /// Takes back the last gift that was not taken back yet. Only where all nodes own tokens, or are about to.
    pub fn undo(&mut self, replaced: &Replaced) {
        self.count(self.owners[replaced.token], replaced.owner);
        self.owners[replaced.token] = replaced.owner;
        for ((partition, looked), homes) in replaced.walks.iter().zip(replaced.homes.chunks_exact(self.n)) {
            self.looked[*partition] = *looked;
            self.homes[partition * self.n..][..self.n].copy_from_slice(homes);
        }
    }

    /// Counts a token that changes hands; whether there are other owners now.
    fn count(&mut self, from: u16, to: u16) -> bool {
        self.owned[usize::from(from)] -= 1;
        self.owned[usize::from(to)] += 1;
        from != to && (self.owned[usize::from(from)] == 0 || self.owned[usize::from(to)] == 1)
    }
}
