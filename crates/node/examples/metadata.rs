//! What a node has to know of all the others, by the size of the cluster: gossip's rounds and bytes, the ring, the contexts.
//! In virtual time; nothing here depends on the machine.
//!
//! `cargo run --release -p dynamo-node --example metadata`

#[path = "../../gossip/tests/world/mod.rs"]
mod gossip_world;

use bytes::Bytes;
use dynamo_gossip::{Message, NodeInfo};
use dynamo_node::gossip_wire;
use dynamo_ring::{
    Member, NodeId, PartitionCount, Ring,
    charter::{Charter, Move, Proposed},
    planner,
};
use dynamo_version::{Actor, Causality, ContextCodec, Dot, Mode, Payload, SiblingSet, Timestamp};
use gossip_world::World;
use prost::Message as _;

fn main() {
    println!("gossip, three seeds, nothing lost, medians (and the most) of the seeds; bytes are those of the messages");
    println!(
        "| nodes | rounds until all strangers know all | rounds until news is everywhere | bytes/s a node sends when quiet | KiB of all nodes' lines |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: |");
    for (nodes, seeds) in [(5, 101), (50, 21), (500, 3)] {
        println!("{}", gossip(nodes, seeds));
    }
    println!(
        "\n| nodes | partitions | ring, KiB | the same with a change of one node in it, KiB | steps |\n| ---: | ---: | ---: | ---: | ---: |"
    );
    for (nodes, partitions) in [(5, 256), (50, 1024), (200, 8192), (1000, 32768)] {
        println!("{}", ring(nodes, partitions));
    }
    println!(
        "\n| actors that wrote the key | siblings | context, bytes | stored beside the values, bytes |\n| ---: | ---: | ---: | ---: |"
    );
    for (actors, siblings) in [(1, 1), (3, 1), (3, 3), (5, 1), (10, 1), (50, 1)] {
        println!("{}", context(actors, siblings));
    }
}

fn median(mut all: Vec<u64>) -> String {
    all.sort_unstable();
    format!("{} ({})", all[all.len() / 2], all.last().expect("there are seeds"))
}

fn gossip(nodes: usize, seeds: u64) -> String {
    let (mut first, mut news, mut bytes, mut lines) = (Vec::new(), Vec::new(), 0, 0);
    for seed in 0..seeds {
        let mut world = World::of_strangers(nodes, &[0, 1, 2], seed);
        first.push(world.rounds_until(200, "all know all", World::all_know_all));
        // Those that have not shown yet that they know an address are told once more: that has to end first.
        world.run(if nodes > 100 { 60 } else { 10 * nodes as u64 });
        world.at(nodes / 2, |gossip, _, _| gossip.set_self(|info| info.weight += 1));
        news.push(world.rounds_until(200, "all know the news", World::all_know_all));
        world.run(5);
        world.sent.clear();
        world.run(10);
        bytes += world.sent.iter().map(|(.., message)| sent(message)).sum::<usize>() / 10 / nodes;
        lines = (0..nodes).filter_map(|node| world.gossip(0).info(gossip_world::id(node)).map(line)).sum::<usize>();
    }
    let quiet = bytes / seeds as usize;
    format!("| {nodes} | {} | {} | {quiet} | {:.1} |", median(first), median(news), lines as f64 / 1024.0)
}

fn sent(message: &Message) -> usize {
    gossip_wire::to_wire(message.clone()).encoded_len()
}

/// What a node's own line takes in a message.
fn line(info: &NodeInfo) -> usize {
    sent(&Message::Delta { nodes: vec![(info.clone(), Default::default())], digest: None })
}

fn member(number: usize) -> Member {
    let id = NodeId((number as u128 + 1) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let name = format!("shop-zone-{}-{}.shop-nodes.default.svc", number % 3, number / 3);
    Member { id, name, zone: format!("zone-{}", number % 3), weight: 1 }
}

fn ring(nodes: usize, partitions: u32) -> String {
    let count = PartitionCount::try_from(partitions).expect("a power of two");
    let mut members: Vec<Member> = (0..nodes).map(member).collect();
    let ring = Ring::bootstrap(3, count, members.clone()).expect("a ring");
    let joins = member(nodes);
    members.push(joins.clone());
    let plan = planner::plan(&ring, &members).expect("a plan");
    let moves = |step: planner::Step| {
        step.moved.iter().map(|moved| Move { partition: moved.partition, to: moved.to }).collect()
    };
    let steps: Vec<Vec<Move>> = planner::steps(&plan, partitions as usize / 16).into_iter().map(moves).collect();
    let settled = Charter::first(ring);
    let (before, count) = (settled.encode().len(), steps.len());
    let what = "a node joins".to_owned();
    let lives = [(joins.id, 1)].into_iter().collect();
    let proposed =
        Proposed { what, members: plan.ring().members().to_vec(), steps, lost: Vec::new(), accept_loss: false, lives };
    let changing = settled.begin(1, proposed).expect("a change");
    let kib = |bytes: usize| bytes as f64 / 1024.0;
    format!("| {nodes} | {partitions} | {:.1} | {:.1} | {count} |", kib(before), kib(changing.encode().len()))
}

fn actor(number: usize) -> Actor {
    Actor { node: member(number).id.0, incarnation: 1_790_000_000_000_000, key_epoch: 70_000 + number as u64 }
}

/// A key that so many nodes coordinated writes of, one after the other; the last `siblings` of them did not see each other.
fn context(actors: usize, siblings: usize) -> String {
    let mut set = SiblingSet::new();
    let mut seen = Causality::new();
    for number in 0..actors {
        if number <= actors - siblings {
            seen = set.causality().clone();
        }
        let dot = Dot { actor: actor(number), counter: 1_000 };
        set.write(&seen, dot, Timestamp(number as u64), Payload::Value(Bytes::new()), Mode::Siblings);
    }
    assert_eq!(set.siblings().len(), siblings);
    let context = ContextCodec::new(b"sixteen bytes ok", "shop").seal("carts", b"17", set.causality(), Timestamp(9));
    format!("| {actors} | {siblings} | {} | {} |", context.len(), set.encode().len())
}
