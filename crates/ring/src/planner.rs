//! Which node holds which token (§6.2, strategy 3): zones spread, weights followed, little moved, deterministic.
//!
//! [`assign`] makes the first ring, [`plan`] the way from one ring to another, and [`steps`] cuts that way into pieces. All
//! are pure: the same members give the same tokens on every node, in whatever order they are named.
//!
//! # What a ring is to be like
//! 1. Every preference list has min(N, nodes) nodes in min(N, zones) zones. The walk sees to that, whoever owns what.
//! 2. The owners of N neighbouring tokens are such a list themselves, so that no walk skips a token and N replicas follow
//!    each token. Arithmetic may forbid it: with three zones and N = 3 zones have to follow each other in turn, and 256
//!    tokens leave a seam.
//! 3. Every node holds its fair share of replicas, give or take N. What is fair: see [`fair_shares`].
//! 4. A change moves no more replicas than that takes, but for a tenth and two tokens (four, in one of some thousands): see
//!    [`Plan::replicas_least`].
//!
//! How far these go together depends on the part of its possible places (every N-th token; with fewer zones than N, those of
//! its nodes) that the largest zone has.
//! - With as many zones as N, and where that part is below a third, all hold; a change may leave a few walks more that skip
//!   (4·N at most have been seen), rather than move more.
//! - Above, vacant tokens lie where they do not fit, and either others make way, at twice the cost, or walks skip. A plan
//!   takes the way that keeps nodes fair, then the one nearest to the tenth, then the one with fewer skips. Of random
//!   changes two or three in a hundred move more than the tenth, seldom half as much again.
//! - A zone that has all the places that it can have is at its brim: no list lacks it, and what it gains or loses shifts
//!   everybody. There a node was seen up to 4.2·N off, in one of 250 changes, until later ones mended it. A first ring is not, with four
//!   tokens a node.
//! - Where zones come or go such that there are N of them, all walks would have to be laid out anew. They are not: they skip,
//!   and later changes mend them within what they may move.
//!
//! # How
//! Fair shares give each node a number of tokens to gain or lose; who is within a token of its share stays as it is.
//! Tokens then go from those who have too many to those who have too few, where they fit: zones keep N tokens apart. Last, nodes
//! that walks which skip give more or less than their tokens say are brought within bounds one by one.

mod board;
mod change;
mod deal;
mod fair;
mod first;
mod forced;
mod gifts;
mod homes;
mod least;
mod lists;
mod plan;
mod polish;
mod report;
mod shape;
mod steps;
mod targets;
mod transfer;
mod walker;

pub use plan::{Load, Moved, NodeChange, Plan, ZoneChange};
pub use report::{ReplicaMoved, Report};
pub use steps::{Step, steps};

use crate::{
    error::RingError,
    position::PartitionCount,
    ring::{Member, Ring, check_members, check_names},
    walk,
};
use board::Board;
use change::Change;
use fair::Fair;
use homes::{Homes, Measure};
use shape::{Shape, VACANT};
use targets::Before;

/// A plan may move so many tenths of the least possible to mend walks.
const BUDGET_TENTHS: usize = 11;

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
    let shape = Shape::new(members, partitions, n);
    let fair = Fair::of(&shape);
    let none = vec![0; shape.nodes()];
    let held = vec![0; shape.nodes()];
    let before = Before { held: &held, owned: &none, left: &none[..shape.zones.len()], vacant: shape.tokens };
    let tokens: Vec<usize> =
        targets::targets(&shape, &fair, &before).into_iter().map(|tokens| tokens as usize).collect();
    let measure = Measure { before: &[], fair: &fair.nodes, tolerance: f64::from(n) };
    let mut homes = Homes::new(&shape, first::first(&shape, &tokens), measure);
    polish::balance(&mut homes);
    polish::mend(&mut homes, usize::MAX);
    homes.owners().to_vec()
}

/// Plans the way from a ring to `wanted` members, in any order: some may join, leave, weigh more or less or stand in another
/// zone, all at once. N and Q stay. A node that is to stand in another zone is planned like one that leaves and one that
/// joins; a zone that is only called differently stays where it is. One with weight 0 is to hold nothing: it leaves the
/// ring, or does not come on it.
///
/// # Errors
/// Members that make no ring ([`RingError::NoMembers`] too if all weigh 0); or one that joins under the name of one that leaves, for while the ring changes it has both.
pub fn plan(current: &Ring, wanted: &[Member]) -> Result<Plan, RingError> {
    let mut members = wanted.to_vec();
    members.sort_by_key(|member| member.id);
    check_names(&members)?;
    members.retain(|member| member.weight > 0);
    check_members(current.n(), current.partitions(), &members)?;
    let change = Change::new(current, &members);
    let leaving = current.members().iter().zip(&change.same).filter(|(_, same)| **same == VACANT);
    for (gone, _) in leaving {
        if members.iter().any(|member| member.name == gone.name) {
            return Err(RingError::DuplicateName(gone.name.clone()));
        }
    }
    let (owners, least) = moved(current, &members, &change);
    Ok(Plan::new(current, members, owners, least))
}

