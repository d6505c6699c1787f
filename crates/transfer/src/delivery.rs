//! Delivery of the hints for one target (§4.6).
//!
//! A *pass* reads the target's hints in key order, page by page, and sends them within a window and a rate. A hint is
//! dropped (compared and deleted) only after the target confirmed that very state durably. A pass goes on where it was
//! when the target comes back. Whatever was stored, left behind or changed meanwhile makes another pass; when a pass
//! leaves nothing, the machine is idle. A crash of this node costs nothing but sends that were not confirmed: they are made
//! again.
//!
//! Bounds: at most a page plus a window of hints are in memory. What is beyond stays on disk and is read later.

use std::collections::VecDeque;

use bytes::Bytes;
use dynamo_ring::NodeId;
use smallvec::SmallVec;

use crate::rate::Rate;

/// How fast hints are delivered to one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeliverySettings {
    /// Hints that may be sent and not yet dropped, at least 1. Each event looks at all of them: hundreds, not thousands.
    pub window: usize,
    /// Hints read at once, at least 1.
    pub page: usize,
    /// Rate of what is sent, bytes per second of hints' sizes ([`HintMeta::bytes`]).
    pub bytes_per_s: u64,
    /// What may be sent at once after a rest, bytes. A single larger hint is sent all the same and paid off afterwards.
    pub burst_bytes: u64,
    /// First pause after a failure, microseconds; doubles with each one that follows without a success. A pause lasts half
    /// of it at least, the rest is chance.
    pub backoff_min_us: u64,
    /// Longest pause, microseconds.
    pub backoff_max_us: u64,
    /// Silence, microseconds, after which a sent hint counts as refused.
    pub confirm_timeout_us: u64,
}

/// A hint as the store lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HintMeta {
    /// The record's key, as the hint store spells it. Pages are sorted by it.
    pub key: Bytes,
    /// Digest of the state to deliver, as far as the list knows it: handed back in [`Effect::Send`], never relied upon.
    pub digest: u64,
    /// What it weighs against the rate, bytes.
    pub bytes: u32,
}

/// Why a hint was not delivered: for the first three no other would be, so that delivery pauses; for the others this one
/// waits for the next pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The target cannot be reached.
    Unreachable,
    /// The target's disk is full.
    DiskFull,
    /// The target has too much to do.
    Overloaded,
    /// The target is no longer a home of the key.
    Sealed,
    /// The hint's own record is damaged.
    Corrupt,
    /// The target cannot make sense of this hint.
    Invalid,
}

impl Refusal {
    /// Whether other hints would fare the same.
    fn concerns_target(self) -> bool {
        matches!(self, Refusal::Unreachable | Refusal::DiskFull | Refusal::Overloaded)
    }
}

/// What the driver has to do for a [`Delivery`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Read the next hints for the target, sorted by key; answer with [`Delivery::on_page`] or [`Delivery::on_page_failed`].
    ReadPage {
        /// Only keys greater than this; None: from the first.
        after: Option<Bytes>,
        /// At most so many hints.
        limit: usize,
    },
    /// Send the hint as it is stored now, to be made durable there before it is confirmed; answer with
    /// [`Delivery::on_confirmed`] and the digest of what was sent, with [`Delivery::on_refused`], or with
    /// [`Delivery::on_dropped`] when it is no longer there.
    Send {
        /// Of which record.
        key: Bytes,
        /// As it was listed.
        digest: u64,
    },
    /// Delete the hint if it would still deliver a state of this digest; answer with [`Delivery::on_dropped`].
    Drop {
        /// Of which record.
        key: Bytes,
        /// Of the state that the target confirmed.
        digest: u64,
    },
    /// Nothing is left to deliver, as far as is known. Nothing is to be done.
    Idle,
}

/// Effects in the order in which they have to be carried out.
pub type Effects = SmallVec<[Effect; 4]>;

