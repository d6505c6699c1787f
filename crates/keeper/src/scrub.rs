//! Reading everything again and again, to find damage before it is needed (§4.7): a record that is damaged is taken out, and
//! had again from another home.
//!
//! Without its record this node no longer has all that it acknowledged, so before the record goes the partition stops
//! being whole: strict reads of it are refused here until it has been filled again.

use bytes::Bytes;
use dynamo_ring::Partition;
use dynamo_transfer::Class;

use crate::{
    effect::{Effects, StoreAsk},
    fill::Fill,
    keeper::{Keeper, Situation, Ticket},
};

/// Bytes that are read at once.
const PAGE_BYTES: usize = 256 << 10;
/// From the end of one pass to the beginning of the next, microseconds: an hour.
const REST_US: u64 = 3_600_000_000;
/// After a page could not be read, microseconds.
const RETRY_US: u64 = 10_000_000;

/// Where the pass is.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    partition: u16,
    after: Option<Bytes>,
    reading: bool,
    not_before: u64,
    /// Records found damaged since the start.
    pub(crate) damaged: u64,
    /// Passes over everything that were completed.
    pub(crate) passes: u64,
}

impl Keeper {
    /// Reads the next page, if the share allows.
    pub(crate) fn scrub_on(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        if self.scrub.reading || at.now < self.scrub.not_before {
            return;
        }
        if !self.slices_take(Class::Scrub, PAGE_BYTES as u64, at.now) {
            return;
        }
        self.scrub.reading = true;
        let (partition, after) = (self.scrub.partition, self.scrub.after.clone());
        self.store(Ticket::Scrubbed, StoreAsk::Scrub { partition, after, bytes_max: PAGE_BYTES }, effects);
    }

    /// A page was read, up to `go_on` (None: to the partition's end), and so many bytes of it.
    pub(crate) fn scrubbed(
        &mut self,
        page: Option<(Option<Bytes>, Vec<Bytes>, u64)>,
        at: &Situation<'_>,
        effects: &mut Effects,
    ) {
        self.scrub.reading = false;
        let Some((go_on, damaged, bytes)) = page else {
            self.scrub.not_before = at.now.saturating_add(RETRY_US);
            return;
        };
        self.slices_give_back(Class::Scrub, (PAGE_BYTES as u64).saturating_sub(bytes));
        damaged.into_iter().for_each(|key| self.damaged(key, effects));
        self.scrub.after = go_on;
        if self.scrub.after.is_none() {
            let partitions = self.charter().ring().partitions().get();
            let next = u32::from(self.scrub.partition) + 1;
            if next < partitions {
                self.scrub.partition = next as u16;
            } else {
                (self.scrub.partition, self.scrub.passes) = (0, self.scrub.passes + 1);
                self.scrub.not_before = at.now.saturating_add(REST_US);
            }
        }
    }

    /// A record is damaged: it goes, and comes back from the other homes. Where there are none it stays: what is left of it
    /// may still be of use to a person.
    pub fn damaged(&mut self, key: Bytes, effects: &mut Effects) {
        let Some(partition) = key.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes)) else { return };
        let charter = self.charter().clone();
        let ring = charter.ring();
        if u32::from(partition) >= ring.partitions().get() {
            return;
        }
        let home = ring.is_home(Partition(partition), self.me);
        let others: Vec<_> =
            ring.preference_list(Partition(partition)).into_iter().filter(|id| *id != self.me).collect();
        if others.is_empty() {
            return;
        }
        self.scrub.damaged += 1;
        if home {
            if std::mem::take(&mut self.whole[usize::from(partition)]) {
                self.keep_whole(effects);
            }
            self.refills.insert(partition, Fill::new(partition, others));
        }
        self.store(Ticket::Fenced, StoreAsk::Mend { key }, effects);
    }
}
