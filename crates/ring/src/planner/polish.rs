//! The last touch. Where walks skip tokens, replicas do not follow these as they should, so a node may hold more or less than
//! its tokens say: tokens are given on, one by one or in exchange, until all nodes are within their bounds. Then walks
//! that skip are mended, as far as that may move replicas.

use super::{
    homes::{Cost, Gifts, Homes},
    shape::mix,
};

/// Nodes that are tried in a node's own zone, and in all others.
const PARTNERS: usize = 6;
/// Tokens of a node that are tried.
const TOKENS: usize = 48;
/// Tokens of each that are tried in exchange.
const EXCHANGED: usize = 16;
/// How often things may get worse on the way to where they are better.
const DETOURS: usize = 60;
/// For how many gifts a token stays where it was put on a detour.
const RESTS: usize = 12;
/// Walks that are looked at to be mended, at most.
const MENDED: usize = 400;

/// Brings nodes into their bounds.
pub fn balance(homes: &mut Homes) {
    descend(homes);
    if homes.cost.fair() {
        return;
    }
    // What is left can't be had by going downhill only. Tokens just moved rest, or the next step would take it back.
    let mut best: (Cost, Vec<u16>) = (homes.cost, homes.owners().to_vec());
    let mut resting: Vec<usize> = Vec::new();
    for _ in 0..DETOURS {
        let Some(worst) = worst(homes, &[]) else { break };
        let mut candidates = single(homes, worst);
        candidates.extend(exchanges(homes, worst));
        candidates.retain(|gifts| gifts.iter().all(|(token, _)| !resting.contains(token)));
        let Some((_, gifts)) = cheapest(homes, candidates) else { break };
        homes.give_all(&gifts);
        resting.extend(gifts.iter().map(|(token, _)| *token));
        resting.drain(..resting.len().saturating_sub(RESTS));
        if worth(homes.cost) < worth(best.0) {
            best = (homes.cost, homes.owners().to_vec());
        }
    }
    for token in 0..best.1.len() {
        if homes.owners()[token] != best.1[token] {
            homes.give(token, best.1[token]);
        }
    }
}

fn descend(homes: &mut Homes) {
    let mut hopeless = Vec::new();
    for _ in 0..8 * homes.shape.nodes() + 64 {
        let Some(worst) = worst(homes, &hopeless) else { return };
        let least = worth(homes.cost) - 1e-3;
        let better = |best: &(f64, Gifts)| best.0 < least;
        let one = cheapest(homes, single(homes, worst)).filter(better);
        match one.or_else(|| cheapest(homes, exchanges(homes, worst)).filter(better)) {
            Some((_, gifts)) => homes.give_all(&gifts),
            None => hopeless.push(worst),
        }
    }
}

/// The node that is furthest out of its bounds.
fn worst(homes: &Homes, except: &[usize]) -> Option<usize> {
    let out = (0..homes.shape.nodes()).filter(|node| homes.excess(*node) > 1e-6 && !except.contains(node));
    out.max_by(|one, other| homes.excess(*one).total_cmp(&homes.excess(*other)).then(other.cmp(one)))
}

fn worth(cost: Cost) -> f64 {
    cost.excess * 1e4 + cost.gained as f64 + cost.skips as f64 * 0.5
}

fn cheapest(homes: &mut Homes, candidates: Vec<Gifts>) -> Option<(f64, Gifts)> {
    let mut best: Option<(f64, Gifts)> = None;
    for gifts in candidates {
        let worth = worth(homes.cost_of(&gifts));
        if best.as_ref().is_none_or(|best| worth < best.0) {
            best = Some((worth, gifts));
        }
    }
    best
}

/// Nodes by what they hold over their fair share, the least first.
fn by_share(homes: &Homes, mut nodes: Vec<u16>) -> Vec<u16> {
    let off = |node: u16| homes.off(usize::from(node));
    nodes.sort_by(|one, other| off(*one).total_cmp(&off(*other)).then(one.cmp(other)));
    nodes
}

