//! Equal nodes in equal zones bear equal load: replicas are counted over all preference lists, and a walk takes each
//! token as it comes, but for a seam of a few where the numbers do not come out even (§6.2).

mod members;

use dynamo_ring::{NodeId, Partition, Ring};
use members::even;
use std::collections::BTreeMap;

fn replicas(ring: &Ring) -> BTreeMap<NodeId, usize> {
    let mut counts: BTreeMap<_, _> = ring.members().iter().map(|member| (member.id, 0)).collect();
    for partition in ring.partitions().iter() {
        for id in ring.preference_list(partition) {
            *counts.get_mut(&id).expect("a member") += 1;
        }
    }
    counts
}

/// Partitions whose homes are not the owners of the next tokens, one each.
fn skipping(ring: &Ring) -> usize {
    let count = ring.partitions().get() as usize;
    let next = |start: usize, step: usize| ring.owner(Partition(((start + step) % count) as u16)).id;
    (0..count)
        .filter(|start| {
            let homes = ring.preference_list(Partition(*start as u16));
            (0..homes.len()).any(|step| homes[step] != next(*start, step))
        })
        .count()
}

#[test]
fn measure() {
    let mut worst: BTreeMap<(u8, &str), (f64, usize, String)> = BTreeMap::new();
    for n in [1, 2, 3, 5] {
        for zones in 1..=7 {
            for each in 1..=10 {
                if zones * each > 40 {
                    continue;
                }
                for bits in 3..=11 {
                    let count = 1_u32 << bits;
                    if zones * each > count as usize {
                        continue;
                    }
                    let ring = even(n, count, zones, each).ring();
                    let homes = ring.homes();
                    let fair = f64::from(count) * homes as f64 / (zones * each) as f64;
                    let off = replicas(&ring).values().map(|c| (*c as f64 - fair).abs()).fold(0.0, f64::max);
                    let sk = skipping(&ring);
                    let kind = if zones >= n as usize {
                        "zones>=n"
                    } else if zones == 1 {
                        "one"
                    } else {
                        "fewer zones"
                    };
                    let e = worst.entry((n, kind)).or_insert((0.0, 0, String::new()));
                    if off > e.0 {
                        e.0 = off;
                        e.2 = format!("off {off:.2} q{count} z{zones} each{each} skip {sk}");
                    }
                    if sk > e.1 {
                        e.1 = sk;
                        e.2 += &format!(" | skip {sk} q{count} z{zones} each{each} off {off:.2}");
                    }
                }
            }
        }
    }
    for (k, v) in worst {
        println!("{k:?} {v:?}");
    }
}
