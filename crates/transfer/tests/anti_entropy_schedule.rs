//! Homes compare what they share: in the end all that differs, each with the other, and no more than that (§4.7).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use dynamo_merkle::{PeerError, Roots, RootsAnswer};
use dynamo_ring::NodeId;
use dynamo_transfer::{
    DecodeError, Ended, FORMAT, RootsQuestion, RootsReply, Schedule, ScheduleEffect, ScheduleEffects, ScheduleSettings,
    digest_of,
};
use proptest::{collection::vec, prelude::*};

const SECOND: u64 = 1_000_000;
const SETTINGS: ScheduleSettings = ScheduleSettings {
    interval_us: SECOND,
    parallel: 2,
    reply_timeout_us: 3 * SECOND,
    backoff_min_us: SECOND,
    backoff_max_us: 8 * SECOND,
};
const COMPLETE: Ended = Ended::Complete { sealed: false, whole: true, equal: false };

#[derive(Clone, Debug)]
enum Event {
    Question { from: usize, to: usize, question: RootsQuestion },
    Reply { from: usize, to: usize, reply: RootsReply },
    Compared { by: usize, with: usize, partition: u16 },
}

/// Three nodes, all of them homes of all partitions, whose contents are numbers of which the greater one wins.
struct Cluster {
    now: u64,
    nodes: Vec<Schedule>,
    roots: Vec<Vec<u64>>,
    up: Vec<bool>,
    events: VecDeque<(u64, Event)>,
    running: BTreeSet<(usize, usize, u16)>,
    /// What happens to questions and comparisons, in turn, until it is used up: then all is well.
    mishaps: VecDeque<bool>,
    asked: usize,
    asked_each: usize,
    compared: Vec<(usize, usize, u16)>,
    takes_us: u64,
}

fn id(node: usize) -> NodeId {
    NodeId(node as u128 + 1)
}

fn node(id: NodeId) -> usize {
    id.0 as usize - 1
}

impl Cluster {
    fn new(roots: Vec<Vec<u64>>) -> Cluster {
        let count = roots.len();
        let partitions = roots[0].len() as u16;
        let all: Vec<NodeId> = (0..count).map(id).collect();
        let schedule = |node: usize| {
            let mut schedule = Schedule::new(id(node), SETTINGS, 0, 333_333 * node as u64);
            schedule.set_ring(1, (0..partitions).map(|partition| (partition, all.clone())), 0);
            all.iter().for_each(|&peer| schedule.set_up(peer, true));
            schedule
        };
        Cluster {
            now: 0,
            nodes: (0..count).map(schedule).collect(),
            roots,
            up: vec![true; count],
            events: VecDeque::new(),
            running: BTreeSet::new(),
            mishaps: VecDeque::new(),
            asked: 0,
            asked_each: 0,
            compared: Vec::new(),
            takes_us: SECOND / 10,
        }
    }

    fn set_up(&mut self, node: usize, up: bool) {
        self.up[node] = up;
        self.nodes.iter_mut().for_each(|schedule| schedule.set_up(id(node), up));
    }

    fn told(
        &mut self,
        at: usize,
        input: impl FnOnce(&mut Schedule, u64, &dyn Fn(u16) -> Option<u64>, &mut ScheduleEffects),
    ) {
        let mut effects = ScheduleEffects::new();
        let roots = &self.roots[at];
        input(&mut self.nodes[at], self.now, &|partition| roots.get(usize::from(partition)).copied(), &mut effects);
        for effect in effects {
            match effect {
                ScheduleEffect::Ask { peer, question } => {
                    let to = node(peer);
                    assert!(self.up[to] && to != at, "asks one that is down");
                    self.asked += 1;
                    self.asked_each += usize::from(matches!(question, RootsQuestion::Each(_)));
                    if !self.mishaps.pop_front().unwrap_or(false) {
                        self.later(1_000, Event::Question { from: at, to, question });
                    }
                }
                ScheduleEffect::Compare { partition, peer } => {
                    let with = node(peer);
                    assert!(self.up[with] && with != at, "compares with one that is down");
                    assert!(self.running.insert((at, with, partition)), "twice the same at once");
                    self.compared.push((at, with, partition));
                    self.later(self.takes_us, Event::Compared { by: at, with, partition });
                }
            }
        }
        let own = self.running.iter().filter(|(by, _, _)| *by == at).count();
        assert!(own <= SETTINGS.parallel && own == self.nodes[at].running());
    }

