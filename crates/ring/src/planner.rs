//! Which node holds which token (§6.2, strategy 3): zones spread, weights followed, deterministic.
//!
//! The first assignment only. Tokens are dealt clockwise. A zone's tokens follow its weight, but no zone gets more than
//! every min(N, zones)-th one, for neighbours in different zones are what lets a walk take each token as it comes. Inside a
//! zone each node is dealt its share in turn; ties are broken by hash, so that nodes do not always follow each other and
//! the load of one that dies goes to many.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

use crate::{position::PartitionCount, ring::Member};

/// Deals the tokens: for each partition the index of its owner in `members`.
pub fn assign(members: &[Member], partitions: PartitionCount, n: u8) -> Vec<u16> {
    let zones = zones(members);
    let quotas = quotas(members, &zones, partitions.get(), n);
    let order = zone_order(&quotas, partitions.get() as usize, usize::from(n));
    let mut dealers: Vec<_> =
        zones.values().zip(&quotas).map(|(nodes, quota)| Dealer::new(members, nodes, *quota)).collect();
    order.iter().enumerate().map(|(token, zone)| dealers[*zone].deal(members, token)).collect()
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
    ensure_one_each(zones, &mut quotas);
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
            (std::cmp::Reverse(total * weights[zone] % sum), zone)
        })
        .collect();
    fractions.sort_unstable();
    let given: u64 = open.iter().map(|zone| quotas[*zone]).sum();
    for (_, zone) in fractions.into_iter().take((total - given) as usize) {
        quotas[zone] += 1;
    }
}

/// A zone has at least as many tokens as nodes; what it lacks comes from the zone that has most to spare.
fn ensure_one_each(zones: &BTreeMap<&str, Vec<u16>>, quotas: &mut [u64]) {
    let nodes: Vec<u64> = zones.values().map(|nodes| nodes.len() as u64).collect();
    for zone in 0..quotas.len() {
        while quotas[zone] < nodes[zone] {
            let spare = (0..quotas.len()).max_by_key(|other| (quotas[*other].saturating_sub(nodes[*other]), *other));
            let donor = spare.expect("there is a zone");
            assert!(quotas[donor] > nodes[donor], "as many tokens as nodes were checked before");
            quotas[donor] -= 1;
            quotas[zone] += 1;
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
            (due - placed, std::cmp::Reverse(*zone))
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

/// Deals one zone's tokens to its nodes by weight.
struct Dealer {
    nodes: Vec<u16>,
    weight: u64,
    dealt: Vec<u64>,
    total: u64,
    quota: u64,
}

impl Dealer {
    fn new(members: &[Member], nodes: &[u16], quota: u64) -> Self {
        let weight = nodes.iter().map(|node| u64::from(members[usize::from(*node)].weight)).sum();
        Self { nodes: nodes.to_vec(), weight, dealt: vec![0; nodes.len()], total: 0, quota }
    }

    fn deal(&mut self, members: &[Member], token: usize) -> u16 {
        self.total += 1;
        // Everyone has a token: the last ones go to those that have none yet, whatever their weight.
        let left = self.quota + 1 - self.total;
        let without = self.dealt.iter().filter(|dealt| **dealt == 0).count() as u64;
        let chosen = (0..self.nodes.len())
            .filter(|at| without < left || self.dealt[*at] == 0 || without == 0)
            .max_by_key(|&at| {
                let member = &members[usize::from(self.nodes[at])];
                let due = i128::from(member.weight) * i128::from(self.total);
                let behind = due - i128::from(self.dealt[at]) * i128::from(self.weight);
                (behind, tie(token, member))
            })
            .expect("a zone has a node");
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
