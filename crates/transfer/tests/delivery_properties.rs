//! Properties of hinted handoff that hold whatever the target, the network and the store do (§4.6).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dynamo_ring::NodeId;
use dynamo_transfer::{Delivery, DeliverySettings, Effect, Effects, HintMeta, Refusal};
use proptest::prelude::*;

const SIZE: u32 = 100;
const SETTINGS: DeliverySettings = DeliverySettings {
    window: 3,
    page: 4,
    bytes_per_s: 1_000_000,
    burst_bytes: 250,
    backoff_min_us: 1_000,
    backoff_max_us: 8_000,
    confirm_timeout_us: 20_000,
};

/// The hint store, the target, and what is under way between them.
struct World {
    delivery: Delivery,
    now: u64,
    stored: BTreeMap<Bytes, u64>,
    /// The latest state that anybody stored a hint of.
    latest: BTreeMap<Bytes, u64>,
    received: BTreeSet<(Bytes, u64)>,
    confirmed: BTreeSet<(Bytes, u64)>,
    sends: Vec<(Bytes, u64)>,
    page: Option<(Option<Bytes>, usize)>,
    drops: Vec<(Bytes, u64)>,
    sent_bytes: u64,
    idle: bool,
}

impl World {
    fn new(hints: usize) -> World {
        let stored: BTreeMap<Bytes, u64> = (0..hints as u8).map(|key| (Bytes::from(vec![key]), 1)).collect();
        World {
            delivery: Delivery::new(NodeId(7), SETTINGS, 0),
            now: 0,
            latest: stored.clone(),
            stored,
            received: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            sends: Vec::new(),
            page: None,
            drops: Vec::new(),
            sent_bytes: 0,
            idle: false,
        }
    }