    fn later(&mut self, us: u64, event: Event) {
        let at = self.now + us;
        let place = self.events.partition_point(|&(other, _)| other <= at);
        self.events.insert(place, (at, event));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Question { from, to, question } => {
                let question = RootsQuestion::decode(&question.encode().into()).expect("was one");
                let roots = &self.roots[to];
                let root_of = |partition: u16| roots.get(usize::from(partition)).copied();
                let reply = self.nodes[to].answer(id(from), &question, root_of);
                self.later(1_000, Event::Reply { from: to, to: from, reply });
            }
            Event::Reply { from, to, reply } => {
                let reply = RootsReply::decode(&reply.encode().into()).expect("was one");
                self.told(to, |schedule, now, root_of, effects| {
                    schedule.on_reply(id(from), reply, now, root_of, effects).expect("an honest peer");
                });
            }
            Event::Compared { by, with, partition } => {
                self.running.remove(&(by, with, partition));
                let ended = if self.mishaps.pop_front().unwrap_or(false) { Ended::Silent } else { COMPLETE };
                if ended == COMPLETE {
                    let at = usize::from(partition);
                    let joined = self.roots[by][at].max(self.roots[with][at]);
                    (self.roots[by][at], self.roots[with][at]) = (joined, joined);
                }
                self.told(by, |schedule, now, _, effects| {
                    schedule.on_compared(partition, id(with), &ended, now, effects);
                });
            }
        }
    }

    fn run_until(&mut self, end: u64) {
        loop {
            let event = self.events.front().map_or(u64::MAX, |&(at, _)| at);
            let timer = self.nodes.iter().filter_map(Schedule::next_time).min().unwrap_or(u64::MAX);
            let next = event.min(timer).max(self.now);
            if next > end {
                break;
            }
            self.now = next;
            if event <= next {
                let (_, event) = self.events.pop_front().expect("just seen");
                self.happen(event);
            } else {
                let due = |schedule: &Schedule| schedule.next_time().is_some_and(|at| at <= next);
                let at = self.nodes.iter().position(due).expect("one of them");
                self.told(at, |schedule, now, root_of, effects| schedule.on_time(now, root_of, effects));
                assert!(self.nodes[at].next_time().is_none_or(|at| at > next), "spins");
            }
        }
        self.now = end;
    }

    fn run(&mut self, us: u64) {
        self.run_until(self.now + us);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn after_trouble_all_that_differs_is_compared_and_everybody_knows_what_is_equal(
        roots in vec(vec(1u64..4, 5), 3),
        mishaps in vec(any::<bool>(), 0..40),
        downs in vec((0usize..3, any::<bool>(), 0..3 * SECOND), 0..10),
        writes in vec((0usize..3, 0usize..5, 0..3 * SECOND), 0..10),
        takes_us in prop_oneof![Just(SECOND / 10), Just(4 * SECOND)],
    ) {
        let mut cluster = Cluster::new(roots);
        cluster.takes_us = takes_us;
        cluster.mishaps = mishaps.into();
        for (node, up, us) in downs {
            cluster.set_up(node, up);
            cluster.run(us);
        }
        for (at, (node, partition, us)) in writes.into_iter().enumerate() {
            cluster.roots[node][partition] = 10 + at as u64;
            cluster.run(us);
        }
        (0..3).for_each(|node| cluster.set_up(node, true));
        // The longest pause, and then some rounds with each of the peers; what lost its turn has it again.
        cluster.mishaps.clear();
        cluster.run(120 * SECOND);
        prop_assert!(cluster.roots[0] == cluster.roots[1] && cluster.roots[1] == cluster.roots[2], "{:?}", cluster.roots);
        for (node, schedule) in cluster.nodes.iter().enumerate() {
            for (peer, partition) in (0..3).filter(|&peer| peer != node).flat_map(|peer| (0..5).map(move |at| (peer, at))) {
                let last = schedule.last_equal(partition, id(peer));
                prop_assert!(last.is_some_and(|at| at + 10 * SECOND > cluster.now), "{:?} at {}", last, cluster.now);
            }
        }
        // And then nothing is compared, and only digests are asked for.
        let before = (cluster.compared.len(), cluster.asked_each, cluster.asked);
        cluster.run(20 * SECOND);
        prop_assert_eq!((cluster.compared.len(), cluster.asked_each), (before.0, before.1));
        prop_assert_eq!(cluster.asked - before.2, 3 * 20, "one a second for each node");
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_have_one_spelling(bytes in vec(any::<u8>(), 0..40), kind in 9u8..15) {
        for bytes in [bytes.clone(), [&[FORMAT, kind], &bytes[..]].concat()] {
            let bytes = Bytes::from(bytes);
            if let Ok(question) = RootsQuestion::decode(&bytes) {
                prop_assert_eq!(question.encode(), &bytes[..]);
            }
            if let Ok(reply) = RootsReply::decode(&bytes) {
                prop_assert_eq!(reply.encode(), &bytes[..]);
            }
        }
    }
}

/// Two nodes, of which this is node 1 or 2.
struct Alone {
    schedule: Schedule,
    peer: NodeId,
    roots: BTreeMap<u16, u64>,
}

impl Alone {
    fn new(node: u128, partitions: u16) -> Alone {
        let mut schedule = Schedule::new(NodeId(node), SETTINGS, 0, 0);
        let both = vec![NodeId(1), NodeId(2)];
        schedule.set_ring(5, (0..partitions).map(|partition| (partition, both.clone())), 0);
        let roots = (0..partitions).map(|partition| (partition, 7)).collect();
        Alone { schedule, peer: NodeId(3 - node), roots }
    }

    fn told(
        &mut self,
        input: impl FnOnce(&mut Schedule, &dyn Fn(u16) -> Option<u64>, &mut ScheduleEffects),
    ) -> Vec<ScheduleEffect> {
        let mut effects = ScheduleEffects::new();
        let roots = &self.roots;
        input(&mut self.schedule, &|partition| roots.get(&partition).copied(), &mut effects);
        effects.to_vec()
    }

    fn time(&mut self, now: u64) -> Vec<ScheduleEffect> {
        self.told(|schedule, root_of, effects| schedule.on_time(now, root_of, effects))
    }

    fn reply(&mut self, reply: RootsReply, now: u64) -> Vec<ScheduleEffect> {
        let peer = self.peer;
        self.told(|schedule, root_of, effects| schedule.on_reply(peer, reply, now, root_of, effects).expect("honest"))
    }

    fn compared(&mut self, partition: u16, ended: Ended, now: u64) -> Vec<ScheduleEffect> {
        let peer = self.peer;
        self.told(|schedule, _, effects| schedule.on_compared(partition, peer, &ended, now, effects))
    }

    /// A round in which these differ. Returns what it does then.
    fn round(&mut self, now: u64, differing: &[u16], refused: &[u16]) -> Vec<ScheduleEffect> {
        let effects = self.time(now);
        let Some(ScheduleEffect::Ask { question: RootsQuestion::Digest { round, epoch: 5, digest }, .. }) =
            effects.last()
        else {
            panic!("{effects:?}");
        };
        assert_eq!(*digest, digest_of(self.roots.clone()));
        let effects = self.reply(RootsReply::Digest { round: *round, epoch: 5, same: false }, now);
        let [ScheduleEffect::Ask { question: RootsQuestion::Each(roots), .. }] = &effects[..] else {
            panic!("{effects:?}");
        };
        assert_eq!(roots.roots, self.roots.clone().into_iter().collect::<Vec<_>>());
        let (differing, refused) = (differing.to_vec(), refused.to_vec());
        self.reply(RootsReply::Each(RootsAnswer { round: roots.round, epoch: 5, differing, refused }), now)
    }

    fn compares(&self, partitions: &[u16]) -> Vec<ScheduleEffect> {
        let compare = |&partition: &u16| ScheduleEffect::Compare { partition, peer: self.peer };
        partitions.iter().map(compare).collect()
    }
}

#[test]
fn of_two_that_see_the_same_difference_the_one_with_the_lower_id_goes_first() {
    let mut lower = Alone::new(1, 3);
    lower.schedule.set_up(NodeId(2), true);
    assert_eq!(lower.round(0, &[1], &[]), lower.compares(&[1]));

    let mut higher = Alone::new(2, 3);
    higher.schedule.set_up(NodeId(1), true);
    assert_eq!(higher.round(0, &[1], &[]), []);
    assert_eq!(higher.round(SECOND, &[1, 2], &[]), higher.compares(&[1]), "still there a round later");
    assert_eq!(higher.compared(1, COMPLETE, SECOND), []);

    // The other one is at it by now; and then, it was and is not.
    higher.schedule.on_asked(2, NodeId(1));
    assert_eq!(higher.round(2 * SECOND, &[2], &[]), []);
    assert_eq!(higher.round(3 * SECOND, &[2], &[]), higher.compares(&[2]));
}

#[test]
fn what_was_equal_longest_ago_goes_first_and_only_so_many_at_once() {
    let mut alone = Alone::new(1, 4);
    alone.schedule.set_up(NodeId(2), true);
    assert_eq!(alone.round(0, &[0, 1, 2, 3], &[]), alone.compares(&[0, 1]));
    assert_eq!(alone.compared(0, COMPLETE, 10), alone.compares(&[2]));
    assert_eq!(alone.compared(1, COMPLETE, 20), alone.compares(&[3]));
    assert_eq!((alone.compared(2, COMPLETE, 30), alone.compared(3, COMPLETE, 30)), (vec![], vec![]));
    // When it began counts: what was written since may be missing.
    let last = |alone: &Alone| [0, 1, 2, 3].map(|partition| alone.schedule.last_equal(partition, NodeId(2)));
    assert_eq!(last(&alone), [Some(0), Some(0), Some(10), Some(20)]);
    assert_eq!(alone.schedule.stalest(), Some((0, NodeId(2), 0)));
    // Partitions 0 and 1 are found equal, of 2 and 3 nothing is heard.
    assert_eq!(alone.round(SECOND, &[], &[2, 3]), []);
    assert_eq!(last(&alone), [Some(SECOND), Some(SECOND), Some(10), Some(20)]);
    assert_eq!(alone.schedule.stalest(), Some((2, NodeId(2), 10)));
    assert_eq!(alone.round(2 * SECOND, &[0, 1, 2, 3], &[]), alone.compares(&[2, 3]));
    assert_eq!(alone.compared(3, COMPLETE, 2 * SECOND), alone.compares(&[0]));
}

#[test]
fn what_is_under_way_is_not_begun_again() {
    let mut alone = Alone::new(1, 2);
    alone.schedule.set_up(NodeId(2), true);
    assert_eq!(alone.round(0, &[0], &[]), alone.compares(&[0]));
    assert_eq!(alone.round(SECOND, &[0], &[]), []);
    assert_eq!(alone.compared(0, COMPLETE, 2 * SECOND), [], "what was seen meanwhile is what was compared");
}

#[test]
fn what_became_equal_by_itself_is_as_if_nothing_had_been() {
    let mut higher = Alone::new(2, 1);
    higher.schedule.set_up(NodeId(1), true);
    assert_eq!(higher.round(0, &[0], &[]), []);
    assert_eq!(higher.round(SECOND, &[], &[]), []);
    assert_eq!(higher.round(2 * SECOND, &[0], &[]), [], "another difference, which is again the other one's first");

    let mut lower = Alone::new(1, 1);
    lower.schedule.set_up(NodeId(2), true);
    assert_eq!(lower.round(0, &[0], &[]), lower.compares(&[0]));
    assert_eq!(lower.compared(0, Ended::Silent, SECOND / 2), []);
    assert_eq!(lower.round(SECOND, &[], &[]), []);
    assert_eq!(lower.time(2 * SECOND - 1), [], "the pause is over, and nothing is to be done");
    assert_eq!(lower.round(2 * SECOND, &[0], &[]), lower.compares(&[0]));
    assert_eq!(lower.compared(0, Ended::Silent, 2 * SECOND), []);
    // The second failure, and a first one again: the pause is as short as the first.
    assert_eq!(lower.time(3 * SECOND).last(), lower.compares(&[0]).last());
}

#[test]
fn roots_are_equal_as_of_when_they_were_sent() {
    let mut alone = Alone::new(1, 1);
    alone.schedule.set_up(NodeId(2), true);
    alone.time(0);
    alone.reply(RootsReply::Digest { round: 1, epoch: 5, same: false }, 10);
    let answer = RootsAnswer { round: 1, epoch: 5, differing: vec![], refused: vec![] };
    alone.reply(RootsReply::Each(answer), 20);
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), Some(10));
}

