//! How much background work may move, and whose turn it is (§6.5).
//!
//! A controller (`controller.rs`) finds the rate that the foreground bears. With no foreground traffic at all it is the
//! maximum at once, and what was found before holds again when traffic returns. It never falls below a minimum, so that
//! background work ends.
//!
//! The rate is shared by weight among the classes that want something; what one class does not use goes to the others, and
//! only then into the reserve of those that rest. A class that was refused counts as wanting until it has got something: one
//! that asks rarely loses nothing to one that asks all the time.
//!
//! *Bound:* in any span of time all classes together take no more than the rate allowed in it, the burst, and one last
//! piece a class (a piece is let through whole when anything is left, and paid off afterwards). A class that keeps to its part
//! by a rate of its own ([`Slices::paced`]) may add that rate's burst.

use crate::controller::{Controller, Watch, Work};

/// So many classes there are.
pub const CLASSES: usize = 5;

/// What moves bytes in the background.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Delivery of hints.
    Hints,
    /// Partitions on their way to a new home.
    Transfers,
    /// Comparisons between homes.
    AntiEntropy,
    /// Reading everything to find damage.
    Scrub,
    /// Deletion of what this node is no home of any more: nobody waits for it, and others may for what it would hold up.
    Forget,
}

impl Class {
    /// All of them, in the order of [`SliceSettings::weights`].
    pub const ALL: [Class; CLASSES] = [Class::Hints, Class::Transfers, Class::AntiEntropy, Class::Scrub, Class::Forget];
}

/// Bounds of background work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SliceSettings {
    /// The foreground's 99th percentile that background work must not push it over, whatever it is without it,
    /// microseconds.
    pub p99_target_us: u64,
    /// What the percentile may be, in percent of what it is without background work; more than 100.
    pub bearable_percent: u32,
    /// How long a rate is tried before it is changed, microseconds.
    pub window_us: u64,
    /// Least rate, bytes per second; at least 1.
    pub rate_min_bytes_per_s: u64,
    /// Greatest rate, bytes per second.
    pub rate_max_bytes_per_s: u64,
    /// What the rate grows by, at least, in a good window in which somebody wanted more, bytes per second.
    pub increase_bytes_per_s: u64,
    /// What is left of the rate after a bad window, percent; at most 99.
    pub decrease_to_percent: u32,
    /// The device is so busy (parts in a thousand) that the rate does not grow, even if the foreground is well.
    pub busy_permille_max: u32,
    /// What may be moved at once after a rest, bytes, over all classes.
    pub burst_bytes: u64,
    /// Shares of the classes, 1 to 1,000, in the order of [`Class::ALL`].
    pub weights: [u32; CLASSES],
}

/// What the controller does and sees, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SliceState {
    /// The rate that holds, bytes per second.
    pub rate_bytes_per_s: u64,
    /// The last sample; None without foreground traffic, or before the first sample.
    pub p99_us: Option<u64>,
    /// What it is to stay below.
    pub target_us: u64,
    /// The classes, in the order of [`Class::ALL`].
    pub classes: [ClassState; CLASSES],
}

/// A class's part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClassState {
    /// Bytes taken so far.
    pub taken_bytes: u64,
    /// Whether it counts as wanting something.
    pub active: bool,
    /// Its part of the rate at this moment, bytes per second; 0 when it is not active.
    pub rate_bytes_per_s: u64,
}

/// A byte, in the parts that are counted: a microsecond at 1 byte a second, divided by weights, is still many of them.
const BYTE: i128 = 1_000_000_000_000;
/// What a rate of 1 byte a second earns in a microsecond.
const BYTE_PER_S: i128 = BYTE / 1_000_000;

#[derive(Clone, Copy, Debug)]
struct Share {
    weight: i128,
    /// Most that it keeps for later.
    most: i128,
    /// What it may move now; negative after a piece that was larger than what was left.
    credit: i128,
    asked_at: Option<u64>,
    /// It was refused, and has not got anything since.
    waiting: bool,
    taken_bytes: u64,
}

