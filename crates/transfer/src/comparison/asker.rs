//! What every question of a comparison has in common: its name, what it may cost, what was done so far.

use dynamo_merkle::Call;

use super::{ComparisonEffect, ComparisonEffects, ComparisonSettings, Moved};
use crate::question::{Ask, Question};

#[derive(Debug)]
pub(super) struct Asker {
    /// The partition and the comparison; the step is the last ticket.
    call: Call,
    pub(super) epoch: u64,
    pub(super) settings: ComparisonSettings,
    pub(super) budget: Budget,
    pub(super) moved: Moved,
}

impl Asker {
    pub(super) fn new(call: Call, epoch: u64, settings: ComparisonSettings) -> Asker {
        Asker { call, epoch, settings, budget: Budget::default(), moved: Moved::default() }
    }

    pub(super) fn call(&self) -> Call {
        self.call
    }

    /// Another for each thing that is asked for, so that what comes late or twice is told from what is waited for.
    pub(super) fn ticket(&mut self) -> u32 {
        self.call.step = self.call.step.wrapping_add(1);
        self.call.step
    }

    /// Asks under a new ticket.
    pub(super) fn ask(&mut self, ask: Ask, effects: &mut ComparisonEffects) -> u32 {
        let step = self.ticket();
        let call = Call { step, ..self.call };
        self.send(Question { call, epoch: self.epoch, ask }, effects);
        step
    }

    pub(super) fn send(&mut self, question: Question, effects: &mut ComparisonEffects) {
        self.moved.requests += 1;
        effects.push(ComparisonEffect::Ask(question));
    }

    /// When an answer to what is asked now is due.
    pub(super) fn due(&self, now: u64) -> u64 {
        now.saturating_add(self.settings.reply_timeout_us)
    }

    /// Bytes for a fetch, a page or a push, to be settled when it is known what it took.
    pub(super) fn reserve(&mut self) -> Option<u32> {
        self.budget.reserve(self.settings.fetch_bytes)
    }
}

/// The bytes that may still be moved.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Negative after a record that was larger than what was left.
    left: i64,
}

impl Budget {
    pub(super) fn grant(&mut self, bytes: u64) {
        self.left = self.left.saturating_add_unsigned(bytes);
    }

    pub(super) fn left(&self) -> u64 {
        self.left.max(0) as u64
    }

    fn reserve(&mut self, most: u32) -> Option<u32> {
        let reserved = u32::try_from(self.left.min(most.into())).ok().filter(|bytes| *bytes > 0)?;
        self.left -= i64::from(reserved);
        Some(reserved)
    }

    /// What was reserved took so many bytes.
    pub(super) fn settle(&mut self, reserved: u32, bytes: u64) {
        self.left = self.left.saturating_add(reserved.into()).saturating_sub_unsigned(bytes);
    }
}
