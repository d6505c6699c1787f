//! How many nodes are out of balance at how many requests (§6.2, figure 6): requests are drawn by their keys' popularity, and each is
//! one request at each of its key's homes, on a ring of the crate `ring`.

use dynamo_ring::{Position, Ring};

use super::{popularity::Popularity, published::OUT_OF_BALANCE};
use crate::workload::draw::{Draws, key};

/// A ring that is asked for keys.
pub struct Asked<'a> {
    ring: &'a Ring,
    popularity: &'a Popularity,
    /// By key: its partition.
    partitions: &'a [u16],
}

/// By number of key: where it lies.
pub fn partitions(ring: &Ring, keys: u64) -> Vec<u16> {
    (0..keys).map(|number| ring.partitions().partition_of(Position::of(&key(number))).0).collect()
}

impl<'a> Asked<'a> {
    /// `partitions` of as many keys as have a popularity.
    pub fn new(ring: &'a Ring, popularity: &'a Popularity, partitions: &'a [u16]) -> Self {
        Self { ring, popularity, partitions }
    }

    /// What each node gets of so many requests.
    pub fn loads(&self, draws: &mut Draws, requests: u64) -> Vec<u64> {
        let mut loads = vec![0; self.ring.members().len()];
        for _ in 0..requests {
            let partition = self.partitions[self.popularity.next(draws) as usize];
            let walk = self.ring.walk_ids(dynamo_ring::Partition(partition));
            walk[..self.ring.homes()].iter().for_each(|node| loads[usize::from(*node)] += 1);
        }
        loads
    }
}

/// What part of the nodes has a load that is more than 15 % off the mean.
pub fn out_of_balance(loads: &[u64]) -> f64 {
    let mean = loads.iter().sum::<u64>() as f64 / loads.len() as f64;
    let out = loads.iter().filter(|load| (**load as f64 - mean).abs() > OUT_OF_BALANCE * mean);
    out.count() as f64 / loads.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paper::strategies::ring;

    #[test]
    fn each_request_is_one_at_each_of_its_homes() {
        let (ring, popularity) = (ring(10, 64, 3).unwrap(), Popularity::new(500, 0.8));
        let partitions = partitions(&ring, 500);
        let loads = Asked::new(&ring, &popularity, &partitions).loads(&mut Draws::new(1), 1000);
        assert_eq!((loads.len(), loads.iter().sum::<u64>()), (10, 3000));
        let of_one = Asked::new(&ring, &Popularity::new(1, 0.0), &partitions).loads(&mut Draws::new(1), 100);
        assert_eq!(of_one.iter().filter(|load| **load == 100).count(), 3, "{of_one:?}");
    }

    #[test]
    fn one_seed_gives_the_same_loads_again() {
        let (ring, popularity) = (ring(10, 64, 3).unwrap(), Popularity::new(500, 0.8));
        let partitions = partitions(&ring, 500);
        let asked = Asked::new(&ring, &popularity, &partitions);
        let loads = |seed| asked.loads(&mut Draws::new(seed), 1000);
        assert_eq!(loads(1), loads(1));
        assert_ne!(loads(1), loads(2));
    }

    #[test]
    fn a_node_is_out_of_balance_beyond_fifteen_percent_on_either_side() {
        assert_eq!(out_of_balance(&[100, 100, 100, 100]), 0.0);
        assert_eq!(out_of_balance(&[85, 115, 100, 100]), 0.0, "no more than 15 %");
        assert_eq!(out_of_balance(&[84, 116, 100, 100]), 0.5);
        assert_eq!(out_of_balance(&[0, 0, 0, 400]), 1.0);
    }

    #[test]
    fn more_requests_are_spread_better() {
        let (ring, popularity) = (ring(30, 256, 3).unwrap(), Popularity::new(20_000, 0.5));
        let partitions = partitions(&ring, 20_000);
        let asked = Asked::new(&ring, &popularity, &partitions);
        let out = |requests| out_of_balance(&asked.loads(&mut Draws::new(4), requests));
        assert!(out(300) > out(30_000), "{} {}", out(300), out(30_000));
    }
}