/// Whom a node may trade with: who is furthest on the other side, in its zone and in others.
fn partners(homes: &Homes, node: usize) -> Vec<u16> {
    let mut others =
        by_share(homes, (0..homes.shape.nodes() as u16).filter(|other| usize::from(*other) != node).collect());
    if homes.off(node) < 0.0 {
        others.reverse();
    }
    let zone = |other: &u16| homes.shape.zone[usize::from(*other)] == homes.shape.zone[node];
    let (inside, outside): (Vec<u16>, Vec<u16>) = others.into_iter().partition(zone);
    inside.into_iter().take(PARTNERS).chain(outside.into_iter().take(PARTNERS)).collect()
}

/// Some of a node's tokens.
fn tokens(homes: &Homes, node: u16) -> Vec<usize> {
    let mut tokens: Vec<usize> = (0..homes.shape.tokens).filter(|token| homes.owners()[*token] == node).collect();
    tokens.sort_by_key(|token| mix(*token as u64 ^ homes.shape.seed[usize::from(node)]));
    tokens.truncate(TOKENS);
    tokens
}

/// One token from or to a node.
fn single(homes: &Homes, node: usize) -> Vec<Gifts> {
    let over = homes.off(node) > 0.0;
    let mut gifts = Vec::new();
    for partner in partners(homes, node) {
        let (from, to) = if over { (node as u16, partner) } else { (partner, node as u16) };
        if homes.owned(from) > 1 {
            gifts.extend(tokens(homes, from).into_iter().map(|token| vec![(token, to)]));
        }
    }
    gifts
}

/// A token each from a node to another and back.
fn exchanges(homes: &Homes, node: usize) -> Vec<Gifts> {
    let mine = tokens(homes, node as u16);
    let mut gifts = Vec::new();
    for partner in partners(homes, node) {
        let theirs = tokens(homes, partner);
        for one in mine.iter().take(EXCHANGED) {
            gifts.extend(theirs.iter().take(EXCHANGED).map(|other| vec![(*other, node as u16), (*one, partner)]));
        }
    }
    gifts
}

/// Makes fewer walks skip, with up to `budget` replicas moved in all, and no node further out of its bounds.
pub fn mend(homes: &mut Homes, budget: usize) {
    let (mut looked, mut partition) = (0, 0);
    while partition < homes.shape.tokens && looked < MENDED {
        if !homes.skips(partition) {
            partition += 1;
            continue;
        }
        looked += 1;
        let before = homes.cost;
        let mut best: Option<(Cost, Gifts)> = None;
        for gifts in mends(homes, partition) {
            let cost = homes.cost_of(&gifts);
            let may = cost.gained <= budget.max(before.gained) && (cost.fair() || cost.excess <= before.excess);
            let rank = |cost: &Cost| (cost.skips, cost.gained);
            if may && cost.skips < before.skips && best.as_ref().is_none_or(|(best, _)| rank(&cost) < rank(best)) {
                best = Some((cost, gifts));
            }
        }
        match best {
            Some((_, gifts)) => homes.give_all(&gifts),
            None => partition += 1,
        }
    }
}

/// What may keep a walk from skipping: a token near its start for somebody who has too little, or in exchange for another.
fn mends(homes: &Homes, partition: usize) -> Vec<Gifts> {
    let (tokens, reach) = (homes.shape.tokens, homes.shape.homes);
    let owner = |token: usize| homes.owners()[token];
    let poorest = homes.shape.zones.iter().map(|nodes| by_share(homes, nodes.clone())[0]).collect();
    let mut poorest = by_share(homes, poorest);
    poorest.truncate(PARTNERS + 2);
    let mut gifts = Vec::new();
    for token in (0..=reach).map(|step| (partition + step) % tokens) {
        if homes.owned(owner(token)) > 1 {
            let others = poorest.iter().filter(|to| **to != owner(token));
            gifts.extend(others.map(|to| vec![(token, *to)]));
        }
        let near = (1..=2 * reach).map(|step| (token + step) % tokens);
        let far = (0..4 * PARTNERS).map(|turn| mix((token * 32 + turn) as u64) as usize % tokens);
        let others = near.chain(far).filter(|other| owner(*other) != owner(token));
        gifts.extend(others.map(|other| vec![(token, owner(other)), (other, owner(token))]));
    }
    gifts
}
