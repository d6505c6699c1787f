//! What a client is promised of a write (§2.3, 4.6), by who reaches whom when it begins.
//!
//! Only where things have stood still for long enough that every node may be expected to know, and where those who
//! reach each other are a clique that nobody outside reaches half: then there is one answer to who reaches whom.

use dynamo_history::Promise;

use crate::world::Kernel;

/// So long things have to stand still, microseconds: silence is noticed, suspicion becomes certainty.
const CALM_US: u64 = 30_000_000;

/// What is promised of a write that begins now at a node.
pub fn promise_of(kernel: &Kernel, client: u8, node: u8, key: u16) -> Promise {
    let shape = &kernel.shape;
    let endpoint = shape.nodes() + client;
    if !kernel.calm_for(CALM_US) || !kernel.is_on(node) || !kernel.network.connected(endpoint, node) {
        return Promise::None;
    }
    let Some(clique) = clique_of(kernel, node) else { return Promise::None };
    let (bucket, view, partition) = (shape.bucket_of(key), kernel.newest(), shape.partition(key));
    let (walk, homes) = (view.walk(partition), view.homes(partition));
    let reached = |nodes: &[u8]| nodes.iter().filter(|one| clique.contains(*one)).count();
    let (w, outsider) = (usize::from(bucket.w), !walk.contains(&node));
    match (bucket.strict, reached(homes) >= w) {
        (true, true) => Promise::Succeeds,
        (true, false) => Promise::FailsAtOnce,
        (false, _) if reached(walk) + usize::from(outsider) >= w => Promise::Succeeds,
        (false, _) => Promise::None,
    }
}

/// The nodes that reach this one, if they all reach each other, and no other live node reaches any of them by half.
fn clique_of(kernel: &Kernel, node: u8) -> Option<Vec<u8>> {
    let live: Vec<u8> = (0..kernel.shape.nodes()).filter(|one| kernel.is_on(*one)).collect();
    let reaches = |one: u8, other: u8| one == other || kernel.network.connected(one, other);
    let (clique, others): (Vec<u8>, Vec<u8>) = live.iter().partition(|one| reaches(node, **one));
    let whole = clique.iter().all(|one| clique.iter().all(|other| reaches(*one, *other)));
    let half = |one: u8, other: u8| !kernel.network.is_cut(one, other) || !kernel.network.is_cut(other, one);
    let apart = clique.iter().all(|one| others.iter().all(|other| !half(*one, *other)));
    (whole && apart).then_some(clique)
}
