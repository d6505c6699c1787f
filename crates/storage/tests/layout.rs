//! The layout on disk: order of keys, and decoders that meet any bytes whatever.

use bytes::Bytes;
use dynamo_ring::{NodeId, Partition};
use dynamo_storage::key::{ENCODED_BYTES_MAX, hint_key, partition_prefix, split_hint_key, target_prefix};
use dynamo_storage::record::{HEAD_BYTES, Record, RecordError};
use dynamo_storage::{DIRECTORY_FORMAT, KeyError, RecordKey, tree_hash};
use dynamo_version::SiblingSet;
use proptest::prelude::*;

fn key() -> impl Strategy<Value = Parts> {
    // Few different bytes, zero and the escape's among them, so that prefixes and collisions are common.
    let bytes = |range: std::ops::Range<usize>| {
        prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, b'a', 0xFE, 0xFF]), range)
    };
    (0u16..3, bytes(1..3), bytes(1..6), bytes(0..4))
}

/// Partition, bucket, partition key, sort key.
type Parts = (u16, Vec<u8>, Vec<u8>, Vec<u8>);

fn encode((partition, bucket, key, sort): &Parts) -> RecordKey {
    RecordKey::new(Partition(*partition), bucket, key, Some(sort)).unwrap()
}

fn record(own_epoch: u64, set: Vec<u8>) -> Record {
    let digest = SiblingSet::digest(&set);
    Record { own_epoch: (own_epoch > 0).then_some(own_epoch), digest, set: set.into() }
}

proptest! {
    /// The order of encodings is the order of (partition, hash, bucket by length, partition key, sort key).
    #[test]
    fn encoding_keeps_the_order(a in key(), b in key()) {
        let hash = |k: &Parts| encode(k).tree_hash() >> 48;
        let logical = |k: &Parts| (k.0, hash(k), k.1.len(), k.1.clone(), k.2.clone(), k.3.clone());
        prop_assert_eq!(encode(&a).cmp(&encode(&b)), logical(&a).cmp(&logical(&b)));
    }

    #[test]
    fn keys_are_found_again_in_their_encoding(a in key(), target in any::<u128>()) {
        let encoded = encode(&a);
        let parts = encoded.parts();
        prop_assert_eq!((parts.partition.0, &parts.bucket[..], &parts.key[..], &parts.sort[..]), (a.0, &a.1[..], &a.2[..], &a.3[..]));
        prop_assert_eq!(&RecordKey::decode(encoded.as_bytes()).unwrap(), &encoded);
        prop_assert!(encoded.as_bytes().starts_with(&partition_prefix(Partition(a.0))));
        let hint = hint_key(NodeId(target), &encoded);
        prop_assert!(hint.starts_with(&target_prefix(NodeId(target))));
        prop_assert_eq!(split_hint_key(&hint).unwrap(), (NodeId(target), encoded));
    }

    /// The items of one partition key are one range: no other key falls between them.
    #[test]
    fn items_of_a_partition_key_stand_together(a in key(), other in key(), s in prop::collection::vec(any::<u8>(), 0..4)) {
        let first = encode(&a);
        let second = encode(&(a.0, a.1.clone(), a.2.clone(), s));
        let (low, high) = (first.clone().min(second.clone()), first.max(second));
        let between = encode(&other);
        if low < between && between < high {
            prop_assert_eq!((other.0, other.1, other.2), (a.0, a.1, a.2));
        }
    }

    /// What a tree goes by: equal for the items of a partition key where it chooses the leaf, and different below.
    #[test]
    fn items_of_a_partition_key_share_a_leaf_and_not_a_number(a in key(), s in prop::collection::vec(any::<u8>(), 0..4)) {
        let (one, other) = (encode(&a), encode(&(a.0, a.1.clone(), a.2.clone(), s)));
        prop_assert_eq!(one.tree_hash() >> 48, other.tree_hash() >> 48);
        prop_assert_eq!(one == other, one.tree_hash() == other.tree_hash());
        prop_assert_eq!(one.tree_hash(), tree_hash(one.as_bytes()));
    }

    /// A key that stands in the wrong place would be in another leaf than the key that it is taken for.
    #[test]
    fn a_key_with_another_hash_is_malformed(a in key(), bit in 0usize..16) {
        let mut bytes = encode(&a).as_bytes().to_vec();
        bytes[2 + bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(RecordKey::decode(&bytes), Err(KeyError::Malformed));
    }

    #[test]
    fn records_are_found_again(own in 0u64..9, set in prop::collection::vec(any::<u8>(), 0..99), slot in prop::collection::vec(any::<u8>(), 0..9)) {
        let record = record(own, set);
        prop_assert_eq!(Record::decode(&slot, record.encode(&slot)).unwrap(), record);
    }

    /// Any change of any bit, any cut, and any other key is noticed.
    #[test]
    fn a_damaged_record_is_noticed(set in prop::collection::vec(any::<u8>(), 1..60), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let record = record(3, set);
        let good = record.encode(b"slot");
        let mut bytes = good.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Record::decode(b"slot", bytes.into()).is_err());
        prop_assert!(Record::decode(b"slot", good.slice(..at)).is_err());
        prop_assert_eq!(Record::decode(b"other", good), Err(RecordError::Head));
    }
}

