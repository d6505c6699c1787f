//! Which node holds which token (§6.2, strategy 3): zones spread, weights followed, deterministic.
//!
//! The first assignment only. Tokens are dealt clockwise. A zone's tokens follow its weight, but no zone gets more than
//! every min(N, zones)-th one, for neighbours in different zones are what lets a walk take each token as it comes. Inside a
//! zone each node is dealt its share in turn, never twice within N tokens if that can be; ties are broken by hash, so that
//! nodes do not always follow each other and the load of one that dies goes to many.

use std::{cmp::Reverse, collections::BTreeMap};

use md5::{Digest, Md5};

use crate::{position::PartitionCount, ring::Member};

/// Deals the tokens of a cluster's first ring: for each partition the index of its owner in `members`.
///
/// The same members in the same order give the same tokens, on every node. [`Ring::bootstrap`] sorts and checks the members
/// first, and is what everybody but a test of placement wants.
///
/// # Panics
/// With no members, more of them than partitions, an `n` of 0 or a weight of 0: what `bootstrap` refuses.
///
/// [`Ring::bootstrap`]: crate::Ring::bootstrap
pub fn assign(members: &[Member], partitions: PartitionCount, n: u8) -> Vec<u16> {
    let zones = zones(members);
    let quotas = quotas(members, &zones, partitions.get(), n);
    let tokens = partitions.get() as usize;
    let zoned = zones.values().zip(&quotas);
    let mut dealers: Vec<_> = zoned.map(|(nodes, quota)| Dealer::new(members, nodes, *quota, tokens, n)).collect();
    let mut owners = Vec::with_capacity(tokens);
    for zone in zone_order(&quotas, tokens, usize::from(n)) {
        let owner = dealers[zone].deal(members, &owners, tokens);
        owners.push(owner);
    }
    owners
}

/// Members' indices by zone.
fn zones(members: &[Member]) -> BTreeMap<&str, Vec<u16>> {
    let mut zones: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        zones.entry(&member.zone).or_default().push(index as u16);
    }
    zones
}

/// Tokens of each zone: by weight, capped at its share of places in a walk, at least one a node.
fn quotas(members: &[Member], zones: &BTreeMap<&str, Vec<u16>>, partitions: u32, n: u8) -> Vec<u64> {
    let spread = zones.len().min(usize::from(n)) as u64;
    let cap = u64::from(partitions).div_ceil(spread);
    let weights: Vec<u64> = zones
        .values()
        .map(|nodes| nodes.iter().map(|node| u64::from(members[usize::from(*node)].weight)).sum())
        .collect();
    let mut quotas = vec![0; weights.len()];
    let mut open: Vec<usize> = (0..weights.len()).collect();
    let mut left = u64::from(partitions);
    // Zones over the cap are fixed at it, and the rest is shared anew, until none is over.
    loop {
        let total: u64 = open.iter().map(|zone| weights[*zone]).sum();
        let over: Vec<usize> = open.iter().copied().filter(|zone| left * weights[*zone] > cap * total).collect();
        if over.is_empty() {
            break;
        }
        for zone in over {
            quotas[zone] = cap.min(left);
            left -= quotas[zone];
            open.retain(|other| *other != zone);
        }
    }
    share(&weights, &open, left, &mut quotas);
    let nodes: Vec<u64> = zones.values().map(|nodes| nodes.len() as u64).collect();
    one_each(&nodes, &mut quotas);
    quotas
}

/// Shares `total` by weight, remainders to the largest fractions.
fn share(weights: &[u64], open: &[usize], total: u64, quotas: &mut [u64]) {
    let sum: u64 = open.iter().map(|zone| weights[*zone]).sum();
    if sum == 0 {
        return;
    }
    let mut fractions: Vec<_> = open
        .iter()
        .map(|&zone| {
            quotas[zone] = total * weights[zone] / sum;
            (Reverse(total * weights[zone] % sum), zone)
        })
        .collect();
    fractions.sort_unstable();
    let given: u64 = open.iter().map(|zone| quotas[*zone]).sum();
    for (_, zone) in fractions.into_iter().take((total - given) as usize) {
        quotas[zone] += 1;
    }
}

/// Each gets at least its `least`; what it lacks comes from the one that has most to spare.
fn one_each(least: &[u64], shares: &mut [u64]) {
    for poor in 0..shares.len() {
        while shares[poor] < least[poor] {
            let spare = |other: &usize| (shares[*other].saturating_sub(least[*other]), *other);
            let donor = (0..shares.len()).max_by_key(spare).expect("there is at least one");
            assert!(shares[donor] > least[donor], "as many tokens as nodes were checked before");
            shares[donor] -= 1;
            shares[poor] += 1;
        }
    }
}

