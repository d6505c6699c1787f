//! The first ring: nothing is there that would have to move, so tokens are dealt as evenly as they can be.
//!
//! Where there are N zones or more, the ring is dealt to zones, no zone twice within N tokens, and each zone's tokens to its
//! nodes. With fewer zones every preference list has nodes of all, so zones take turns, and it is in the zones that nodes
//! have to be apart. A zone with so few nodes that each is in every list has every H-th token for each of them, and the
//! others share those between.

use super::{deal::deal, shape::Shape};

/// By token: its owner. `targets`: tokens of each node.
pub fn first(shape: &Shape, targets: &[usize]) -> Vec<u16> {
    let of = |node: &u16| targets[usize::from(*node)];
    let by_zone: Vec<usize> = shape.zones.iter().map(|nodes| nodes.iter().map(of).sum()).collect();
    let one_each = shape.rounds == 1 && shape.zones.len() == shape.homes;
    let zones = if shape.rounds == 0 || one_each {
        let seeds: Vec<u64> = shape.zones.iter().map(|nodes| shape.seed[usize::from(nodes[0])]).collect();
        deal(&by_zone, &seeds, shape.homes, shape.zoned)
    } else {
        in_turn(shape, by_zone)
    };
    to_nodes(shape, targets, &zones)
}

/// By token: its zone, all in turn. `left`: tokens of each zone.
fn in_turn(shape: &Shape, mut left: Vec<usize>) -> Vec<u16> {
    let turn = turn(shape);
    let larger: Vec<usize> = (0..shape.zones.len()).filter(|zone| shape.zones[*zone].len() > shape.rounds).collect();
    let mut next = 0;
    let zone = |token: usize| {
        let fixed = turn[token % turn.len()].filter(|zone| left[*zone] > 0);
        let zone = fixed.unwrap_or_else(|| {
            let turns = (0..larger.len()).map(|step| (next + step) % larger.len());
            match turns.into_iter().find(|turn| left[larger[*turn]] > 0) {
                Some(turn) => {
                    next = turn + 1;
                    larger[turn]
                }
                None => (0..left.len()).max_by_key(|zone| (left[*zone], *zone)).expect("there is a zone"),
            }
        });
        left[zone] -= 1;
        zone as u16
    };
    (0..shape.tokens).map(zone).collect()
}

/// H tokens: those of zones whose nodes are in every list, spread evenly, and between them places for the others.
fn turn(shape: &Shape) -> Vec<Option<usize>> {
    let small = |round: usize| {
        let sizes = shape.zones.iter().map(Vec::len).enumerate();
        sizes.filter(move |(_, nodes)| *nodes <= shape.rounds && round < *nodes).map(|(zone, _)| zone)
    };
    let fixed: Vec<usize> = (0..shape.rounds).flat_map(small).collect();
    let mut given = fixed.iter();
    let place = |place: usize| {
        let due = fixed.len() * (place + 1) > (fixed.len() - given.len()) * shape.homes;
        if due { given.next().copied() } else { None }
    };
    (0..shape.homes).map(place).collect()
}

/// Each zone's tokens to its nodes.
fn to_nodes(shape: &Shape, targets: &[usize], zones: &[u16]) -> Vec<u16> {
    let dealt = shape.zones.iter().enumerate().map(|(zone, nodes)| {
        let counts: Vec<usize> = nodes.iter().map(|node| targets[usize::from(*node)]).collect();
        let seeds: Vec<u64> = nodes.iter().map(|node| shape.seed[usize::from(*node)]).collect();
        deal(&counts, &seeds, shape.apart(zone), false).into_iter().map(|place| nodes[usize::from(place)])
    });
    let mut dealt: Vec<_> = dealt.collect();
    zones.iter().map(|zone| dealt[usize::from(*zone)].next().expect("as many as were counted")).collect()
}
