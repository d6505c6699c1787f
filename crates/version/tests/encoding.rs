//! The encoding is canonical, and decoding takes nothing else, whatever bytes come (§4.4).

mod support;

use bytes::Bytes;
use dynamo_version::{Actor, Causality, DecodeError, Dot, FORMAT, Mode, Payload, SiblingSet, Timestamp};
use proptest::{collection, prelude::*, sample::Index};
use support::{World, mode, steps};

/// What is decoded encodes to the same bytes, and is safe to use.
fn takes_only_canonical(bytes: &[u8]) {
    let Ok(set) = SiblingSet::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(set.encode(), bytes);
    let mut other = sample();
    other.merge(&set, Mode::Siblings);
    set.clone().merge(&other, Mode::LastWriteWins);
}

fn dot(node: u128, counter: u64) -> Dot {
    Dot { actor: Actor { node, incarnation: 1, key_epoch: 1 }, counter }
}

/// A vector, detached dots of an actor in it and of one that is not, values and a tombstone.
fn sample() -> SiblingSet {
    let mut set = SiblingSet::new();
    let context: Causality = [dot(1, 1), dot(1, 3), dot(3, 5)].into_iter().collect();
    set.write(&context, dot(1, 4), Timestamp(1), Payload::Value(Bytes::from("value")), Mode::Siblings);
    set.write(&Causality::new(), dot(2, 300), Timestamp(2), Payload::Tombstone, Mode::Siblings);
    set.write(&Causality::new(), dot(4, 1), Timestamp(3), Payload::Value(Bytes::new()), Mode::Siblings);
    set
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn states_come_back_and_equal_ones_have_equal_bytes(mode in mode(), steps in steps(40)) {
        let world = World::run(mode, &steps, |_| {});
        for one in world.states() {
            let bytes = one.set.encode();
            prop_assert_eq!(&SiblingSet::decode(bytes.clone()).expect("its own encoding"), &one.set);
            for other in world.states() {
                prop_assert_eq!(one.set == other.set, bytes == other.set.encode());
            }
        }
    }

    #[test]
    fn changed_bytes_never_panic_and_are_canonical_or_refused(
        steps in steps(40),
        changes in collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in any::<Index>(),
    ) {
        for state in World::run(Mode::Siblings, &steps, |_| {}).states() {
            let mut bytes = state.set.encode().to_vec();
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            takes_only_canonical(&bytes);
            takes_only_canonical(&bytes[..cut.index(bytes.len())]);
        }
    }
}

#[test]
fn arbitrary_bytes_never_panic_and_are_canonical_or_refused() {
    bolero::check!().with_iterations(50_000).for_each(|bytes: &[u8]| {
        takes_only_canonical(bytes);
        takes_only_canonical(&[&[FORMAT], bytes].concat());
    });
}

#[test]
fn each_single_byte_changed_is_canonical_or_refused() {
    let good = sample().encode();
    for at in 0..good.len() {
        for value in 0..=u8::MAX {
            let mut bytes = good.to_vec();
            bytes[at] = value;
            takes_only_canonical(&bytes);
        }
    }
}

#[test]
fn cut_and_prolonged_encodings_are_refused() {
    let good = sample().encode();
    assert_eq!(SiblingSet::decode(good.clone()), Ok(sample()));
    for length in 0..good.len() {
        assert!(SiblingSet::decode(good.slice(..length)).is_err(), "{length} of {} bytes", good.len());
    }
    let longer = Bytes::from([&good[..], &[0]].concat());
    assert_eq!(SiblingSet::decode(longer), Err(DecodeError::TrailingBytes));
}

#[test]
fn a_newer_format_is_told_as_such() {
    let mut bytes = sample().encode().to_vec();
    bytes[0] = FORMAT + 1;
    assert_eq!(SiblingSet::decode(Bytes::from(bytes)), Err(DecodeError::NewerFormat { found: FORMAT + 1 }));
}

/// One actor whose counter is the largest number there is, and a detached dot of the same actor.
#[test]
fn counters_at_the_end_of_their_range_are_refused() {
    let mut actor = vec![0; 16];
    actor.extend([1, 1]);
    let last = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let vector = [&[FORMAT, 1][..], &actor, &last].concat();
    let alone = [&vector[..], &[0, 0]].concat();
    let with_dot = [&vector[..], &[1, 1], &[9], &[0]].concat();
    let detached = [&[FORMAT, 0, 1, 0][..], &actor, &last, &[0]].concat();
    for bytes in [alone, with_dot, detached] {
        let refused = SiblingSet::decode(Bytes::from(bytes));
        assert!(matches!(refused, Err(DecodeError::NotCanonical(_))), "{refused:?}");
    }
}

#[test]
fn values_are_slices_of_the_encoding() {
    let encoded = sample().encode();
    let range = encoded.as_ptr_range();
    let set = SiblingSet::decode(encoded.clone()).expect("its own encoding");
    let value = set.values()[0].as_ptr_range();
    assert!(range.start <= value.start && value.end <= range.end);
}

#[test]
fn a_digest_names_the_encoding_and_is_never_that_of_a_key_never_written() {
    let (one, mut other) = (sample(), sample());
    assert_eq!(SiblingSet::digest(&one.encode()), SiblingSet::digest(&other.encode()));
    other.write(&Causality::new(), dot(9, 1), Timestamp(1), Payload::Tombstone, Mode::Siblings);
    assert_ne!(SiblingSet::digest(&one.encode()), SiblingSet::digest(&other.encode()));
    assert_ne!(SiblingSet::digest(&SiblingSet::new().encode()), 0);
}