/// What was done so far, for people and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Hints that the target confirmed; one that changed meanwhile and was sent again counts again.
    pub delivered: u64,
    /// Their sizes together, bytes.
    pub delivered_bytes: u64,
    /// Refusals and silences.
    pub refused: u64,
    /// Hints sent and not answered.
    pub in_flight: usize,
}

#[derive(Debug)]
struct InFlight {
    hint: HintMeta,
    due: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Listing {
    /// The next page is to be read.
    More,
    Reading,
    End,
}

/// Delivers the hints for one target (§4.6).
///
/// Times are microseconds of the driver's monotonic clock. `random` is any number, a new one each time: it makes the pauses
/// of nodes that fail together differ.
///
/// ```
/// use bytes::Bytes;
/// use dynamo_ring::NodeId;
/// use dynamo_transfer::{Delivery, DeliverySettings, Effect, Effects, HintMeta};
///
/// let settings = DeliverySettings {
///     window: 64,
///     page: 128,
///     bytes_per_s: 16 << 20,
///     burst_bytes: 4 << 20,
///     backoff_min_us: 100_000,
///     backoff_max_us: 10_000_000,
///     confirm_timeout_us: 5_000_000,
/// };
/// let mut delivery = Delivery::new(NodeId(3), settings, 0);
/// let mut effects = Effects::new();
/// let told = |effects: &mut Effects| effects.drain(..).collect::<Vec<_>>();
///
/// delivery.on_target_up(10, &mut effects);
/// assert_eq!(told(&mut effects), [Effect::ReadPage { after: None, limit: 128 }]);
/// let key = Bytes::from("cart/17");
/// delivery.on_page(vec![HintMeta { key: key.clone(), digest: 5, bytes: 300 }], true, 20, &mut effects);
/// assert_eq!(told(&mut effects), [Effect::Send { key: key.clone(), digest: 5 }]);
///
/// // A newer write of the record was kept meanwhile, and that was sent: state 6 may be dropped, and nothing else.
/// delivery.on_confirmed(&key, 6, 30, &mut effects);
/// assert_eq!(told(&mut effects), [Effect::Drop { key: key.clone(), digest: 6 }]);
/// delivery.on_dropped(&key, true, 40, &mut effects);
/// assert_eq!(told(&mut effects), [Effect::Idle]);
/// assert_eq!(delivery.progress().delivered, 1);
/// ```
#[derive(Debug)]
pub struct Delivery {
    target: NodeId,
    settings: DeliverySettings,
    up: bool,
    idle: bool,
    listing: Listing,
    /// The last key listed in this pass.
    after: Option<Bytes>,
    queue: VecDeque<HintMeta>,
    in_flight: Vec<InFlight>,
    /// Confirmed, `Drop` not yet answered.
    dropping: Vec<Bytes>,
    /// Another pass is needed: something was stored or changed.
    again: bool,
    /// Another pass is needed after a pause: hints were left behind. Holds the random number for that pause.
    left_behind: Option<u64>,
    /// Failures in a row.
    failures: u32,
    /// No sends and no new pass before.
    pause_until: u64,
    rate: Rate,
    progress: Progress,
}

impl Delivery {
    /// A machine that begins as soon as the target is up ([`Delivery::on_target_up`]). What hints there are it finds out
    /// itself.
    pub fn new(target: NodeId, settings: DeliverySettings, now: u64) -> Delivery {
        Delivery {
            target,
            settings,
            up: false,
            idle: false,
            listing: Listing::More,
            after: None,
            queue: VecDeque::new(),
            in_flight: Vec::new(),
            dropping: Vec::new(),
            again: false,
            left_behind: None,
            failures: 0,
            pause_until: 0,
            rate: Rate::new(settings.bytes_per_s, settings.burst_bytes, now),
            progress: Progress::default(),
        }
    }

    /// For whom the hints are.
    pub fn target(&self) -> NodeId {
        self.target
    }

