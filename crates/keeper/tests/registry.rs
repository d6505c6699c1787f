//! Who may vote as one of the first members, and what a disk that fails makes of votes and changes.

use dynamo_keeper::ChangeError;
use dynamo_keeper::registry::{Kept, LIVES_KEY, Registry, RegistryEffect, STATE_KEY, Write};
use dynamo_ring::charter::Charter;
use dynamo_ring::register::{Answer, Ask, Ballot, Request, Voter};
use dynamo_ring::{Member, NodeId, PartitionCount, Ring};

const S: u64 = 1_000_000;

fn first(nodes: u128) -> Charter {
    let member = |id: u128| Member { id: NodeId(id), name: format!("n{id}"), zone: "z".into(), weight: 1 };
    let members = (1..=nodes).map(member).collect();
    Charter::first(Ring::bootstrap(3, PartitionCount::try_from(8).unwrap(), members).unwrap())
}

fn registry(nodes: u128, kept: &Kept) -> Registry {
    Registry::new(NodeId(1), 70, &first(nodes), kept).unwrap()
}

fn effects(step: impl FnOnce(&mut Vec<RegistryEffect>)) -> Vec<RegistryEffect> {
    let mut effects = Vec::new();
    step(&mut effects);
    effects
}

/// What was to be kept under a name, and by which write.
fn put(effects: &[RegistryEffect], under: &str) -> Option<(Write, bytes::Bytes)> {
    effects.iter().find_map(|effect| match effect {
        RegistryEffect::Put { write, key, value } if *key == under => Some((*write, value.clone())),
        _ => None,
    })
}

fn prepare(to: Voter, counter: u64) -> Request {
    Request { to, ballot: Ballot { counter, proposer: Voter { id: NodeId(2), incarnation: 0 } }, ask: Ask::Prepare }
}

const FOUNDER: Voter = Voter { id: NodeId(1), incarnation: 0 };

#[test]
fn a_first_member_votes_once_a_majority_of_the_others_noted_its_disk_first() {
    let mut registry = registry(5, &Kept::default());
    let asked = effects(|effects| registry.on_time(S, 1, effects));
    let asked: Vec<_> = asked.iter().filter(|effect| matches!(effect, RegistryEffect::Attest(_))).collect();
    assert_eq!((asked.len(), registry.votes()), (4, false));
    for id in [2, 3] {
        let told = effects(|effects| registry.on_attested(NodeId(id), 70, effects));
        assert!(told.is_empty() && !registry.votes());
    }
    // Twice from one node is one.
    effects(|effects| registry.on_attested(NodeId(3), 70, effects));
    effects(|effects| registry.on_attested(NodeId(99), 70, effects));
    assert!(!registry.votes());
    let told = effects(|effects| registry.on_attested(NodeId(4), 70, effects));
    assert!(registry.votes());
    // A restart finds it on the disk.
    let lives = put(&told, LIVES_KEY).map(|(_, value)| value);
    let again = self::registry(5, &Kept { lives, ..Kept::default() });
    assert!(again.votes() && again.to_admit().is_none());
}

#[test]
fn a_new_life_of_a_disk_has_neither_the_vote_nor_the_promises_of_the_old_one() {
    let mut old = registry(3, &Kept::default());
    effects(|effects| old.on_attested(NodeId(2), 70, effects));
    let lives = put(&effects(|effects| old.on_attested(NodeId(3), 70, effects)), LIVES_KEY).map(|(_, value)| value);
    let state =
        put(&effects(|effects| old.on_vote(1, prepare(FOUNDER, 9), effects)), STATE_KEY).map(|(_, value)| value);
    let kept = Kept { lives, state, ..Kept::default() };
    assert!(registry(3, &kept).votes());
    let mut new = Registry::new(NodeId(1), 71, &first(3), &kept).unwrap();
    assert!(!new.votes());
    // Those who noted the old life say so, and it has to be admitted.
    effects(|effects| new.on_attested(NodeId(2), 70, effects));
    assert_eq!((new.first_life(), new.to_admit()), (Some(70), Some(71)));
    let told = effects(|effects| new.on_vote(5, prepare(FOUNDER, 3), effects));
    let [RegistryEffect::Voted { reply, .. }] = &told[..] else { panic!("{told:?}") };
    assert!(matches!(reply.answer, Answer::Elsewhere { me } if me.incarnation == 71));
    // What it noted of others it noted on this disk, whatever its life.
    let noted = effects(|effects| old.on_attest(NodeId(2), 8, 41, effects));
    let kept = Kept { lives: put(&noted, LIVES_KEY).map(|(_, value)| value), ..Kept::default() };
    let mut new = Registry::new(NodeId(1), 71, &first(3), &kept).unwrap();
    let told = effects(|effects| new.on_attest(NodeId(2), 3, 42, effects));
    assert_eq!(told, [RegistryEffect::Attested { call: 3, incarnation: 41 }]);
}