#[test]
fn what_the_peer_does_not_serve_is_not_equal() {
    let mut alone = Alone::new(1, 2);
    alone.schedule.set_up(NodeId(2), true);
    assert_eq!(alone.round(5, &[], &[1]), []);
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), Some(5));
    assert_eq!(alone.schedule.last_equal(1, NodeId(2)), None);
    assert_eq!(alone.schedule.last_equal(0, NodeId(9)), None);
}

#[test]
fn an_answer_of_another_epoch_says_nothing() {
    let mut alone = Alone::new(1, 2);
    alone.schedule.set_up(NodeId(2), true);
    alone.time(0);
    assert_eq!(alone.reply(RootsReply::Digest { round: 1, epoch: 6, same: true }, 1), []);
    alone.time(SECOND);
    alone.reply(RootsReply::Digest { round: 2, epoch: 5, same: false }, SECOND);
    let answer = RootsAnswer { round: 2, epoch: 4, differing: vec![], refused: vec![] };
    assert_eq!(alone.reply(RootsReply::Each(answer), SECOND), []);
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), None);
}

#[test]
fn replies_that_are_not_waited_for_say_nothing() {
    let mut alone = Alone::new(1, 2);
    alone.schedule.set_up(NodeId(2), true);
    let same = |round| RootsReply::Digest { round, epoch: 5, same: true };
    let none_differs = |round| RootsReply::Each(RootsAnswer { round, epoch: 5, differing: vec![], refused: vec![] });
    alone.reply(same(0), 0);
    alone.time(0);
    for reply in [same(0), same(2), none_differs(1)] {
        alone.reply(reply, 0);
    }
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), None);
    alone.reply(same(1), 9);
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), Some(0), "as of when it was asked");
    // The answer of another ring's time: the partitions may be others.
    alone.time(SECOND);
    alone.schedule.set_ring(6, [(0, vec![NodeId(1), NodeId(2)]), (1, vec![NodeId(3)])], SECOND);
    alone.reply(RootsReply::Digest { round: 2, epoch: 6, same: true }, SECOND);
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), Some(0));
    assert_eq!(alone.schedule.last_equal(1, NodeId(2)), None);
}

