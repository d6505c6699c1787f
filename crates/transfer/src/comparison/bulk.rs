//! The copy of a whole partition to one who has nothing of it: pages in order of keys, without a look at trees.
//!
//! One page is asked for at a time, the next as soon as one came; those that came are merged meanwhile. What is written
//! behind the copy's back is for the exchange that follows.

use std::collections::VecDeque;

use dynamo_merkle::{Key, PeerError};

use super::asker::Asker;
use super::{ComparisonEffect, ComparisonEffects};
use crate::question::{Ask, Page, Record, fitting};

#[derive(Debug)]
struct Asked {
    ticket: u32,
    reserved: u32,
    due: u64,
}

#[derive(Debug)]
struct Merging {
    ticket: u32,
    keys: u32,
    bytes: u64,
    up_to: Option<Key>,
    done: bool,
}

/// At most `in_flight` pages.
#[derive(Debug)]
pub(super) struct Bulk {
    after: Option<Key>,
    asked: Option<Asked>,
    /// In order of keys.
    merging: VecDeque<Merging>,
    end: bool,
    /// All up to here is merged durably.
    merged_up_to: Option<Key>,
    /// Records that could not be had.
    pub(super) lost: u64,
}

impl Bulk {
    pub(super) fn new(after: Option<Key>) -> Bulk {
        Bulk { merged_up_to: after.clone(), after, asked: None, merging: VecDeque::new(), end: false, lost: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.end && self.merging.is_empty()
    }

    pub(super) fn merged_up_to(&self) -> Option<&Key> {
        self.merged_up_to.as_ref()
    }

    pub(super) fn next_time(&self) -> Option<u64> {
        self.asked.as_ref().map(|asked| asked.due)
    }

    /// Asks for the next page if there is room for it; returns whether only budget is missing.
    pub(super) fn advance(&mut self, asker: &mut Asker, now: u64, effects: &mut ComparisonEffects) -> bool {
        if self.end || self.asked.is_some() || self.merging.len() >= asker.settings.in_flight {
            return false;
        }
        let Some(reserved) = asker.reserve() else { return true };
        let ticket = asker.ask(Ask::Page { after: self.after.clone(), bytes_max: reserved }, effects);
        self.asked = Some(Asked { ticket, reserved, due: asker.due(now) });
        false
    }

    /// The page that was asked for; returns whether it had anything.
    pub(super) fn on_page(
        &mut self,
        ticket: u32,
        page: Page,
        asker: &mut Asker,
        effects: &mut ComparisonEffects,
    ) -> Result<bool, PeerError> {
        let Some(Asked { reserved, .. }) = self.asked.take_if(|asked| asked.ticket == ticket) else { return Ok(false) };
        let Page { records, damaged, go_on } = page;
        if fitting(records.iter().map(Record::bytes), reserved) < records.len() {
            return Err(PeerError::TooMuch);
        }
        self.check_order(&records, go_on.as_ref())?;
        let bytes = records.iter().map(Record::bytes).sum();
        asker.budget.settle(reserved, bytes);
        self.lost += u64::from(damaged);
        self.end = go_on.is_none();
        self.after.clone_from(&go_on);
        let found = damaged > 0 || !records.is_empty();
        let done = records.is_empty();
        let ticket = asker.ticket();
        self.merging.push_back(Merging { ticket, keys: records.len() as u32, bytes, up_to: go_on, done });
        if done {
            self.take_merged();
        } else {
            effects.push(ComparisonEffect::Merge { ticket, records });
        }
        Ok(found)
    }

    /// A page was merged, but for so many of its records.
    pub(super) fn on_merged(&mut self, ticket: u32, refused: u32, asker: &mut Asker) {
        let of_ticket = |merging: &&mut Merging| merging.ticket == ticket && !merging.done;
        let Some(merging) = self.merging.iter_mut().find(of_ticket) else { return };
        merging.done = true;
        self.lost += u64::from(refused);
        asker.moved.fetched += u64::from(merging.keys.saturating_sub(refused));
        asker.moved.fetched_bytes += merging.bytes;
        self.take_merged();
    }

    fn take_merged(&mut self) {
        while let Some(Merging { up_to, .. }) = self.merging.pop_front_if(|merging| merging.done) {
            if up_to.is_some() {
                self.merged_up_to = up_to;
            }
        }
    }

    /// The page begins where it was asked to, and moves on.
    fn check_order(&self, records: &[Record], go_on: Option<&Key>) -> Result<(), PeerError> {
        let beyond = |key: &Key| self.after.as_ref().is_none_or(|after| key > after);
        if !records.is_sorted_by(|one, next| one.key < next.key)
            || !records.first().is_none_or(|first| beyond(&first.key))
        {
            return Err(PeerError::Unsorted);
        }
        let last = records.last().map(|last| &last.key);
        let moves_on = |go_on: &Key| beyond(go_on) && last.is_none_or(|last| last <= go_on);
        if go_on.is_none_or(moves_on) { Ok(()) } else { Err(PeerError::Contradiction) }
    }
}
