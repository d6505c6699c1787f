//! Disks in doubt: a life that begins on a disk with records has those of an earlier one, which may be older than what was
//! collected since (docs/PROTOCOL.md). An older state of a key that was deleted and collected would bring it back.
//!
//! What such a disk has is harmless as long as no *barrier* was passed since it was written: all that was collected before was
//! so at this disk as well. So its life goes by no charter with another barrier than the one that the disk knows: if there
//! is one, the disk has to be emptied first ([`Keeper::is_to_be_emptied`]). If there is none it is beyond doubt from then on, and
//! that is kept: a majority of the register has said that what it goes by is the newest, or every other member that it goes by
//! nothing newer. No round of collecting can pass meanwhile, for this node makes no promise.
//!
//! A disk is never emptied because of doubt alone: where a whole cluster is restored from copies, no copy knows of a barrier
//! that the others do not, and all is kept.
//!
//! *In doubt* is also a start that does not know yet whether its disk is an old copy. It goes by no barrier that it does not
//! know either, or it could not be told any more, once it is found out, what that disk knew.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynamo_ring::{NodeId, charter::Charter, register::Value};

use crate::{
    effect::{Effects, StoreAsk},
    keeper::{Asked, Keeper, Situation, Ticket},
    message::Question,
};

/// Where it is kept which life of the disk is beyond doubt.
pub const CLEAR_KEY: &str = "clear";

/// The doubt's own request to the register.
pub(crate) const DOUBT_REQUEST: u64 = u64::MAX - 1;

/// How often members are asked what they go by, microseconds.
const ASK_US: u64 = 200_000;
/// For so long it is left to the members' word before the register is asked, and that often it is asked then, microseconds.
const REGISTER_US: u64 = 2_000_000;

/// What is known of the disk's age.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    /// The life began on a disk with records, and nobody has said yet that no barrier was passed since they were written.
    doubtful: bool,
    /// That it is beyond doubt is to be kept.
    unwritten: bool,
    /// A charter beyond another barrier, until it is known whether this disk is an old copy.
    withheld: Option<Value>,
    /// What the other members go by, in their own words of this run.
    heard: BTreeMap<NodeId, u64>,
    /// A version that a majority of the register said in this run is the newest.
    newest: Option<u64>,
    next_ask: u64,
    next_register: u64,
    to_be_emptied: bool,
}

impl Doubt {
    /// Of a start under `life`. `empty`: there was nothing on the disk. `kept`: which life was beyond doubt.
    pub(crate) fn of(life: u64, empty: bool, kept: Option<&Bytes>, now: u64) -> Doubt {
        let clear = kept.is_some_and(|kept| kept[..] == life.to_be_bytes());
        Doubt {
            doubtful: !empty && !clear,
            unwritten: empty && !clear,
            next_register: now.saturating_add(REGISTER_US),
            ..Doubt::default()
        }
    }

    /// A charter that waits to be gone by.
    pub(crate) fn withheld(&self) -> Option<Charter> {
        self.withheld.as_ref().and_then(|value| Charter::decode(value.payload()).ok())
    }

    /// A member has said which version of the register it goes by.
    pub(crate) fn heard(&mut self, from: NodeId, version: u64) {
        self.heard.insert(from, version);
    }

    /// The register has said that this version is the newest.
    pub(crate) fn is_newest(&mut self, version: u64) {
        self.newest = Some(version);
    }
}

impl Keeper {
    /// Whether this disk's records may be older than what was collected since. Until it is known that they are not, this node
    /// serves no request of a newer epoch than its own and hands on no hints.
    pub fn in_doubt(&self) -> bool {
        !self.recall.known() || self.doubt.doubtful
    }

    /// Something was collected since this disk was written: it has to be emptied, and to begin another life.
    pub fn is_to_be_emptied(&self) -> bool {
        self.doubt.to_be_emptied
    }

    /// Whether a charter may be gone by with what is on this disk; if not it is kept in mind, or the end of the disk.
    pub(crate) fn may_go_by(&mut self, value: &Value, charter: &Charter) -> bool {
        if charter.last_barrier() == self.charter().last_barrier() || !self.in_doubt() {
            return !self.doubt.to_be_emptied;
        }
        if !self.recall.known() {
            if self.doubt.withheld.as_ref().is_none_or(|withheld| value.is_newer(withheld)) {
                self.doubt.withheld = Some(value.clone());
            }
            return false;
        }
        self.doubt.to_be_emptied = true;
        self.registry.hold(true);
        false
    }

    /// Time has passed.
    pub(crate) fn doubt_on(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        if !self.recall.known() || self.doubt.to_be_emptied {
            return;
        }
        if let Some(value) = self.doubt.withheld.take() {
            self.learn(value, at, effects);
        }
        if self.doubt.doubtful && !self.doubt.to_be_emptied {
            self.look_at_doubt();
        }
        if std::mem::take(&mut self.doubt.unwritten) {
            let value = Bytes::copy_from_slice(&self.incarnation.to_be_bytes());
            self.store(Ticket::Clear, StoreAsk::Put { key: CLEAR_KEY, value }, effects);
        }
        if self.doubt.doubtful && !self.doubt.to_be_emptied {
            self.ask_what_is_newest(at, effects);
        }
    }

    /// It could not be kept that this life is beyond doubt.
    pub(crate) fn clear_kept(&mut self, kept: bool) {
        self.doubt.unwritten |= !kept;
    }

    fn look_at_doubt(&mut self) {
        let version = self.version();
        let said = |id: &NodeId| self.doubt.heard.get(id).is_some_and(|said| *said <= version);
        let all = self.other_members().iter().all(said);
        if all || self.doubt.newest.is_some_and(|newest| newest <= version) {
            (self.doubt.doubtful, self.doubt.unwritten) = (false, true);
        }
    }

    /// Asks the members, and after a while the register: by a value that says the same once more.
    fn ask_what_is_newest(&mut self, at: &Situation<'_>, effects: &mut Effects) {
        let version = self.version();
        if at.now >= self.doubt.next_ask {
            self.doubt.next_ask = at.now.saturating_add(ASK_US);
            for id in self.other_members() {
                if self.reachable.contains(&id) && !self.is_asked(id, Asked::Report) {
                    self.ask(id, Asked::Report, Question::Report { version }, effects);
                }
            }
        }
        let member = self.charter().ring().member(self.me).is_some();
        let free = self.learning.is_none() && !self.registry.is_changing();
        if member && free && at.now >= self.doubt.next_register {
            self.doubt.next_register = at.now.saturating_add(REGISTER_US + at.random % REGISTER_US);
            let same = self.charter().as_ref().clone();
            self.change(DOUBT_REQUEST, version, same, at, effects);
        }
    }
}