/// The zone of each token, clockwise: the one most behind its quota among those not in the last places of a walk.
fn zone_order(quotas: &[u64], tokens: usize, n: usize) -> Vec<usize> {
    let apart = quotas.len().min(n) - 1;
    let mut left = quotas.to_vec();
    let mut order: Vec<usize> = Vec::with_capacity(tokens);
    for token in 0..tokens {
        let recent = &order[token.saturating_sub(apart)..];
        // Near the end the first tokens are neighbours too.
        let ahead = (token + 1 + apart).saturating_sub(tokens);
        let wrapped = &order[..ahead.min(order.len())];
        let behind = |zone: &usize| {
            // Fixed point: how far the zone is behind where it would be if dealt evenly.
            let due = quotas[*zone] as i128 * (token as i128 + 1);
            let placed = (quotas[*zone] - left[*zone]) as i128 * tokens as i128;
            (due - placed, Reverse(*zone))
        };
        let open = || (0..quotas.len()).filter(|zone| left[*zone] > 0);
        // A zone that can no longer be spaced out if it waits goes first.
        let urgent = |zone: &usize| left[*zone] as usize > (tokens - token).saturating_sub(1) / (apart + 1);
        let fits = |zone: &usize| !recent.contains(zone) && !wrapped.contains(zone);
        let chosen = open()
            .filter(|zone| fits(zone) && urgent(zone))
            .max_by_key(behind)
            .or_else(|| open().filter(fits).max_by_key(behind))
            .or_else(|| open().filter(|zone| !recent.contains(zone)).max_by_key(behind))
            .or_else(|| open().max_by_key(behind))
            .expect("the quotas add up to the tokens");
        left[chosen] -= 1;
        order.push(chosen);
    }
    order
}

/// Deals one zone's tokens to its nodes by weight, at least one to each.
struct Dealer {
    nodes: Vec<u16>,
    /// Tokens of each node in all.
    shares: Vec<u64>,
    /// Tokens that have to lie between two of the node's, so that no walk to N homes meets it twice; fewer where the node
    /// is too heavy for that.
    apart: Vec<usize>,
    dealt: Vec<u64>,
    total: u64,
    weight: u64,
    n: u8,
}

impl Dealer {
    fn new(members: &[Member], nodes: &[u16], quota: u64, tokens: usize, n: u8) -> Self {
        let weights: Vec<u64> = nodes.iter().map(|node| u64::from(members[usize::from(*node)].weight)).collect();
        let all: Vec<usize> = (0..nodes.len()).collect();
        let mut shares = vec![0; nodes.len()];
        share(&weights, &all, quota, &mut shares);
        one_each(&vec![1; nodes.len()], &mut shares);
        let weight: u64 = weights.iter().sum();
        let every = |own: u64| {
            let (tokens, placed) = (tokens as u64 * weight, quota * own);
            ((2 * tokens + placed) / (2 * placed)) as usize
        };
        let apart = weights.iter().map(|own| every(*own).clamp(1, usize::from(n)) - 1).collect();
        Self { nodes: nodes.to_vec(), shares, apart, dealt: vec![0; nodes.len()], total: 0, weight, n }
    }

    /// Which node gets the token after those of `owners`, of `tokens` in all: the one most behind its share among those
    /// that are not too near.
    fn deal(&mut self, members: &[Member], owners: &[u16], tokens: usize) -> u16 {
        self.total += 1;
        let token = owners.len();
        let near_seam = token < 2 * usize::from(self.n);
        let behind = |at: &usize| {
            let member = &members[usize::from(self.nodes[*at])];
            let due = i128::from(member.weight) * i128::from(self.total);
            let behind = due - i128::from(self.dealt[*at]) * i128::from(self.weight);
            // Where the ring closes, walks that skip tokens come to rest on the first: they are for nodes with less.
            (behind, near_seam.then_some(Reverse(self.shares[*at])), tie(token, member))
        };
        let passed = |at: &usize| !owners[token.saturating_sub(self.apart[*at])..].contains(&self.nodes[*at]);
        // Near the end the first tokens are neighbours too.
        let ahead = |at: &usize| (token + 1 + self.apart[*at]).saturating_sub(tokens).min(token);
        let returns = |at: &usize| !owners[..ahead(at)].contains(&self.nodes[*at]);
        let open = || (0..self.nodes.len()).filter(|at| self.dealt[*at] < self.shares[*at]);
        let chosen = open()
            .filter(|at| passed(at) && returns(at))
            .max_by_key(behind)
            .or_else(|| open().filter(passed).max_by_key(behind))
            .or_else(|| open().max_by_key(behind))
            .expect("the shares add up to the zone's tokens");
        self.dealt[chosen] += 1;
        self.nodes[chosen]
    }
}

fn tie(token: usize, member: &Member) -> u64 {
    let mut hash = Md5::new();
    hash.update((token as u64).to_be_bytes());
    hash.update(member.id.0.to_be_bytes());
    let digest: [u8; 16] = hash.finalize().into();
    u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"))
}
