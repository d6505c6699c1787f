//! Tokens in the course of being given away, and what a gift does to the walks around it.

use super::shape::{Shape, VACANT};
use crate::ring::REPLICAS_MAX;

/// Tokens that are in a walk together with one, at most.
const AROUND: usize = 2 * REPLICAS_MAX as usize;

/// Who owns what, and who is still due how much.
#[derive(Clone)]
pub struct Board<'a> {
    /// Nodes and zones.
    pub shape: &'a Shape,
    /// By token.
    pub owners: Vec<u16>,
    /// By node: tokens to gain; to lose if negative.
    pub need: Vec<i64>,
    /// By zone: the same of its nodes in all.
    pub net: Vec<i64>,
    /// How many more tokens may be given away that their owners have to get back from others.
    pub spare: usize,
}

impl<'a> Board<'a> {
    /// Of owners, and the tokens that each is to gain: in all as many as are vacant.
    pub fn new(shape: &'a Shape, owners: Vec<u16>, need: Vec<i64>, spare: usize) -> Self {
        let net = shape.zones.iter().map(|nodes| nodes.iter().map(|node| need[usize::from(*node)]).sum()).collect();
        Self { shape, owners, need, net, spare }
    }

    /// The zone of a token's owner.
    pub fn zone(&self, token: usize) -> Option<usize> {
        let owner = self.owners[token];
        (owner != VACANT).then(|| self.shape.zone_of(owner))
    }

    /// How many tokens a zone will have.
    pub fn tokens_of(&self, zone: usize) -> usize {
        let now = (0..self.owners.len()).filter(|token| self.zone(*token) == Some(zone)).count();
        (now as i64 + self.net[zone]).max(0) as usize
    }

    /// How many walks would skip a token, of those that look at this one, if it belonged to `owner`.
    pub fn skips(&self, token: usize, owner: u16) -> usize {
        self.skips_if(token, &[(token, owner)])
    }

    /// The same if `gifts` were given.
    pub fn skips_if(&self, token: usize, gifts: &[(usize, u16)]) -> usize {
        let (tokens, homes) = (self.owners.len(), self.shape.homes);
        let mut around = [VACANT; AROUND];
        let around = &mut around[..2 * homes - 1];
        let mut at = (token + tokens - (homes - 1)) % tokens;
        for owner in around.iter_mut() {
            *owner = gifts.iter().find(|(gift, _)| *gift == at).map_or(self.owners[at], |(_, to)| *to);
            at = if at + 1 == tokens { 0 } else { at + 1 };
        }
        around.windows(homes).filter(|window| self.shape.skips(window)).count()
    }

    /// Gives a token away.
    pub fn give(&mut self, token: usize, to: u16) {
        let from = std::mem::replace(&mut self.owners[token], to);
        for (node, by) in [(from, 1), (to, -1)] {
            if node != VACANT {
                self.need[usize::from(node)] += by;
                self.net[self.shape.zone_of(node)] += by;
            }
        }
    }
}