#[test]
fn an_answer_that_cannot_be_is_an_error_and_the_peer_is_left_alone_for_a_while() {
    let mut alone = Alone::new(1, 2);
    alone.schedule.set_up(NodeId(2), true);
    alone.time(0);
    alone.reply(RootsReply::Digest { round: 1, epoch: 5, same: false }, 0);
    let bad = RootsReply::Each(RootsAnswer { round: 1, epoch: 5, differing: vec![9], refused: vec![] });
    let mut effects = ScheduleEffects::new();
    let told = alone.schedule.on_reply(NodeId(2), bad, SECOND - 1, |_| Some(7), &mut effects);
    assert_eq!((told, effects.len()), (Err(PeerError::NotAsked), 0));
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), None);
    assert_eq!(alone.time(SECOND), []);
    assert_eq!(alone.time(2 * SECOND).len(), 1);
}

#[test]
fn a_silent_peer_is_left_alone_for_longer_and_longer() {
    let mut alone = Alone::new(1, 1);
    alone.schedule.set_up(NodeId(2), true);
    let mut asked_at = Vec::new();
    for _ in 0..200 {
        let now = alone.schedule.next_time().expect("a peer is up");
        if !alone.time(now).is_empty() {
            asked_at.push(now / SECOND);
        }
    }
    asked_at.truncate(8);
    let pauses: Vec<u64> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses, [4, 5, 7, 11, 11, 11, 11], "three seconds of silence, and one, two, four, eight, eight ..");
    // It was down, and is back: nothing is waited for.
    alone.schedule.set_up(NodeId(2), false);
    assert_eq!(alone.schedule.next_time(), None);
}

