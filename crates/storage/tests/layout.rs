//! The layout on disk: order of keys, and decoders that meet any bytes whatever.

use bytes::Bytes;
use dynamo_ring::{NodeId, Partition};
use dynamo_storage::key::{ENCODED_BYTES_MAX, hint_key, partition_prefix, split_hint_key, target_prefix};
use dynamo_storage::record::{HEAD_BYTES, Record, RecordError};
use dynamo_storage::{KeyError, RecordKey};
use dynamo_version::SiblingSet;
use proptest::prelude::*;

fn key() -> impl Strategy<Value = (u16, Vec<u8>, Vec<u8>, Vec<u8>)> {
    // Few different bytes, zero and the escape's among them, so that prefixes and collisions are common.
    let bytes = |range: std::ops::Range<usize>| {
        prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, b'a', 0xFE, 0xFF]), range)
    };
    (0u16..3, bytes(1..3), bytes(1..6), bytes(0..4))
}

fn encode((partition, bucket, key, sort): &(u16, Vec<u8>, Vec<u8>, Vec<u8>)) -> RecordKey {
    RecordKey::new(Partition(*partition), bucket, key, Some(sort)).unwrap()
}

fn record(own_epoch: u64, set: Vec<u8>) -> Record {
    let digest = SiblingSet::digest(&set);
    Record { own_epoch: (own_epoch > 0).then_some(own_epoch), digest, set: set.into() }
}

proptest! {
    /// The order of encodings is the order of (partition, bucket by length, partition key, sort key).
    #[test]
    fn encoding_keeps_the_order(a in key(), b in key()) {
        let logical = |k: &(u16, Vec<u8>, Vec<u8>, Vec<u8>)| (k.0, k.1.len(), k.1.clone(), k.2.clone(), k.3.clone());
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

#[test]
fn fuzz_the_key_decoders() {
    bolero::check!().with_iterations(200_000).for_each(|bytes: &[u8]| {
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