    fn see(&mut self, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::ReadPage { after, limit } => {
                    assert!(self.page.is_none() && limit == SETTINGS.page);
                    self.idle = false;
                    self.page = Some((after, limit));
                }
                Effect::Send { key, .. } => {
                    let Some(&digest) = self.stored.get(&key) else {
                        let mut effects = Effects::new();
                        self.delivery.on_dropped(&key, true, self.now, &mut effects);
                        self.see(effects);
                        continue;
                    };
                    self.sent_bytes += u64::from(SIZE);
                    self.sends.push((key, digest));
                }
                Effect::Drop { key, digest } => {
                    let safe = self.confirmed.contains(&(key.clone(), digest));
                    assert!(safe, "dropped before the target confirmed it");
                    self.drops.push((key, digest));
                }
                Effect::Idle => self.idle = true,
            }
        }
        assert!(self.delivery.progress().in_flight <= SETTINGS.window);
        let earned = u128::from(self.now) * u128::from(SETTINGS.bytes_per_s) / 1_000_000;
        let most = u128::from(SETTINGS.burst_bytes) + earned + u128::from(SIZE);
        assert!(u128::from(self.sent_bytes) <= most, "{} bytes after {} us", self.sent_bytes, self.now);
    }

    fn call(&mut self, input: impl FnOnce(&mut Delivery, u64, &mut Effects)) {
        let mut effects = Effects::new();
        input(&mut self.delivery, self.now, &mut effects);
        self.see(effects);
    }

    fn store_hint(&mut self, key: u8, digest: u64) {
        self.stored.insert(Bytes::from(vec![key]), digest);
        self.latest.insert(Bytes::from(vec![key]), digest);
        self.idle = false;
        self.call(|delivery, now, effects| delivery.on_hint_stored(now, effects));
    }

    fn read_page(&mut self) {
        let Some((after, limit)) = self.page.take() else { return };
        let rest = self.stored.iter().filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
        let mut page: Vec<HintMeta> =
            rest.take(limit + 1).map(|(key, &digest)| HintMeta { key: key.clone(), digest, bytes: SIZE }).collect();
        let end = page.len() <= limit;
        page.truncate(limit);
        self.call(|delivery, now, effects| delivery.on_page(page, end, now, effects));
    }

    fn drop_one(&mut self, which: usize) {
        if self.drops.is_empty() {
            return;
        }
        let (key, digest) = self.drops.swap_remove(which % self.drops.len());
        let same = self.stored.get(&key).is_none_or(|&stored| stored == digest);
        if same {
            self.stored.remove(&key);
        }
        self.call(|delivery, now, effects| delivery.on_dropped(&key, same, now, effects));
    }

    fn confirm_one(&mut self, which: usize, twice: bool) {
        if self.sends.is_empty() {
            return;
        }
        let (key, digest) = self.sends.swap_remove(which % self.sends.len());
        self.received.insert((key.clone(), digest));
        self.confirmed.insert((key.clone(), digest));
        for _ in 0..1 + usize::from(twice) {
            self.call(|delivery, now, effects| delivery.on_confirmed(&key, digest, now, effects));
        }
    }

    fn refuse_one(&mut self, which: usize, refusal: Refusal, random: u64) {
        if self.sends.is_empty() {
            return;
        }
        let (key, _) = self.sends.swap_remove(which % self.sends.len());
        self.call(|delivery, now, effects| delivery.on_refused(&key, refusal, now, random, effects));
    }

    /// From here on everything works: follows what the machine asks for until it is idle.
    fn settle(&mut self) {
        self.call(|delivery, now, effects| delivery.on_target_up(now, effects));
        for _ in 0..10_000 {
            if self.idle && self.page.is_none() && self.drops.is_empty() && self.sends.is_empty() {
                break;
            }
            self.read_page();
            if !self.sends.is_empty() {
                self.confirm_one(0, false);
            } else if !self.drops.is_empty() {
                self.drop_one(0);
            } else if self.page.is_none() && !self.idle {
                let next = self.delivery.next_time().expect("work is left and nothing is under way");
                self.now = self.now.max(next);
                self.call(|delivery, now, effects| delivery.on_time(now, 3, effects));
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Up,
    Down,
    Store(u8, u64),
    Page,
    PageFails(u64),
    Drop(usize),
    Confirm(usize, bool),
    LoseReply(usize),
    Refuse(usize, Refusal, u64),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    use Refusal::*;
    let refusal = prop::sample::select(vec![Unreachable, DiskFull, Overloaded, Sealed, Corrupt, Invalid]);
    prop_oneof![
        2 => Just(Event::Up),
        1 => Just(Event::Down),
        2 => (0..12u8, 2..100u64).prop_map(|(key, digest)| Event::Store(key, digest)),
        3 => Just(Event::Page),
        1 => any::<u64>().prop_map(Event::PageFails),
        3 => (0..64usize).prop_map(Event::Drop),
        4 => (0..64usize, any::<bool>()).prop_map(|(which, twice)| Event::Confirm(which, twice)),
        1 => (0..64usize).prop_map(Event::LoseReply),
        2 => (0..64usize, refusal, any::<u64>()).prop_map(|(which, why, random)| Event::Refuse(which, why, random)),
        3 => (0..30_000u64).prop_map(Event::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_hint_reaches_its_target_before_it_is_dropped(
        hints in 0..15usize,
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut world = World::new(hints);
        for event in events {
            match event {
                Event::Up => world.call(|delivery, now, effects| delivery.on_target_up(now, effects)),
                Event::Down => world.delivery.on_target_down(),
                Event::Store(key, digest) => world.store_hint(key, digest),
                Event::Page => world.read_page(),
                Event::PageFails(random) => {
                    if world.page.take().is_some() {
                        world.call(|delivery, now, effects| delivery.on_page_failed(now, random, effects));
                    }
                }
                Event::Drop(which) => world.drop_one(which),
                Event::Confirm(which, twice) => world.confirm_one(which, twice),
                Event::LoseReply(which) => {
                    if !world.sends.is_empty() {
                        let which = which % world.sends.len();
                        world.sends.swap_remove(which);
                    }
                }
                Event::Refuse(which, why, random) => world.refuse_one(which, why, random),
                Event::Pass(us) => {
                    world.now += us;
                    world.call(|delivery, now, effects| delivery.on_time(now, us, effects));
                }
            }
        }
        world.settle();
        prop_assert!(world.idle && world.delivery.is_idle(), "never idle: {:?}", world.delivery);
        prop_assert!(world.stored.is_empty(), "left: {:?}", world.stored);
        prop_assert_eq!(world.delivery.next_time(), None);
        for (key, digest) in &world.latest {
            prop_assert!(world.received.contains(&(key.clone(), *digest)), "{:?} was not delivered", key);
        }
    }
}

#[test]
fn a_newer_hint_stored_while_the_older_is_in_flight_is_sent_too() {
    let mut world = World::new(1);
    world.call(|delivery, now, effects| delivery.on_target_up(now, effects));
    world.read_page();
    world.store_hint(0, 2);
    world.confirm_one(0, false);
    world.drop_one(0);
    assert_eq!(world.stored.len(), 1, "the newer one stays");
    world.settle();
    assert!(world.stored.is_empty() && world.received.contains(&(Bytes::from_static(&[0]), 2)));
}

#[test]
fn a_target_that_refuses_is_left_alone_for_longer_and_longer() {
    let mut world = World::new(1);
    world.call(|delivery, now, effects| delivery.on_target_up(now, effects));
    world.read_page();
    let mut pauses = Vec::new();
    for _ in 0..6 {
        world.refuse_one(0, Refusal::Overloaded, 0);
        let next = world.delivery.next_time().unwrap();
        pauses.push(next - world.now);
        world.call(|delivery, now, effects| delivery.on_time(now, 0, effects));
        assert!(world.sends.is_empty(), "not before the pause is over");
        world.now = next;
        world.call(|delivery, now, effects| delivery.on_time(now, 0, effects));
        assert_eq!(world.sends.len(), 1);
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 4_000, 4_000]);
}

#[test]
fn hints_that_the_target_was_silent_about_are_sent_again_in_their_order() {
    let mut world = World::new(3);
    world.call(|delivery, now, effects| delivery.on_target_up(now, effects));
    world.read_page();
    let sent = std::mem::take(&mut world.sends);
    assert_eq!(sent.len(), 3);
    world.now += SETTINGS.confirm_timeout_us;
    world.call(|delivery, now, effects| delivery.on_time(now, 0, effects));
    world.now = world.delivery.next_time().unwrap();
    world.call(|delivery, now, effects| delivery.on_time(now, 0, effects));
    assert_eq!(world.sends, sent);
}

#[test]
fn a_damaged_hint_does_not_hold_up_the_others_nor_spin() {
    let mut world = World::new(2);
    world.call(|delivery, now, effects| delivery.on_target_up(now, effects));
    world.read_page();
    let position = world.sends.iter().position(|(key, _)| key[..] == [0]).unwrap();
    world.sends.swap_remove(position);
    world.call(|delivery, now, effects| delivery.on_refused(&[0], Refusal::Corrupt, now, 0, effects));
    world.confirm_one(0, false);
    world.drop_one(0);
    assert_eq!(world.stored.keys().collect::<Vec<_>>(), [&Bytes::from_static(&[0])]);
    assert!(!world.idle && world.page.is_none());
    assert_eq!(world.delivery.next_time(), Some(SETTINGS.backoff_min_us / 2));
}

#[test]
fn a_pass_goes_on_where_it_was_when_the_target_comes_back() {
    let mut world = World::new(10);
    world.call(|delivery, now, effects| delivery.on_target_up(now, effects));
    world.read_page();
    for _ in 0..4 {
        world.now += 1_000;
        world.call(|delivery, now, effects| delivery.on_time(now, 0, effects));
        world.confirm_one(0, false);
        world.drop_one(0);
    }
    assert_eq!(world.page, Some((Some(Bytes::from_static(&[3])), SETTINGS.page)));
    world.delivery.on_target_down();
    world.call(|delivery, now, effects| delivery.on_target_up(now, effects));
    world.read_page();
    assert!(world.sends.iter().all(|(key, _)| key[0] > 3));
}