#[test]
fn silence_is_noticed_before_the_next_round() {
    let settings = ScheduleSettings { reply_timeout_us: 1_000, ..SETTINGS };
    let mut schedule = Schedule::new(NodeId(1), settings, 0, 0);
    schedule.set_ring(5, [(0, vec![NodeId(2)])], 0);
    schedule.set_up(NodeId(2), true);
    schedule.on_time(0, |_| Some(7), &mut ScheduleEffects::new());
    assert_eq!(schedule.next_time(), Some(1_000));
    schedule.on_time(1_000, |_| Some(7), &mut ScheduleEffects::new());
    assert_eq!(schedule.next_time(), Some(SECOND));
}

#[test]
fn a_comparison_that_failed_is_begun_again_after_a_pause() {
    let mut alone = Alone::new(1, 1);
    alone.schedule.set_up(NodeId(2), true);
    assert_eq!(alone.round(0, &[0], &[]), alone.compares(&[0]));
    assert_eq!(alone.compared(0, Ended::Silent, 10), []);
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), None);
    assert_eq!(alone.schedule.next_time(), Some(SECOND));
    alone.round(SECOND, &[0], &[]);
    assert_eq!(alone.schedule.next_time(), Some(SECOND + 10));
    assert_eq!(alone.time(SECOND + 10), alone.compares(&[0]));
    assert_eq!(alone.compared(0, Ended::Partial { keys: 1 }, SECOND + 20), []);
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), None);
    assert_eq!(alone.time(3 * SECOND + 19).len(), 1, "only the round");
    assert_eq!(alone.time(3 * SECOND + 20), alone.compares(&[0]));
    assert_eq!(alone.compared(0, COMPLETE, 4 * SECOND), []);
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), Some(3 * SECOND + 20));
    alone.compared(0, Ended::Silent, 5 * SECOND);
    assert_eq!(alone.time(6 * SECOND), [], "what is reported twice counts once");
}