/// By token: its new owner; and how many replicas have to move at least.
fn moved(current: &Ring, members: &[Member], change: &Change) -> (Vec<u16>, usize) {
    let shape = Shape::new(members, current.partitions(), current.n());
    let fair = Fair::of(&shape);
    let (mut held, mut kept) = (vec![0; shape.nodes()], vec![0; shape.nodes()]);
    for ((held_before, same), stays) in change::held(current).into_iter().zip(&change.same).zip(&change.stays) {
        for (held, to) in [(&mut held, same), (&mut kept, stays)] {
            if *to != VACANT {
                held[usize::from(*to)] = held_before as i64;
            }
        }
    }
    let was = Shape::new(current.members(), current.partitions(), current.n());
    let as_before = (was.rounds, was.extra, was.zoned, was.zones.len())
        == (shape.rounds, shape.extra, shape.zoned, shape.zones.len())
        && change.keeps_zones(current, members);
    let least = least::least(&shape, &fair, &held, as_before);
    let budget = least * BUDGET_TENTHS / 10;

    let before = change.homes(current);
    let measure = Measure { before: &before, fair: &fair.nodes, tolerance: f64::from(current.n()) };
    let board = board(current, members, change, &shape, &fair, &kept);
    let most = budget + usize::from(current.n());
    let rank = |homes: &Homes| (!homes.cost.fair(), homes.cost.gained.max(most), homes.cost.skips);
    let mut best = transferred(&shape, board.clone(), measure, budget);
    // Where tokens find no place unless others make way, the tenth has to do for those, or for none: walks skip the rest.
    for spare in [(budget - least) / shape.homes, 0] {
        if best.cost.gained <= most {
            break;
        }
        let other = transferred(&shape, Board { spare, ..board.clone() }, measure, budget);
        if rank(&other) < rank(&best) {
            best = other;
        }
    }
    if best.cost.skips > 0 || !best.cost.fair() {
        // With few nodes, each of which holds nearly everything, a ring dealt anew may move hardly more.
        let anew = Homes::new(&shape, assign(members, current.partitions(), current.n()), measure);
        if anew.cost.gained <= budget.max(best.cost.gained) && rank(&anew) < rank(&best) {
            best = anew;
        }
    }
    (best.owners().to_vec(), least)
}

/// The ring once everybody has what it is due.
fn transferred<'a>(shape: &'a Shape, mut board: Board<'a>, measure: Measure<'a>, budget: usize) -> Homes<'a> {
    transfer::transfer(&mut board);
    let mut homes = Homes::new(shape, board.owners, measure);
    polish::balance(&mut homes);
    polish::mend(&mut homes, budget);
    homes
}

/// The tokens as those who stay have them, and what each is due.
fn board<'a>(
    current: &Ring,
    members: &[Member],
    change: &Change,
    shape: &'a Shape,
    fair: &Fair,
    held: &[i64],
) -> Board<'a> {
    let owners = change.owners(current);
    let mut owned = vec![0; shape.nodes()];
    owners.iter().filter(|owner| **owner != VACANT).for_each(|owner| owned[usize::from(*owner)] += 1);
    let vacant = owners.iter().filter(|owner| **owner == VACANT).count();
    let left = change.left(current, members, shape);
    let need = targets::targets(shape, fair, &Before { held, owned: &owned, left: &left, vacant });
    Board::new(shape, owners, need, usize::MAX)
}

/// By member: the fair share of a ring's replicas.
///
/// Vessels are filled up to one level: each node gets replicas in proportion to its weight, but
/// - no zone more than its walks can take: Q where there are N zones or more; Q·N/zones where there are fewer, in which case
///   all zones hold that much, whatever they weigh; and never more than Q for each of its nodes;
/// - no node so much that walks would meet it twice: where zones are fewer than N, 1/⌈N/zones⌉ of its zone's share (with one
///   zone, 1/N of everything, which is Q);
/// - no node less than the one token that every node owns, which is worth N replicas, or, where a zone has more nodes than
///   that allows, an equal part of the zone's share.
///
/// What these take or leave, the others share by weight.
pub fn fair_shares(members: &[Member], partitions: PartitionCount, n: u8) -> Vec<f64> {
    Fair::of(&Shape::new(members, partitions, n)).nodes
}

/// How many partitions of a ring have a walk that skips a token before it has found all homes.
pub fn skips(ring: &Ring) -> usize {
    let zones = walk::zones(ring.members());
    let lists = lists::Lists::new(&zones, ring.homes(), ring.owners().to_vec(), false);
    (0..ring.owners().len()).filter(|partition| lists.skips(*partition)).count()
}