#[test]
fn keys_that_cannot_be_stored_are_refused() {
    let new = |bucket: &[u8], key: &[u8]| RecordKey::new(Partition(0), bucket, key, None);
    assert_eq!(new(b"b", b""), Err(KeyError::Empty));
    assert_eq!(new(b"", b"k"), Err(KeyError::Bucket(0)));
    assert_eq!(new(&[b'b'; 256], b"k"), Err(KeyError::Bucket(256)));
    assert!(matches!(new(b"b", &vec![0; ENCODED_BYTES_MAX / 2]), Err(KeyError::TooLong(_))), "zeroes take two bytes");
    assert!(new(&[b'b'; 255], &[b'k'; 2048]).is_ok());
}

#[test]
fn a_record_of_a_newer_format_says_so() {
    use xxhash_rust::xxh3::Xxh3;
    let mut bytes = record(1, vec![1, 2, 3]).encode(b"slot").to_vec();
    bytes[0] = 9;
    let mut check = Xxh3::new();
    check.update(&bytes[..17]);
    check.update(b"slot");
    bytes[17..HEAD_BYTES].copy_from_slice(&(check.digest() as u32).to_le_bytes());
    assert_eq!(Record::decode(b"slot", bytes.into()), Err(RecordError::NewerFormat(9)));
}

/// Written down, so that a change of what is on disks, and of what replicas compare, does not slip in.
#[test]
fn keys_and_their_numbers_are_those_of_directory_format_2() {
    assert_eq!(DIRECTORY_FORMAT, 2);
    let key = RecordKey::new(Partition(0x0102), b"cart", b"a\0b", Some(b"s")).unwrap();
    assert_eq!(&key.as_bytes()[..], b"\x01\x02\x08\xc5\x04carta\x00\xffb\x00\x01s");
    assert_eq!(key.tree_hash(), 0x08c5_b2c4_9bf4_a749);
    assert_eq!((tree_hash(b"") >> 48, tree_hash(b"abc") >> 48, tree_hash(b"abcd") >> 48), (0, 0, 0x6364));
}

#[test]
fn fuzz_the_key_decoders() {
    bolero::check!().with_iterations(200_000).for_each(|bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        // Its hash made right where there is one, or hardly any key would get past it.
        if let Some(end) = bytes.windows(2).skip(4).position(|pair| pair == [0, 1]) {
            let hash = xxhash_rust::xxh3::xxh3_64(&bytes[4..4 + end]).to_be_bytes();
            bytes[2..4].copy_from_slice(&hash[..2]);
        }
        let bytes = &bytes[..];
        let _ = tree_hash(bytes);
        if let Ok(key) = RecordKey::decode(bytes) {
            let parts = key.parts();
            let again = RecordKey::new(parts.partition, &parts.bucket, &parts.key, Some(&parts.sort));
            assert_eq!(again.as_ref(), Ok(&key), "what decodes is what encodes");
            let _ = format!("{key:?}");
        }
        let _ = split_hint_key(bytes);
    });
}

#[test]
fn fuzz_the_record_decoder() {
    bolero::check!().with_iterations(200_000).for_each(|bytes: &[u8]| {
        let (key, bytes) = bytes.split_at(bytes.len().min(3));
        if let Ok(record) = Record::decode(key, Bytes::copy_from_slice(bytes)) {
            assert_eq!(record.encode(key), bytes);
        }
    });
}