#[test]
fn a_pair_that_is_gone_frees_its_slot_and_one_that_stays_keeps_what_is_known() {
    let mut alone = Alone::new(1, 3);
    alone.schedule.set_up(NodeId(2), true);
    alone.round(7, &[0, 1], &[]);
    assert_eq!(alone.schedule.running(), 2);
    let both = vec![NodeId(1), NodeId(2)];
    alone.schedule.set_ring(6, [(2, both.clone()), (3, both)], SECOND);
    alone.compared(0, Ended::Outdated, SECOND);
    assert_eq!(alone.schedule.running(), 1);
    assert_eq!(alone.schedule.last_equal(2, NodeId(2)), Some(7));
    assert_eq!(alone.schedule.last_equal(0, NodeId(2)), None);
    assert_eq!(alone.schedule.stalest(), Some((2, NodeId(2), 7)));
}

#[test]
fn a_partition_whose_tree_is_not_there_is_left_out_and_refused() {
    let mut alone = Alone::new(1, 3);
    alone.schedule.set_up(NodeId(2), true);
    alone.roots.remove(&1);
    assert_eq!(alone.round(0, &[], &[]), []);
    assert_eq!([0, 1, 2].map(|partition| alone.schedule.last_equal(partition, NodeId(2))), [Some(0), None, Some(0)]);

    let roots = &alone.roots;
    let root_of = |partition: u16| roots.get(&partition).copied().or((partition == 9).then_some(7));
    let asked = Roots { round: 4, epoch: 5, roots: vec![(0, 7), (1, 7), (2, 8), (9, 7)] };
    let answer = alone.schedule.answer(NodeId(2), &RootsQuestion::Each(asked), root_of);
    let expected = RootsAnswer { round: 4, epoch: 5, differing: vec![2], refused: vec![1, 9] };
    assert_eq!(answer, RootsReply::Each(expected), "partition 9 is not shared");
}

