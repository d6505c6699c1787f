//! The paper's three ways to partition the ring and to place partitions (§6.2): 1, T random tokens a node, and the ranges between
//! tokens are the partitions; 2, T random tokens a node, and Q equal partitions; 3, Q/S tokens a node, one an equal partition.
//!
//! Strategies 1 and 2 are models, made for this comparison. Strategy 3 is there twice: [`shuffled`] as the paper has it, and [`ours`] as
//! this project's nodes have it, by the crate `ring` itself. Each gives a [`Layout`], in which keys are spread evenly.

use anyhow::Result;
use dynamo_ring::{Member, NodeId, PartitionCount, Ring};

use crate::workload::draw::Draws;

/// Positions of the models; keys' 128 bits would say nothing more.
pub const RING: u128 = 1 << 64;
/// Ours stand in so many zones, as a cluster does that survives the loss of one.
const ZONES: usize = 3;

/// Keys whose homes are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// How much of [`RING`].
    pub width: u128,
    /// The nodes that store it, in order of preference.
    pub homes: Vec<u16>,
}

/// Who stores what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// How many nodes there are.
    pub nodes: u16,
    /// All of the ring.
    pub ranges: Vec<Range>,
}

impl Layout {
    /// Mean load over the largest, when all keys are asked for alike and each request is one at each of its key's homes.
    pub fn efficiency(&self) -> f64 {
        let mut loads = vec![0u128; usize::from(self.nodes)];
        for range in &self.ranges {
            range.homes.iter().for_each(|node| loads[usize::from(*node)] += range.width);
        }
        let (sum, most) = (loads.iter().sum::<u128>(), loads.iter().copied().max().unwrap_or(0));
        sum as f64 / f64::from(self.nodes) / most as f64
    }
}

/// A token: where it stands, and whose it is.
type Token = (u64, u16);

/// Strategy 1: a range ends with a token, and lies at the N nodes that are met from there.
pub fn by_token(draws: &mut Draws, nodes: u16, tokens: u32, n: usize) -> Layout {
    let ring = random_tokens(draws, nodes, tokens);
    let before = |at: usize| ring[(at + ring.len() - 1) % ring.len()].0;
    let width = |at: usize| match ring.len() {
        1 => RING,
        _ => u128::from(ring[at].0.wrapping_sub(before(at))),
    };
    let ranges = (0..ring.len()).map(|at| Range { width: width(at), homes: met(&ring, at, n) });
    Layout { nodes, ranges: ranges.collect() }
}

/// Strategy 2: an equal partition lies at the N nodes that are met from its end.
pub fn by_token_equal_parts(draws: &mut Draws, nodes: u16, tokens: u32, partitions: u32, n: usize) -> Layout {
    let ring = random_tokens(draws, nodes, tokens);
    let homes = |partition: u32| {
        let end = (boundary(partition + 1, partitions) % RING) as u64;
        met(&ring, ring.partition_point(|token| token.0 < end) % ring.len(), n)
    };
    Layout { nodes, ranges: equal(partitions, homes) }
}

/// Strategy 3 as the paper has it: each node has Q/S tokens, anywhere.
pub fn shuffled(draws: &mut Draws, nodes: u16, partitions: u32, n: usize) -> Layout {
    let mut ring: Vec<Token> = (0..partitions).map(|at| (u64::from(at), (at % u32::from(nodes)) as u16)).collect();
    for place in (1..ring.len()).rev() {
        ring.swap(place, draws.below(place as u64 + 1) as usize);
    }
    Layout { nodes, ranges: equal(partitions, |partition| met(&ring, partition as usize, n)) }
}

/// Strategy 3 as this project has it.
///
/// # Errors
/// Those numbers make no ring.
pub fn ours(nodes: u16, partitions: u32, n: u8) -> Result<Layout> {
    let ring = ring(nodes, partitions, n)?;
    let homes = |partition: u32| {
        let walk = ring.walk_ids(dynamo_ring::Partition(partition as u16));
        walk[..ring.homes()].to_vec()
    };
    Ok(Layout { nodes, ranges: equal(partitions, homes) })
}

/// The first ring of so many nodes of one weight, in three zones.
///
/// # Errors
/// Those numbers make no ring.
pub fn ring(nodes: u16, partitions: u32, n: u8) -> Result<Ring> {
    let member = |number: u16| {
        let name = format!("node-{number}");
        let zone = format!("zone-{}", usize::from(number) % ZONES);
        Member { id: NodeId::initial("paper", &name), name, zone, weight: 1 }
    };
    Ok(Ring::bootstrap(n, PartitionCount::try_from(partitions)?, (0..nodes).map(member).collect())?)
}

fn random_tokens(draws: &mut Draws, nodes: u16, tokens: u32) -> Vec<Token> {
    let mut ring = Vec::with_capacity(usize::from(nodes) * tokens as usize);
    for node in 0..nodes {
        ring.extend((0..tokens).map(|_| (draws.below(u64::MAX), node)));
    }
    ring.sort_unstable();
    ring
}