#[test]
fn a_later_life_never_votes_as_the_first_and_asks_to_be_admitted() {
    let mut registry = registry(3, &Kept::default());
    effects(|effects| registry.on_attested(NodeId(2), 70, effects));
    effects(|effects| registry.on_attested(NodeId(3), 69, effects));
    effects(|effects| registry.on_attested(NodeId(2), 70, effects));
    assert!(!registry.votes());
    assert_eq!((registry.to_admit(), registry.first_life()), (Some(70), Some(69)));
    let told = effects(|effects| registry.on_vote(5, prepare(FOUNDER, 3), effects));
    let [RegistryEffect::Voted { call: 5, reply }] = &told[..] else { panic!("{told:?}") };
    assert!(matches!(reply.answer, Answer::Elsewhere { .. }));
}

#[test]
fn a_node_notes_one_life_of_another_and_says_so_once_its_disk_does() {
    let mut registry = registry(3, &Kept::default());
    let told = effects(|effects| registry.on_attest(NodeId(2), 8, 41, effects));
    let (write, lives) = put(&told, LIVES_KEY).unwrap();
    assert_eq!(told.len(), 1);
    // Asked again meanwhile, by the next life of that disk.
    assert!(effects(|effects| registry.on_attest(NodeId(2), 9, 42, effects)).is_empty());
    let told = effects(|effects| registry.on_kept(write, true, S, effects));
    let attested = |call| RegistryEffect::Attested { call, incarnation: 41 };
    assert_eq!(told, [attested(8), attested(9)]);
    // And after a restart.
    let mut again = self::registry(3, &Kept { lives: Some(lives), ..Kept::default() });
    assert_eq!(effects(|effects| again.on_attest(NodeId(2), 1, 43, effects)), [attested(1)]);
}

#[test]
fn a_node_alone_needs_nobody() {
    let mut registry = registry(1, &Kept::default());
    effects(|effects| registry.on_time(S, 1, effects));
    assert!(registry.votes());
}

#[test]
fn a_promise_is_told_when_it_is_on_disk_and_not_at_all_when_that_fails() {
    let mut registry = registry(1, &Kept::default());
    effects(|effects| registry.on_time(S, 1, effects));
    let told = effects(|effects| registry.on_vote(1, prepare(FOUNDER, 5), effects));
    let (write, _) = put(&told, STATE_KEY).unwrap();
    assert_eq!(told.len(), 1);
    assert!(effects(|effects| registry.on_kept(write, false, S, effects)).is_empty());
    // It is free to take part in an earlier attempt: nobody heard of the later one.
    let told = effects(|effects| registry.on_vote(2, prepare(FOUNDER, 4), effects));
    let (write, _) = put(&told, STATE_KEY).unwrap();
    let told = effects(|effects| registry.on_kept(write, true, S, effects));
    let [RegistryEffect::Voted { call: 2, reply }] = &told[..] else { panic!("{told:?}") };
    assert_eq!(reply.answer, Answer::Promised { accepted: None });
}

#[test]
fn a_change_ends_with_a_reason_when_the_disk_or_the_others_fail() {
    let mut registry = registry(3, &Kept::default());
    let charter = first(3).admit(NodeId(2), None, 9).unwrap();
    let told = effects(|effects| registry.change(4, 1, charter.clone(), S, effects));
    let (write, _) = put(&told, STATE_KEY).unwrap();
    let told = effects(|effects| registry.on_kept(write, false, S, effects));
    assert!(matches!(&told[..], [RegistryEffect::Done { request: 4, result: Err(ChangeError::Unable(_)) }]));
    // Nobody answers.
    let told = effects(|effects| registry.change(5, 1, charter, S, effects));
    let (mut write, _) = put(&told, STATE_KEY).unwrap();
    for second in 1..40 {
        let mut told = effects(|effects| registry.on_kept(write, true, second * S, effects));
        registry.on_time(second * S, 3, &mut told);
        let done = told.iter().find_map(|effect| match effect {
            RegistryEffect::Done { request: 5, result } => Some(result),
            _ => None,
        });
        if let Some(result) = done {
            return assert!(matches!(result, Err(ChangeError::NoMajority(_))), "{result:?}");
        }
        if let Some((next, _)) = put(&told, STATE_KEY) {
            write = next;
        }
    }
    panic!("it never ended");
}

#[test]
fn damaged_values_on_the_disk_are_told_and_nothing_is_voted_on() {
    let damage = Some(bytes::Bytes::from_static(b"rubbish"));
    for kept in [
        Kept { state: damage.clone(), ..Kept::default() },
        Kept { known: damage.clone(), ..Kept::default() },
        Kept { lives: damage.clone(), ..Kept::default() },
    ] {
        let error = Registry::new(NodeId(1), 70, &first(3), &kept).err().expect("it is damaged");
        assert!(error.contains("nothing was changed"), "{error}");
    }
}