    /// What was done so far.
    pub fn progress(&self) -> Progress {
        Progress { in_flight: self.in_flight.len(), ..self.progress }
    }

    /// Whether nothing is left to deliver, as far as is known.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// Changes the rate, bytes per second, for a controller that yields to foreground work (§6.5).
    pub fn set_rate(&mut self, bytes_per_s: u64, now: u64) {
        self.rate.set(bytes_per_s, now);
    }

    /// The target can be reached. A pause after earlier failures ends.
    pub fn on_target_up(&mut self, now: u64, effects: &mut Effects) {
        if !self.up {
            self.up = true;
            self.failures = 0;
            self.pause_until = 0;
        }
        self.advance(now, effects);
    }

    /// The target cannot be reached. What was sent and not confirmed is sent again when it is up.
    pub fn on_target_down(&mut self) {
        self.up = false;
        while let Some(sent) = self.in_flight.pop() {
            self.queue.push_front(sent.hint);
        }
    }

    /// A hint for the target was stored.
    pub fn on_hint_stored(&mut self, now: u64, effects: &mut Effects) {
        self.again = true;
        self.idle = false;
        self.advance(now, effects);
    }

    /// The answer to [`Effect::ReadPage`], sorted by key; `end` when there are no more. Unasked for, it is ignored.
    pub fn on_page(&mut self, page: Vec<HintMeta>, end: bool, now: u64, effects: &mut Effects) {
        if self.listing != Listing::Reading {
            return;
        }
        if let Some(last) = page.last() {
            self.after = Some(last.key.clone());
        }
        self.listing = if end || page.is_empty() { Listing::End } else { Listing::More };
        self.queue.extend(page);
        self.advance(now, effects);
    }

    /// The page could not be read; it is read again after a pause.
    pub fn on_page_failed(&mut self, now: u64, random: u64, effects: &mut Effects) {
        if self.listing == Listing::Reading {
            self.listing = Listing::More;
            self.back_off(now, random);
            self.advance(now, effects);
        }
    }

    /// The target holds the state of this digest as durably as it was asked to. Late ones count, duplicates do no harm.
    pub fn on_confirmed(&mut self, key: &[u8], digest: u64, now: u64, effects: &mut Effects) {
        let Some(hint) = self.take(key) else { return };
        self.failures = 0;
        self.progress.delivered += 1;
        self.progress.delivered_bytes += u64::from(hint.bytes);
        self.dropping.push(hint.key.clone());
        effects.push(Effect::Drop { key: hint.key, digest });
        self.advance(now, effects);
    }

    /// The target, or this node's own disk, refused. What concerns this hint alone leaves it for the next pass, so that
    /// it does not hold up the others. Of a hint that is not under way it is ignored.
    pub fn on_refused(&mut self, key: &[u8], refusal: Refusal, now: u64, random: u64, effects: &mut Effects) {
        let Some(position) = self.in_flight.iter().position(|sent| sent.hint.key == key) else { return };
        let hint = self.in_flight.remove(position).hint;
        self.progress.refused += 1;
        if refusal.concerns_target() {
            self.queue.push_front(hint);
            self.back_off(now, random);
        } else {
            self.left_behind = Some(random);
        }
        self.advance(now, effects);
    }

    /// The answer to [`Effect::Drop`], or to a [`Effect::Send`] of a hint that is gone. `dropped` is false when the
    /// stored hint has another digest by now (it is sent again in another pass) or could not be deleted.
    pub fn on_dropped(&mut self, key: &[u8], dropped: bool, now: u64, effects: &mut Effects) {
        if let Some(position) = self.dropping.iter().position(|dropping| dropping == key) {
            self.dropping.swap_remove(position);
        } else if self.take(key).is_none() {
            return;
        }
        if !dropped {
            self.again = true;
            // A store that fails to delete must not make this a tight loop.
            self.pause_until = self.pause_until.max(now.saturating_add(self.settings.backoff_min_us));
        }
        self.advance(now, effects);
    }

