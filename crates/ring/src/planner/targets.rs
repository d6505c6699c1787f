//! How many tokens each node is to gain or lose: what brings it to within a token of its fair share, whichever moves less.
//!
//! A node that is there stays as it is. So some have to gain and some to lose, and where these are not as many, others make
//! up for it, as far as they stay within a token of their shares. Which zones they are in is chosen so that few tokens
//! change their zone: such a token needs a place where its new zone is not near.

use super::{fair::Fair, shape::Shape};

/// Bears with the last digits of shares that come out even.
const EVEN: f64 = 1e-6;

/// What there is before.
pub struct Before<'a> {
    /// By node: replicas that it holds.
    pub held: &'a [i64],
    /// By node: tokens that it owns.
    pub owned: &'a [usize],
    /// By zone: tokens that its nodes have left behind.
    pub left: &'a [usize],
    /// Tokens to be given away: those left behind, of all zones, be they still there or not.
    pub vacant: usize,
}

/// By node: tokens to gain, or to lose if negative. They sum up to the vacant ones.
pub fn targets(shape: &Shape, fair: &Fair, before: &Before) -> Vec<i64> {
    let homes = shape.homes as f64;
    let quota = |node: usize| {
        let due = (fair.nodes[node] - before.held[node] as f64) / homes;
        let least = 1 - before.owned[node] as i64;
        let low = ((due - 1.0 + EVEN).floor() as i64 + 1).max(least);
        Quota { wish: 0, due, low, high: ((due + 1.0 - EVEN).ceil() as i64 - 1).max(low), least }
    };
    let quotas: Vec<Quota> = (0..shape.nodes()).map(quota).collect();
    let inside = |zone: usize| shape.zones[zone].iter().map(|node| &quotas[usize::from(*node)]);
    let mut targets = vec![0; shape.nodes()];
    for (zone, total) in by_zone(shape, fair, before, &quotas).into_iter().enumerate() {
        let mut nodes: Vec<Quota> = inside(zone).copied().collect();
        if shape.rounds > 0 {
            // A node whose tokens are to be apart has no more than that many of the zone's.
            let all = |node: &u16| before.owned[usize::from(*node)] as i64;
            let most = ((shape.zones[zone].iter().map(all).sum::<i64>() + total) / shape.apart(zone) as i64).max(1);
            for (quota, node) in nodes.iter_mut().zip(&shape.zones[zone]) {
                quota.high = quota.high.min(most - all(node)).max(quota.least);
                quota.low = quota.low.min(quota.high);
            }
        }
        for (node, tokens) in shape.zones[zone].iter().zip(fit(&nodes, total)) {
            targets[usize::from(*node)] = tokens;
        }
    }
    targets
}

/// By zone: tokens to gain.
fn by_zone(shape: &Shape, fair: &Fair, before: &Before, quotas: &[Quota]) -> Vec<i64> {
    let mut zones = Vec::with_capacity(shape.zones.len());
    for (zone, nodes) in shape.zones.iter().enumerate() {
        let mut sum = Quota { wish: before.left[zone] as i64, due: 0.0, low: 0, high: 0, least: 0 };
        let mut free = 0;
        for node in nodes.iter().map(|node| &quotas[usize::from(*node)]) {
            sum.due += node.due;
            sum.low += node.low;
            sum.high += node.high;
            sum.least += node.least;
            free += node.wish.clamp(node.low, node.high);
        }
        let owned: usize = nodes.iter().map(|node| before.owned[usize::from(*node)]).sum();
        zones.push((sum, free, owned as i64));
    }
    let vacant = before.vacant as i64;
    if shape.rounds > 0 {
        // Every list has nodes of every zone: what a zone is short of no other can make up for. Its tokens stay its own,
        // unless there are other zones than before.
        let stays = zones.iter().all(|(sum, ..)| (sum.low..=sum.high).contains(&sum.wish));
        for (zone, (sum, _, owned)) in zones.iter_mut().enumerate() {
            let share = fair.zones[zone] / shape.homes as f64;
            let rounded = |share: f64| (share as i64 - *owned).max(sum.least);
            (sum.low, sum.high) = match stays {
                true => (sum.wish, sum.wish),
                false => (rounded((share + EVEN).floor()), rounded((share - EVEN).ceil())),
            };
        }
    } else {
        // Up to here each zone can grow without any node gaining that does not have to; and its tokens are to be N apart.
        let enough = zones.iter().map(|(_, free, _)| free).sum::<i64>() >= vacant;
        for (sum, free, owned) in &mut zones {
            let cap = (shape.tokens / shape.homes) as i64 - *owned;
            sum.high = sum.high.min(cap).max(sum.low);
            match enough {
                true => sum.high = sum.high.min(*free).max(sum.low),
                false => sum.low = sum.low.max(*free).min(sum.high),
            }
        }
    }
    fit(&zones.into_iter().map(|(sum, ..)| sum).collect::<Vec<_>>(), vacant)
}

/// How many tokens somebody is to gain: as many as wished if that is from `low` to `high`, and never less than `least`.
#[derive(Clone, Copy)]
struct Quota {
    wish: i64,
    /// What would bring it to its fair share.
    due: f64,
    low: i64,
    high: i64,
    least: i64,
}

/// Tokens for each to gain, `total` in all.
fn fit(quotas: &[Quota], total: i64) -> Vec<i64> {
    let mut fitted: Vec<i64> = quotas.iter().map(|quota| quota.wish.clamp(quota.low, quota.high)).collect();
    loop {
        let sum: i64 = fitted.iter().sum();
        if sum == total {
            return fitted;
        }
        // One more, or less, for those who are due it most; past their bounds only if nobody is left within.
        let step = (total - sum).signum();
        let may = |at: &usize, strict: bool| match (step, strict) {
            (1, true) => fitted[*at] < quotas[*at].high,
            (1, false) => true,
            (_, true) => fitted[*at] > quotas[*at].low,
            (_, false) => fitted[*at] > quotas[*at].least,
        };
        let mut open: Vec<usize> = (0..fitted.len()).filter(|at| may(at, true)).collect();
        if open.is_empty() {
            open = (0..fitted.len()).filter(|at| may(at, false)).collect();
        }
        let ahead = |at: &usize| (fitted[*at] as f64 - quotas[*at].due) * step as f64;
        open.sort_by(|one, other| ahead(one).total_cmp(&ahead(other)).then(one.cmp(other)));
        for at in open.into_iter().take(sum.abs_diff(total) as usize) {
            fitted[at] += step;
        }
    }
}