impl Share {
    fn is_active(&self, now: u64, window_us: u64) -> bool {
        let lately = self.asked_at.is_some_and(|at| now.saturating_sub(at) < window_us);
        lately || self.waiting || self.credit < 0
    }

    fn room(&self) -> i128 {
        self.most - self.credit
    }
}

/// Shares what background work may move among its classes.
#[derive(Debug)]
pub struct Slices {
    settings: SliceSettings,
    shares: [Share; CLASSES],
    controller: Controller,
    /// Somebody was refused since the last sample.
    refused: bool,
    /// What all classes had taken by then.
    taken_at_sample: u64,
    refilled_at: u64,
}

impl Slices {
    /// Begins with the least rate, as if there were foreground traffic, and with full reserves.
    pub fn new(settings: SliceSettings, now: u64) -> Slices {
        let rate_min_bytes_per_s = settings.rate_min_bytes_per_s.max(1);
        let settings = SliceSettings {
            rate_min_bytes_per_s,
            rate_max_bytes_per_s: settings.rate_max_bytes_per_s.max(rate_min_bytes_per_s),
            decrease_to_percent: settings.decrease_to_percent.min(99),
            bearable_percent: settings.bearable_percent.max(100),
            weights: settings.weights.map(|weight| weight.clamp(1, 1_000)),
            ..settings
        };
        let whole: i128 = settings.weights.iter().map(|&weight| i128::from(weight)).sum();
        let share = |weight: u32| {
            let weight = i128::from(weight);
            let most = (i128::from(settings.burst_bytes) * BYTE * weight / whole).max(BYTE);
            Share { weight, most, credit: most, asked_at: None, waiting: false, taken_bytes: 0 }
        };
        Slices {
            shares: settings.weights.map(share),
            controller: Controller::new(settings, now),
            settings,
            refused: false,
            taken_at_sample: 0,
            refilled_at: now,
        }
    }

    /// How the foreground fares: its 99th percentile since the last sample (None: there was none), and how busy the device
    /// is, in parts of a thousand, if that is known.
    pub fn on_sample(&mut self, p99_us: Option<u64>, busy_permille: Option<u32>, now: u64) {
        // What was earned so far was earned at the rate that held so far.
        self.refill(now);
        let taken: u64 = self.shares.iter().map(|share| share.taken_bytes).fold(0, u64::saturating_add);
        let wanted_more = std::mem::take(&mut self.refused);
        let work = Work { taken_bytes: taken.saturating_sub(self.taken_at_sample), wanted_more };
        self.taken_at_sample = taken;
        self.controller.on_sample(p99_us, busy_permille, work, now);
    }

    /// What the next sample is waited for.
    pub fn watch(&self) -> Watch {
        self.controller.watch()
    }

    /// Takes so many bytes for a class if it has anything left; false: not now, see [`Slices::allowed_at`].
    pub fn take(&mut self, class: Class, bytes: u64, now: u64) -> bool {
        self.shares[class as usize].asked_at = Some(now.max(self.refilled_at));
        self.refill(now);
        let share = &mut self.shares[class as usize];
        share.waiting = share.credit <= 0;
        if share.waiting {
            self.refused = true;
            return false;
        }
        share.credit -= i128::from(bytes) * BYTE;
        share.taken_bytes = share.taken_bytes.saturating_add(bytes);
        true
    }

    /// Takes so many bytes whatever is left, for what can't wait. It is paid off afterwards, beyond the bound.
    pub fn owe(&mut self, class: Class, bytes: u64, now: u64) {
        self.shares[class as usize].asked_at = Some(now.max(self.refilled_at));
        self.refill(now);
        let share = &mut self.shares[class as usize];
        share.credit -= i128::from(bytes) * BYTE;
        share.taken_bytes = share.taken_bytes.saturating_add(bytes);
        self.refused |= share.credit < 0;
    }

