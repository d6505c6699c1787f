//! How many walks have to skip a token, whoever owns what: what counting alone shows.
//!
//! - With as many zones as homes (or as many nodes), walks skip none only while zones follow each other in one order, over
//!   and over. Where their number does not divide Q, that order breaks somewhere, and all walks over the break but one
//!   skip: H - 1. (Three zones and 256 tokens have such a seam.)
//! - Where zones are fewer and one is so small that all its nodes are in every list, they come every H-th token: if H does
//!   not divide Q, some walk skips.
//! - Every node owns a token. A walk that skips none takes at most `most` of a zone's; so Q walks see at most Q·`most`
//!   of the zone's tokens, while each token is seen by H walks. Those that are too many are seen by walks that skip.

use super::shape::Shape;
use crate::{position::PartitionCount, ring::Member};

/// A lower bound of the walks that skip a token.
pub fn skips_forced(members: &[Member], partitions: PartitionCount, n: u8) -> usize {
    let shape = Shape::new(members, partitions, n);
    let (homes, tokens) = (shape.homes, shape.tokens);
    let crowd = |nodes: &Vec<u16>| {
        let most = nodes.len().min(shape.rounds + usize::from(shape.extra > 0));
        let over = (nodes.len() * homes).saturating_sub(tokens * most);
        over.div_ceil((homes - most).max(1))
    };
    let crowded = shape.zones.iter().map(crowd).max().unwrap_or(0);
    let breaks = !tokens.is_multiple_of(homes);
    let small = shape.zones.iter().any(|nodes| nodes.len() <= shape.rounds && nodes.len() < homes);
    let seam = if breaks && (members.len() == homes || shape.zones.len() == homes) {
        homes - 1
    } else {
        usize::from(breaks && small)
    };
    seam.max(crowded)
}
