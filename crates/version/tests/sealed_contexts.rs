//! A context is opened for the key and in the cluster that it was sealed for, unchanged, or refused by what is wrong.

mod support;

use dynamo_version::{
    Actor, CONTEXT_BYTES_MAX, CONTEXT_FORMAT, Causality, ContextCodec, ContextError, Dot, Mode, Timestamp, text,
};
use proptest::prelude::*;
use support::{World, steps};

const SECRET: [u8; 16] = [7; 16];

fn codec() -> ContextCodec {
    ContextCodec::new(&SECRET, "blue")
}

fn sealed() -> Vec<u8> {
    let actor = |node| Actor { node, incarnation: 1, key_epoch: 1 };
    let seen: Causality =
        [(1, 1), (1, 2), (2, 4)].map(|(node, counter)| Dot { actor: actor(node), counter }).into_iter().collect();
    codec().seal("carts", b"alice", &seen, Timestamp(77))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn contexts_come_back(steps in steps(40), bucket in "[a-z]{1,20}", key: Vec<u8>, latest: u64) {
        for client in World::run(Mode::Siblings, &steps, |_| {}).clients {
            let context = codec().seal(&bucket, &key, &client.context, Timestamp(latest));
            prop_assert_eq!(codec().open(&bucket, &key, &context), Ok((client.context.clone(), Timestamp(latest))));
            prop_assert_eq!(text::decode(&text::encode(&context)), Some(context));
        }
    }

    #[test]
    fn a_context_opens_for_no_other_key(
        one in ("[ab]{1,4}", "[ab]{0,4}"),
        other in ("[ab]{1,4}", "[ab]{0,4}"),
    ) {
        let context = codec().seal(&one.0, one.1.as_bytes(), &Causality::new(), Timestamp(1));
        let opened = codec().open(&other.0, other.1.as_bytes(), &context);
        prop_assert_eq!(opened, if one == other { Ok((Causality::new(), Timestamp(1))) } else { Err(ContextError::OtherKey) });
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let good = sealed();
    assert!(codec().open("carts", b"alice", &good).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(codec().open("carts", b"alice", &bytes).is_err(), "bit {bit}");
    }
}

#[test]
fn every_cut_context_is_refused() {
    let good = sealed();
    for length in 0..good.len() {
        assert_eq!(codec().open("carts", b"alice", &good[..length]), Err(ContextError::Damaged), "{length} bytes");
    }
}

#[test]
fn other_keys_buckets_clusters_and_formats_are_told_apart() {
    let good = sealed();
    assert_eq!(codec().open("carts", b"bob", &good), Err(ContextError::OtherKey));
    assert_eq!(codec().open("orders", b"alice", &good), Err(ContextError::OtherKey));
    let other_name = ContextCodec::new(&SECRET, "green");
    assert_eq!(other_name.open("carts", b"alice", &good), Err(ContextError::OtherCluster));
    let other_cluster = ContextCodec::new(&[8; 16], "green");
    assert_eq!(other_cluster.open("carts", b"alice", &good), Err(ContextError::OtherCluster));
    let other_secret = ContextCodec::new(&[8; 16], "blue");
    assert_eq!(other_secret.open("carts", b"alice", &good), Err(ContextError::Damaged));

    let mut newer = good.clone();
    newer[0] = CONTEXT_FORMAT + 1;
    let expected = ContextError::NewerFormat { found: CONTEXT_FORMAT + 1, known: CONTEXT_FORMAT };
    assert_eq!(codec().open("carts", b"alice", &newer), Err(expected));

    let long = vec![CONTEXT_FORMAT; CONTEXT_BYTES_MAX + 1];
    assert_eq!(codec().open("carts", b"alice", &long), Err(ContextError::TooLarge { bytes: long.len() }));
}

/// The length of the bucket's name keeps bucket and key apart, also where it does not fit a byte.
#[test]
fn a_long_bucket_is_not_taken_for_a_short_one() {
    let long = "a".repeat(256);
    let context = codec().seal(&long, b"", &Causality::new(), Timestamp(1));
    assert_eq!(codec().open("", long.as_bytes(), &context), Err(ContextError::OtherKey));
}

#[test]
fn arbitrary_bytes_open_nothing() {
    bolero::check!().with_iterations(50_000).for_each(|bytes: &[u8]| {
        assert!(codec().open("carts", b"alice", bytes).is_err());
        assert!(codec().open("carts", b"alice", &[&[CONTEXT_FORMAT], bytes].concat()).is_err());
    });
}

#[test]
fn text_that_is_no_context_is_none() {
    assert_eq!(text::decode("not base64!"), None);
    assert_eq!(text::decode(" AQ\n"), Some(vec![1]));
}

#[test]
fn a_codec_does_not_print_its_secret() {
    assert_eq!(format!("{:?}", codec()), "ContextCodec { secret: .. }");
}
