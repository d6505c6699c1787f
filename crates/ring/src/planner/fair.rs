//! Fair shares, by water-filling.
//!
//! All nodes together hold Q·H replicas (H = N, or the number of nodes if that is less). By weight alone a zone might get
//! more than its walks can take, or a node less than the one token that every node owns, so shares are filled like
//! vessels of unlike floors and brims, joined below: one level, and each holds level × weight, but no less than its floor
//! and no more than its brim.
//!
//! 1. Zones first. Brim: [`Shape::places`] × Q, which is Q where there are N zones or more, Q·N/zones where there are fewer
//!    (then all zones stand at the brim, however their weights differ), and Q × its nodes if that is less. Floor: one token
//!    for each of its nodes, worth H replicas.
//! 2. Then nodes in their zone. Brim: the zone's share over [`Shape::apart`], so that no walk meets a node twice: the whole
//!    share where there are N zones or more; 1/N of it where there is but one. Floor: one token, H replicas, or an equal
//!    part of the zone's share where that is less.

use super::shape::Shape;

/// By node: its fair share, in replicas. By zone: the same.
pub struct Fair {
    /// By node.
    pub nodes: Vec<f64>,
    /// By zone.
    pub zones: Vec<f64>,
}

impl Fair {
    /// Of a ring of this shape.
    pub fn of(shape: &Shape) -> Self {
        let (tokens, homes) = (shape.tokens as f64, shape.homes as f64);
        let vessels = shape.zones.iter().enumerate().map(|(zone, nodes)| {
            let brim = shape.places(zone) * tokens;
            let weight = nodes.iter().map(|node| f64::from(shape.weight[usize::from(*node)])).sum();
            Vessel { weight, floor: (nodes.len() as f64 * homes).min(brim), brim }
        });
        let zones = fill(&vessels.collect::<Vec<_>>(), tokens * homes);
        let mut nodes = vec![0.0; shape.nodes()];
        for (zone, share) in zones.iter().enumerate() {
            let inside = &shape.zones[zone];
            let (floor, brim) = (homes.min(share / inside.len() as f64), share / shape.apart(zone) as f64);
            let vessel = |node: &u16| Vessel { weight: f64::from(shape.weight[usize::from(*node)]), floor, brim };
            let shares = fill(&inside.iter().map(vessel).collect::<Vec<_>>(), *share);
            for (node, share) in inside.iter().zip(shares) {
                nodes[usize::from(*node)] = share;
            }
        }
        Self { nodes, zones }
    }
}

struct Vessel {
    weight: f64,
    floor: f64,
    brim: f64,
}

/// What is in each vessel when `total` is poured in. The floors' sum is not more, the brims' not less (but for rounding).
fn fill(vessels: &[Vessel], total: f64) -> Vec<f64> {
    // Where the level leaves a floor, another vessel begins to fill; where it reaches a brim, one ends.
    let mut levels: Vec<(f64, bool, usize)> = Vec::with_capacity(2 * vessels.len());
    for (at, vessel) in vessels.iter().enumerate() {
        levels.push((vessel.floor / vessel.weight, false, at));
        levels.push((vessel.brim.max(vessel.floor) / vessel.weight, true, at));
    }
    levels.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)).then(one.2.cmp(&other.2)));
    let (mut still, mut filling) = (vessels.iter().map(|vessel| vessel.floor).sum::<f64>(), 0.0);
    let mut level = f64::INFINITY;
    for (next, full, at) in levels {
        if still + filling * next >= total {
            level = if filling > 0.0 { ((total - still) / filling).min(next) } else { next };
            break;
        }
        let vessel = &vessels[at];
        if full {
            still += vessel.brim.max(vessel.floor);
            filling -= vessel.weight;
        } else {
            still -= vessel.floor;
            filling += vessel.weight;
        }
    }
    vessels.iter().map(|vessel| (level * vessel.weight).min(vessel.brim).max(vessel.floor)).collect()
}