    /// A class that keeps to its part by a rate of its own (each target of hints has one) has moved so many bytes since the
    /// last call, and has more to move. Returns its part, bytes per second.
    pub fn paced(&mut self, class: Class, bytes: u64, now: u64) -> u64 {
        self.owe(class, bytes, now);
        self.state(now).classes[class as usize].rate_bytes_per_s.max(1)
    }

    /// Gives back what was taken and not moved.
    pub fn give_back(&mut self, class: Class, bytes: u64) {
        let share = &mut self.shares[class as usize];
        share.credit = (share.credit + i128::from(bytes) * BYTE).min(share.most);
        share.taken_bytes = share.taken_bytes.saturating_sub(bytes);
    }

    /// When a class may take something again, if nothing changes until then: it may be earlier or later.
    pub fn allowed_at(&self, class: Class, now: u64) -> u64 {
        let share = &self.shares[class as usize];
        if share.credit > 0 {
            return now;
        }
        let others = self.shares.iter().enumerate().filter(|&(at, _)| at != class as usize);
        let others = others.filter(|(_, other)| other.is_active(now, self.settings.window_us));
        let whole = share.weight + others.map(|(_, other)| other.weight).sum::<i128>();
        let needed = (1 - share.credit).saturating_mul(whole);
        let earned = i128::from(self.rate()) * BYTE_PER_S * share.weight;
        // One more, for what is lost in dividing.
        let wait = needed / earned + 2;
        self.refilled_at.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX)).max(now)
    }

    /// What the controller does and sees.
    pub fn state(&self, now: u64) -> SliceState {
        let active = |share: &Share| share.is_active(now, self.settings.window_us);
        let whole: i128 = self.shares.iter().filter(|share| active(share)).map(|share| share.weight).sum();
        let class = |share: Share| {
            let part = if active(&share) { i128::from(self.rate()) * share.weight / whole } else { 0 };
            ClassState {
                taken_bytes: share.taken_bytes,
                active: active(&share),
                rate_bytes_per_s: u64::try_from(part).expect("no more than the rate"),
            }
        };
        SliceState {
            rate_bytes_per_s: self.rate(),
            p99_us: self.controller.p99_us(),
            target_us: self.controller.target_us(),
            classes: self.shares.map(class),
        }
    }

    fn rate(&self) -> u64 {
        self.controller.rate()
    }

    /// Hands out what was earned since the last time: to those that want something, and what they have no room for to
    /// the others. What nobody has room for is gone.
    fn refill(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.refilled_at);
        self.refilled_at = self.refilled_at.max(now);
        let earned = i128::from(elapsed).saturating_mul(i128::from(self.rate())).saturating_mul(BYTE_PER_S);
        let room: i128 = self.shares.iter().map(Share::room).sum();
        let mut earned = earned.min(room);
        let active = self.shares.map(|share| share.is_active(now, self.settings.window_us));
        for wanted in [true, false] {
            // Each time round one more is full, or all is handed out.
            for _ in 0..self.shares.len() {
                earned -= self.hand_out(earned, active.map(|active| active == wanted));
            }
        }
    }

    /// Hands out by weight to those that are picked and have room; returns how much.
    fn hand_out(&mut self, earned: i128, picked: [bool; CLASSES]) -> i128 {
        let takers = || self.shares.iter().zip(picked).filter(|(share, picked)| *picked && share.room() > 0);
        let whole: i128 = takers().map(|(share, _)| share.weight).sum();
        let mut handed_out = 0;
        for (share, _) in self.shares.iter_mut().zip(picked).filter(|(share, picked)| *picked && share.room() > 0) {
            let part = (earned * share.weight / whole).min(share.room());
            share.credit += part;
            handed_out += part;
        }
        handed_out
    }
}
