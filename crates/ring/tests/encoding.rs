//! A ring comes back from its bytes; what is damaged, or no ring, is refused and never panics.

mod members;

use dynamo_ring::{FORMAT, PartitionCount, Ring, RingError};
use md5::{Digest, Md5};
use members::{clusters, even};
use proptest::{collection, prelude::*, sample::Index};

/// The bytes with a check that fits, so that what stands behind it is reached.
fn checked(body: &[u8]) -> Vec<u8> {
    let sum: [u8; 16] = Md5::digest(body).into();
    [body, &sum[..8]].concat()
}

/// What is taken is a whole ring: it keeps its invariants, and its bytes.
fn takes_only_rings(bytes: &[u8]) {
    if let Ok(ring) = Ring::decode(bytes) {
        assert_eq!(ring.check(), Ok(()));
        assert_eq!(ring.encode(), bytes);
        for partition in ring.partitions().iter() {
            assert_eq!(ring.preference_list(partition).len(), ring.homes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rings_come_back(cluster in clusters()) {
        let ring = cluster.ring();
        let decoded = Ring::decode(&ring.encode()).expect("its own encoding");
        prop_assert_eq!(&decoded, &ring);
        for partition in ring.partitions().iter() {
            prop_assert_eq!(decoded.walk_ids(partition), ring.walk_ids(partition));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damage_is_noticed(at: Index, bit in 0..8_u8, length: Index) {
        let good = even(3, 16, 3, 2).ring().encode();
        let mut bytes = good.clone();
        bytes[at.index(good.len())] ^= 1 << bit;
        prop_assert!(Ring::decode(&bytes).is_err());
        prop_assert!(Ring::decode(&good[..length.index(good.len())]).is_err());
    }

    #[test]
    fn changed_bytes_with_a_fitting_check_never_panic(
        changes in collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut: Index,
    ) {
        let good = even(3, 16, 3, 2).ring().encode();
        let mut body = good[..good.len() - 8].to_vec();
        for (at, value) in changes {
            let at = at.index(body.len());
            body[at] = value;
        }
        takes_only_rings(&checked(&body));
        takes_only_rings(&checked(&body[..cut.index(body.len())]));
    }
}

#[test]
fn each_byte_changed_under_a_fitting_check_never_panics() {
    let good = even(3, 8, 2, 2).ring().encode();
    for at in 0..good.len() - 8 {
        for value in 0..=u8::MAX {
            let mut body = good[..good.len() - 8].to_vec();
            body[at] = value;
            takes_only_rings(&checked(&body));
        }
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
        takes_only_rings(bytes);
        takes_only_rings(&checked(bytes));
        takes_only_rings(&checked(&[&[FORMAT], bytes].concat()));
    });
}

#[test]
fn a_newer_format_is_told_as_such() {
    let mut bytes = even(3, 8, 1, 3).ring().encode();
    bytes[0] = FORMAT + 1;
    assert_eq!(Ring::decode(&bytes), Err(RingError::NewerFormat { found: FORMAT + 1, known: FORMAT }));
}

#[test]
fn bytes_of_no_format_are_not_called_short() {
    let mut bytes = even(3, 8, 1, 3).ring().encode();
    bytes[0] = 0;
    assert_eq!(Ring::decode(&bytes), Err(RingError::Malformed("of no format")));
}

#[test]
fn partition_counts_are_powers_of_two_up_to_65536() {
    for count in 0..=PartitionCount::MAX + 1 {
        let fits = count != 0 && count & (count - 1) == 0 && count <= 65_536;
        assert_eq!(PartitionCount::try_from(count).is_ok(), fits, "{count}");
    }
}