#[test]
fn a_digest_is_the_same_only_in_the_same_epoch_and_of_the_same_roots() {
    let alone = Alone::new(1, 2);
    let told = |peer: u128, epoch: u64, roots: &[(u16, u64)]| {
        let question = RootsQuestion::Digest { round: 4, epoch, digest: digest_of(roots.iter().copied()) };
        let root_of = |partition: u16| alone.roots.get(&partition).copied();
        match alone.schedule.answer(NodeId(peer), &question, root_of) {
            RootsReply::Digest { round: 4, epoch: 5, same } => same,
            other => panic!("{other:?}"),
        }
    };
    assert!(told(2, 5, &[(0, 7), (1, 7)]));
    assert!(!told(2, 6, &[(0, 7), (1, 7)]));
    assert!(!told(2, 5, &[(0, 7)]));
    assert!(!told(2, 5, &[(0, 7), (1, 8)]));
    assert!(!told(2, 5, &[(0, 8), (1, 6)]));
    assert!(!told(3, 5, &[(0, 7), (1, 7)]), "nothing is shared with node 3");
}

/// Written down, so that a change of the format does not slip in.
#[test]
fn format_1_is_as_it_was() {
    let digest = [1, 2, 3, 4, 5, 6, 7, 8];
    let question = RootsQuestion::Digest { round: 300, epoch: 5, digest: u64::from_be_bytes(digest) };
    assert_eq!(question.encode(), [&[1, 10, 0xac, 2, 5][..], &digest].concat());
    assert_eq!(RootsReply::Digest { round: 1, epoch: 5, same: true }.encode(), [1, 12, 1, 5, 1]);
    let newer = Bytes::from_static(&[FORMAT + 1, 10]);
    assert_eq!(RootsQuestion::decode(&newer), Err(DecodeError::NewerFormat { found: FORMAT + 1 }));
    let trailing = Bytes::from_static(&[1, 12, 1, 5, 1, 0]);
    assert_eq!(RootsReply::decode(&trailing), Err(DecodeError::TrailingBytes));
    assert_eq!(
        RootsReply::decode(&question.encode().into()),
        Err(DecodeError::NotCanonical("an answer of unknown kind"))
    );
}
