//! Format 1 as it stands on disks, on the wire and with clients: what these bytes say may never change.

use bytes::Bytes;
use dynamo_version::{Actor, Causality, ContextCodec, DecodeError, Dot, Mode, Payload, SiblingSet, Timestamp, text};

const STATE: &str = concat!(
    "01",                               // format
    "02",                               // two actors in the vector
    "00000000000000000000000000000001", // node 1
    "01ac02",                           // incarnation 1, key epoch 300
    "01",                               // its writes up to 1
    "00000000000000000000000000000002", // node 2
    "0101",                             // incarnation 1, key epoch 1
    "01",                               // its writes up to 1
    "01",                               // one detached dot
    "01",                               // of the vector's first actor
    "03",                               // write 3
    "02",                               // two siblings
    "0103",                             // the first actor's write 3
    "0000000000050007",                 // millisecond 5, the 8th moment in it
    "010568656c6c6f",                   // a value of 5 bytes: hello
    "0201",                             // the second actor's write 1
    "0000000000060000",                 // millisecond 6
    "00",                               // a tombstone
);
const DIGEST: u64 = 6_387_442_535_774_404_808;
const CONTEXT: &str = concat!(
    "AeClI_OHeuC7mwgmugIAAAAAAAAAAAAAAAAAAAABAawCAQAAAAAAAAAAAAAAAAAAAAIBAQEB",
    "AQMAAAAAAAYAAIVRK5eTG5VEX9uPyMiHBRw",
);

fn actor(node: u128, key_epoch: u64) -> Actor {
    Actor { node, incarnation: 1, key_epoch }
}

fn state() -> SiblingSet {
    let (first, second) = (actor(1, 300), actor(2, 1));
    let mut set = SiblingSet::new();
    let context: Causality = [Dot { actor: first, counter: 1 }].into_iter().collect();
    let value = Payload::Value(Bytes::from_static(b"hello"));
    set.write(&context, Dot { actor: first, counter: 3 }, Timestamp(5 << 16 | 7), value, Mode::Siblings);
    let nothing = Causality::new();
    set.write(&nothing, Dot { actor: second, counter: 1 }, Timestamp(6 << 16), Payload::Tombstone, Mode::Siblings);
    set
}

fn bytes_of(hex: &str) -> Bytes {
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two hexadecimal digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn codec() -> ContextCodec {
    ContextCodec::new(&[9; 16], "blue")
}

#[test]
fn a_state_of_format_1_is_written_and_read_as_it_was() {
    assert_eq!(state().encode(), bytes_of(STATE));
    assert_eq!(SiblingSet::decode(bytes_of(STATE)), Ok(state()));
}

#[test]
fn replicas_of_different_releases_compare_the_same_digests() {
    assert_eq!(SiblingSet::digest(&bytes_of(STATE)), DIGEST);
}

#[test]
fn a_context_of_format_1_is_sealed_and_opened_as_it_was() {
    let set = state();
    let sealed = codec().seal("carts", b"alice", set.causality(), set.max_timestamp());
    assert_eq!(text::encode(&sealed), CONTEXT);
    let kept = text::decode(CONTEXT).expect("base64url");
    assert_eq!(codec().open("carts", b"alice", &kept), Ok((set.causality().clone(), set.max_timestamp())));
}

#[test]
fn a_small_record_costs_little_more_than_its_value() {
    let mut set = SiblingSet::new();
    let value = Payload::Value(Bytes::from(vec![0; 100]));
    set.write(
        &Causality::new(),
        Dot { actor: actor(u128::MAX, 1_000), counter: 1 },
        Timestamp(1),
        value,
        Mode::Siblings,
    );
    assert_eq!(set.encode().len(), 100 + 36);
}

/// Why the fixture is refused after one piece of its hexadecimal digits was replaced.
fn refusal_of(piece: &str, by: &str) -> &'static str {
    assert_eq!(STATE.matches(piece).count(), 1, "the piece to replace stands once in the fixture");
    match SiblingSet::decode(bytes_of(&STATE.replace(piece, by))) {
        Err(DecodeError::NotCanonical(why)) => why,
        other => panic!("refused for its form, not {other:?}"),
    }
}

#[test]
fn a_second_way_to_write_the_same_state_is_refused() {
    let (first, second) = (format!("{:032x}01ac0201", 1), format!("{:032x}010101", 2));
    let swapped = refusal_of(&format!("{first}{second}"), &format!("{second}{first}"));
    assert_eq!(swapped, "a version vector out of order");
    assert_eq!(refusal_of("01ac0201", "01ac820001"), "a number with leading zeroes");
    assert_eq!(refusal_of("01ac0201", "01ac0200"), "a counter of 0");
    let spelled_out = format!("0100{:032x}01ac0203020103", 1);
    assert_eq!(refusal_of("010103020103", &spelled_out), "an actor spelled out that the vector has");
    assert_eq!(refusal_of("010103020103", "010102020103"), "detached dots out of order");
    assert_eq!(refusal_of("010103020103", "010103020104"), "a sibling that its causality does not cover");
    assert_eq!(refusal_of("020100000000000600", "010300000000000600"), "siblings out of order");
}

#[test]
fn a_written_key_without_a_version_is_refused() {
    // It would read as "nothing there" where writes were acknowledged.
    let empty = format!("0101{:032x}0101010000", 1);
    let refused = SiblingSet::decode(bytes_of(&empty));
    assert_eq!(refused, Err(DecodeError::NotCanonical("a written key without a version")));
}
