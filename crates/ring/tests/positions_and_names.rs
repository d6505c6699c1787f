//! Where a key stands is its MD5, whoever computes it; a node's id reads back from what is printed (§4.2).

mod members;

use dynamo_ring::{NodeId, Partition, Position};
use members::partitions;
use proptest::prelude::*;

proptest! {
    #[test]
    fn ids_read_back_from_what_is_printed(bits: u128) {
        let text = NodeId(bits).to_string();
        prop_assert_eq!(text.len(), 36);
        prop_assert_eq!(text.parse(), Ok(NodeId(bits)));
        prop_assert_eq!(text.to_uppercase().parse(), Ok(NodeId(bits)));
    }

    #[test]
    fn ids_are_ordered_as_they_are_printed(one: u128, other: u128) {
        prop_assert_eq!(NodeId(one).cmp(&NodeId(other)), NodeId(one).to_string().cmp(&NodeId(other).to_string()));
    }

    #[test]
    fn arbitrary_text_is_an_id_only_if_it_prints_as_one(text in ".{0,40}|[0-9a-f+_-]{36}") {
        if let Ok(id) = text.parse::<NodeId>() {
            prop_assert_eq!(id.to_string(), text.to_lowercase());
        }
    }

    #[test]
    fn a_partition_is_an_equal_part_of_the_ring(bits in 0..=16_u32, position: u128) {
        let count = partitions(1 << bits);
        let Partition(index) = count.partition_of(Position(position));
        prop_assert!(count.contains(Partition(index)));
        // Q * position / 2^128, without the overflow.
        let exact = if bits == 0 { 0 } else { position / (1 << (128 - bits)) };
        prop_assert_eq!(u128::from(index), exact);
    }
}

#[test]
fn partitions_begin_and_end_where_they_should() {
    let eight = partitions(8);
    let width = 1_u128 << 125;
    for index in 0..8_u16 {
        let start = width * u128::from(index);
        assert_eq!(eight.partition_of(Position(start)), Partition(index));
        assert_eq!(eight.partition_of(Position(start + (width - 1))), Partition(index));
    }
    assert_eq!(partitions(65_536).partition_of(Position(u128::MAX)), Partition(u16::MAX));
    assert_eq!(partitions(1).partition_of(Position(u128::MAX)), Partition(0));
    assert!(!eight.contains(Partition(8)));
}

/// RFC 1321, A.5.
#[test]
fn positions_are_the_md5_of_the_key() {
    assert_eq!(Position::of(b"").0, 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e);
    assert_eq!(Position::of(b"abc").0, 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72);
    assert_eq!(partitions(16).partition_of(Position::of(b"abc")), Partition(9));
}

#[test]
fn initial_ids_are_named_by_cluster_and_node_together() {
    let id = NodeId::initial("blue", "node-0");
    assert_eq!(id, NodeId::initial("blue", "node-0"));
    assert_ne!(id, NodeId::initial("blue", "node-1"));
    assert_ne!(NodeId::initial("ab", "c"), NodeId::initial("a", "bc"));
    let text = id.to_string();
    assert_eq!(&text[14..15], "3", "version 3");
    assert!(matches!(&text[19..20], "8" | "9" | "a" | "b"), "RFC 9562's variant");
}

#[test]
fn text_that_is_no_uuid_is_no_id() {
    for text in ["", "0", "0f6ac0de7f3e3c6b9a436d1a9d3f2b10", "0f6ac0de-7f3e-3c6b-9a43-6d1a9d3f2b1g"] {
        assert!(text.parse::<NodeId>().is_err(), "{text:?}");
    }
}
