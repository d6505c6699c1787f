//! One part of a request each.

use bytes::Bytes;
use dynamo_merkle::{Shape, Tree};
use dynamo_ring::{Member, NodeId, Partition, PartitionCount, Position, Ring};
use dynamo_storage::{RecordKey, record::Record};
use dynamo_version::{Actor, Causality, ContextCodec, Dot, Mode, Payload, SiblingSet, Timestamp};
use smallvec::SmallVec;

/// As many as a production cluster of the paper's had (§6): some hundreds of hosts at most.
const NODES: u32 = 30;
const PARTITIONS: u32 = 1024;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 1024;

/// The bucket of all keys.
pub const BUCKET: &str = "default";

/// A ring of 30 nodes in three zones, N = 3.
pub fn ring() -> Ring {
    let members = (0..NODES).map(|number| member(number, number % 3)).collect();
    Ring::bootstrap(3, partitions(), members).expect("a ring")
}

/// Q.
pub fn partitions() -> PartitionCount {
    PartitionCount::try_from(PARTITIONS).expect("a power of two")
}

/// A node of weight 1.
pub fn member(number: u32, zone: u32) -> Member {
    let name = format!("node-{number}");
    Member { id: NodeId::initial("micro", &name), name, zone: format!("zone-{zone}"), weight: 1 }
}

/// A key such as users have.
pub fn key(number: u64) -> Bytes {
    Bytes::from(format!("session:{number:016x}"))
}

/// A value that differs from key to key.
pub fn value(number: u64) -> Bytes {
    Bytes::from((0..VALUE_BYTES).map(|at| (number as usize * 31 + at * 7) as u8).collect::<Vec<u8>>())
}

/// Whose homes a key's are (§4.2, 4.3): what each request begins with.
pub fn look_up(ring: &Ring, key: &[u8]) -> (Partition, SmallVec<[NodeId; 8]>) {
    let partition = ring.partitions().partition_of(Position::of(key));
    (partition, ring.preference_list(partition))
}

/// A set to which so many nodes have written without having seen each other.
pub fn siblings(writers: u128, first: u64) -> SiblingSet {
    let mut set = SiblingSet::new();
    for node in 1..=writers {
        let dot = Dot { actor: Actor { node, incarnation: 1, key_epoch: 1 }, counter: first };
        let mut seen = Causality::new();
        (1..first).for_each(|counter| seen.insert(Dot { counter, ..dot }));
        set.write(&seen, dot, Timestamp(first), Payload::Value(value(first)), Mode::Siblings);
    }
    set
}

/// A state from another replica joins what is here (§4.4).
pub fn merge(mine: &SiblingSet, theirs: &SiblingSet) -> SiblingSet {
    let mut merged = mine.clone();
    merged.merge(theirs, Mode::Siblings);
    merged
}

/// Seals what a reader has seen.
pub fn contexts() -> ContextCodec {
    ContextCodec::new(&[7; 16], "micro")
}

/// What a get hands out, and a put hands back: sealed and opened again.
pub fn context(codec: &ContextCodec, key: &[u8], seen: &Causality) -> Causality {
    let sealed = codec.seal(BUCKET, key, seen, Timestamp(5));
    codec.open(BUCKET, key, &sealed).expect("just sealed").0
}

/// A partition's hash tree with so many keys.
pub fn tree(keys: u64) -> Tree {
    Tree::build(Shape::default(), (0..keys).map(|key| (mix(key), mix(key + 1))))
}

/// A key's state is followed by another: what each write does to the tree (§4.7).
pub fn update(tree: &mut Tree, key: u64) -> u64 {
    tree.apply(mix(key), Some(mix(key + 1)), Some(mix(key + 2)));
    tree.root()
}

/// A number's bits, spread.
fn mix(number: u64) -> u64 {
    let spread = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    spread ^ spread >> 29
}

/// A record as it lies in the engine, and back: with all its checksums.
pub fn record(key: &RecordKey, set: &SiblingSet) -> SiblingSet {
    let set = set.encode();
    let record = Record { own_epoch: Some(1), digest: SiblingSet::digest(&set), set };
    let stored = record.encode(key.as_bytes());
    let found = Record::decode(key.as_bytes(), stored).expect("just encoded");
    SiblingSet::decode(found.set).expect("just encoded")
}

/// A key of the engine.
pub fn record_key(key: &[u8]) -> RecordKey {
    let partition = partitions().partition_of(Position::of(key));
    RecordKey::new(partition, BUCKET.as_bytes(), key, None).expect("a short key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_does_what_it_says() {
        let (ring, wanted) = (ring(), key(7));
        let (partition, homes) = look_up(&ring, &wanted);
        assert_eq!((homes.len(), partition), (3, record_key(&wanted).partition()));
        let (mine, theirs) = (siblings(3, 2), siblings(2, 5));
        assert_eq!((mine.siblings().len(), theirs.siblings().len()), (3, 2));
        assert_eq!(merge(&mine, &theirs).siblings().len(), 3, "two have gone on, the third has not");
        assert_eq!(&context(&contexts(), &wanted, mine.causality()), mine.causality());
        assert_eq!(record(&record_key(&wanted), &mine), mine);
        let mut changed = tree(1000);
        let before = changed.root();
        assert_ne!(update(&mut changed, 500), before);
    }
}