    /// Time has passed; see [`Delivery::next_time`]. Too early a call does nothing. Hints that the target was silent about
    /// for too long are sent again after a pause, in their order.
    pub fn on_time(&mut self, now: u64, random: u64, effects: &mut Effects) {
        let silent: Vec<InFlight> = self.in_flight.extract_if(.., |sent| sent.due <= now).collect();
        if !silent.is_empty() {
            self.progress.refused += silent.len() as u64;
            for sent in silent.into_iter().rev() {
                self.queue.push_front(sent.hint);
            }
            self.back_off(now, random);
        }
        self.advance(now, effects);
    }

    /// When [`Delivery::on_time`] has to be called next, microseconds; None while only an event from outside can help.
    pub fn next_time(&self) -> Option<u64> {
        if !self.up {
            return None;
        }
        let silence = self.in_flight.iter().map(|sent| sent.due).min();
        let room = self.in_flight.len() + self.dropping.len() < self.settings.window.max(1);
        let to_send = !self.queue.is_empty() && room;
        let to_list = self.queue.is_empty() && self.listing == Listing::More;
        let to_begin = self.pass_done() && (self.again || self.left_behind.is_some() || !self.idle);
        let work = if to_send {
            Some(self.pause_until.max(self.rate.allowed_at()))
        } else {
            (to_list || to_begin).then_some(self.pause_until)
        };
        silence.into_iter().chain(work).min()
    }

    /// Takes a hint whose delivery has come to its end, be it thought in flight or waiting to be sent again.
    fn take(&mut self, key: &[u8]) -> Option<HintMeta> {
        if let Some(position) = self.in_flight.iter().position(|sent| sent.hint.key == key) {
            return Some(self.in_flight.remove(position).hint);
        }
        let position = self.queue.iter().position(|hint| hint.key == key)?;
        self.queue.remove(position)
    }

    fn pass_done(&self) -> bool {
        let nothing = self.queue.is_empty() && self.in_flight.is_empty() && self.dropping.is_empty();
        nothing && self.listing == Listing::End
    }

    fn advance(&mut self, now: u64, effects: &mut Effects) {
        if !self.up || now < self.pause_until {
            return;
        }
        if self.pass_done() {
            if let Some(random) = self.left_behind.take() {
                self.again = true;
                return self.back_off(now, random);
            }
            if self.again {
                self.again = false;
                self.after = None;
                self.listing = Listing::More;
            } else if !self.idle {
                self.idle = true;
                effects.push(Effect::Idle);
            }
        }
        if self.listing == Listing::More && self.queue.is_empty() {
            self.listing = Listing::Reading;
            effects.push(Effect::ReadPage { after: self.after.clone(), limit: self.settings.page.max(1) });
        }
        self.send(now, effects);
    }

    fn send(&mut self, now: u64, effects: &mut Effects) {
        self.rate.refill(now);
        while self.in_flight.len() + self.dropping.len() < self.settings.window.max(1) && self.rate.allows() {
            let Some(hint) = self.queue.pop_front() else { break };
            self.rate.spend(hint.bytes);
            effects.push(Effect::Send { key: hint.key.clone(), digest: hint.digest });
            self.in_flight.push(InFlight { hint, due: now.saturating_add(self.settings.confirm_timeout_us) });
        }
    }

    /// Exponential, and the upper half of it at random.
    fn back_off(&mut self, now: u64, random: u64) {
        // Many sends of one window fail together: that is one failure.
        if now < self.pause_until {
            return;
        }
        let doubled = self.settings.backoff_min_us.saturating_mul(1 << self.failures.min(32));
        let longest = doubled.min(self.settings.backoff_max_us).max(1);
        self.failures = self.failures.saturating_add(1);
        self.pause_until = now.saturating_add(longest / 2 + random % (longest / 2 + 1));
    }
}