/// The first N nodes clockwise from a token, its own first; all where there are fewer.
fn met(ring: &[Token], from: usize, n: usize) -> Vec<u16> {
    let mut homes = Vec::with_capacity(n);
    for (_, node) in ring[from..].iter().chain(&ring[..from]) {
        if !homes.contains(node) {
            homes.push(*node);
        }
        if homes.len() == n {
            break;
        }
    }
    homes
}

/// Where a partition begins.
fn boundary(partition: u32, partitions: u32) -> u128 {
    u128::from(partition) * RING / u128::from(partitions)
}

fn equal(partitions: u32, homes: impl Fn(u32) -> Vec<u16>) -> Vec<Range> {
    let width = |partition| boundary(partition + 1, partitions) - boundary(partition, partitions);
    (0..partitions).map(|partition| Range { width: width(partition), homes: homes(partition) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 3;

    /// All four, over clusters of several sizes.
    fn layouts(seed: u64) -> Vec<Layout> {
        let mut all = Vec::new();
        for (nodes, tokens, partitions) in [(3, 1, 4), (4, 7, 64), (30, 2, 64), (30, 64, 1024), (97, 11, 512)] {
            let mut draws = Draws::new(seed);
            all.push(by_token(&mut draws, nodes, tokens, N));
            all.push(by_token_equal_parts(&mut draws, nodes, tokens, partitions, N));
            all.push(shuffled(&mut draws, nodes, partitions, N));
            all.push(shuffled(&mut draws, nodes, 10 * u32::from(nodes), N));
            all.push(ours(nodes, partitions, N as u8).unwrap());
        }
        all
    }

    #[test]
    fn every_key_has_n_homes_none_of_them_twice_and_all_of_the_ring_is_covered() {
        for layout in (0..20).flat_map(layouts) {
            assert_eq!(layout.ranges.iter().map(|range| range.width).sum::<u128>(), RING);
            for Range { homes, .. } in &layout.ranges {
                let mut distinct = homes.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!((homes.len(), distinct.len()), (N, N), "{homes:?}");
                assert!(homes.iter().all(|node| *node < layout.nodes));
            }
        }
    }

    #[test]
    fn one_seed_gives_one_layout_and_another_seed_another_but_for_ours_which_knows_no_chance() {
        let (one, again, other) = (layouts(1), layouts(1), layouts(2));
        assert_eq!(one, again);
        for (number, (one, other)) in one.iter().zip(&other).enumerate() {
            assert_eq!(one == other, number % 5 == 4, "{number}");
        }
    }

    #[test]
    fn equal_partitions_differ_by_no_more_than_what_can_not_be_divided() {
        for layout in layouts(3).chunks(5).flat_map(|chunk| &chunk[1..]) {
            let widths = || layout.ranges.iter().map(|range| range.width);
            assert!(widths().max().unwrap() - widths().min().unwrap() <= 1);
        }
    }

    #[test]
    fn in_strategy_three_each_node_owns_as_many_tokens_as_any_other() {
        let mut draws = Draws::new(9);
        for layout in [shuffled(&mut draws, 30, 480, N), ours(30, 1024, N as u8).unwrap()] {
            let mut owned = vec![0; 30];
            layout.ranges.iter().for_each(|range| owned[usize::from(range.homes[0])] += 1);
            let (least, most) = (owned.iter().min().unwrap(), owned.iter().max().unwrap());
            assert!(most - least <= 1, "{owned:?}");
        }
    }

    #[test]
    fn one_token_is_the_whole_ring_and_fewer_nodes_than_n_store_all_of_it() {
        let layout = by_token(&mut Draws::new(1), 1, 1, N);
        assert_eq!(layout.ranges, [Range { width: RING, homes: vec![0] }]);
        let layout = by_token(&mut Draws::new(1), 2, 5, N);
        assert!(layout.ranges.iter().all(|range| range.homes.len() == 2));
        assert_eq!(layout.efficiency(), 1.0);
    }

    #[test]
    fn efficiency_is_the_mean_load_over_the_largest() {
        let range = |parts: u128, homes: &[u16]| Range { width: RING / 8 * parts, homes: homes.to_vec() };
        let layout = Layout { nodes: 4, ranges: vec![range(4, &[0, 1]), range(3, &[0, 2]), range(1, &[2, 1])] };
        // 7, 5, 4 and 0 of 16 eighths.
        assert_eq!(layout.efficiency(), 4.0 / 7.0);
    }

    #[test]
    fn a_walk_goes_round_the_ring_and_begins_at_the_partitions_end() {
        let ring = [(10, 0), (20, 1), (30, 0), (40, 2)];
        assert_eq!((met(&ring, 2, 3), met(&ring, 1, 2)), (vec![0, 2, 1], vec![1, 0]));
        assert_eq!((boundary(0, 3), boundary(3, 3)), (0, RING));
    }
}
