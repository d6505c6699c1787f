//! The side that is asked (§4.7, 4.9): it answers the questions of all peers' comparisons with this node.
//!
//! Nothing is kept between questions. A step down inner nodes is answered at once; what needs the store is a *job* until the
//! store has answered. Jobs are bounded, in all and for each peer: beyond that a question is refused as
//! [`Refused::Busy`], and the peer's comparison begins again later. A question that came twice is answered twice.
//!
//! *Who may ask* is the driver's decision: see [`PartitionView::tree`]. A question of another epoch is refused, and so is a
//! push once the partition is sealed. Fetches and steps down the tree go on then: it is what a new home needs.

use std::collections::BTreeMap;

use dynamo_merkle::{self as merkle, Call, Entry, Key, LeafRead, PeerError, Responder, Tree};
use dynamo_ring::NodeId;
use smallvec::SmallVec;

use crate::question::{
    Answer, Ask, MergeRefusal, Page, Question, Record, Refused, Reply, StoreFailed, Stored, fitting,
};

/// Bounds of the answering side.
#[derive(Clone, Copy, Debug)]
pub struct AnsweringSettings {
    /// The exchange's.
    pub exchange: merkle::Settings,
    /// Questions of all peers that wait for the store.
    pub jobs_max: usize,
    /// Of one peer.
    pub jobs_per_peer_max: usize,
    /// Bytes of states in one answer, whatever is asked; at least 1. One record more may come on top.
    pub bytes_max: u32,
}

/// A partition at this node, as it is now.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a> {
    /// The ring's epoch.
    pub epoch: u64,
    /// The partition is sealed for this epoch, and all that was ever applied to it is in the tree and in the store.
    pub sealed: bool,
    /// This node has all that it ever acknowledged of it, in whatever life of its disk.
    pub whole: bool,
    /// Its tree, if it is served to the peer who asks: one that is home of it in this epoch, or pending for the next, or a
    /// former home that hands over what it still has.
    pub tree: Option<&'a Tree>,
}

/// What the driver of the answering side has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnsweringEffect {
    /// Send the answer.
    Reply {
        /// To whom.
        peer: NodeId,
        /// What the question came with.
        call_id: u64,
        /// The answer.
        answer: Answer,
    },
    /// Read keys of a leaf: [`Answering::on_leaf`].
    ReadLeaf {
        /// Of this partition.
        partition: u16,
        /// Which, and the ticket.
        read: LeafRead,
    },
    /// Read states: [`Answering::on_records`].
    ReadRecords {
        /// Comes back with the states.
        ticket: u32,
        /// Of this partition: keys of another are damage, or not there.
        partition: u16,
        /// Which keys.
        keys: Vec<Key>,
        /// No further state is needed once there are so many bytes; the first is in any case.
        bytes_max: u32,
    },
    /// Read the partition's records in order of keys: [`Answering::on_page`].
    ReadPage {
        /// Comes back with the page.
        ticket: u32,
        /// Which partition.
        partition: u16,
        /// Only keys greater than this; None: from the first.
        after: Option<Key>,
        /// No further record is needed once there are so many bytes; the first is in any case.
        bytes_max: u32,
    },
    /// Check each record as one that comes with a write of this epoch, merge them all durably: [`Answering::on_merged`].
    Merge {
        /// Comes back when it is done.
        ticket: u32,
        /// Into this partition.
        partition: u16,
        /// Unless the ring has another epoch when it comes to that, or the partition is sealed.
        epoch: u64,
        /// What the peer has.
        records: Vec<Record>,
    },
}

/// Effects in the order in which they have to be carried out.
pub type AnsweringEffects = SmallVec<[AnsweringEffect; 2]>;

#[derive(Debug)]
enum Work {
    /// With the responder's own ticket.
    Tree(Box<Responder>, u32),
    Fetch {
        keys: Vec<Key>,
        bytes_max: u32,
    },
    Page {
        bytes_max: u32,
    },
    Push {
        records: usize,
    },
}

/// To whom an answer goes, and what it says of the partition: as it was when the question came.
#[derive(Clone, Copy, Debug)]
struct Addressee {
    peer: NodeId,
    call_id: u64,
    call: Call,
    epoch: u64,
    sealed: bool,
    whole: bool,
}

impl Addressee {
    fn reply(self, reply: Reply, effects: &mut AnsweringEffects) {
        let Addressee { peer, call_id, call, epoch, sealed, whole } = self;
        let answer = Answer { call, epoch, sealed, whole, reply };
        effects.push(AnsweringEffect::Reply { peer, call_id, answer });
    }
}

/// Answers questions about this node's partitions.
#[derive(Debug)]
pub struct Answering {
    settings: AnsweringSettings,
    tickets: u32,
    /// By ticket.
    jobs: BTreeMap<u32, (Addressee, Work)>,
}

impl Answering {
    /// One that was asked nothing yet.
    pub fn new(settings: AnsweringSettings) -> Answering {
        let bytes_max = settings.bytes_max.max(1);
        Answering { settings: AnsweringSettings { bytes_max, ..settings }, tickets: 0, jobs: BTreeMap::new() }
    }

    /// Questions that wait for the store.
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// A question of a peer. `call_id` is whatever lets the driver send the answer to it.
    ///
    /// After an error the peer hears nothing: the connection should be broken off.
    pub fn on_question(
        &mut self,
        peer: NodeId,
        call_id: u64,
        question: Question,
        view: PartitionView<'_>,
        effects: &mut AnsweringEffects,
    ) -> Result<(), PeerError> {
        let Question { call, epoch: asked, ask } = question;
        let PartitionView { epoch, sealed, whole, tree } = view;
        let to = Addressee { peer, call_id, call, epoch, sealed, whole };
        let refused = match (tree, &ask) {
            _ if asked != epoch => Some(Refused::Epoch),
            (None, _) => Some(Refused::NotServed),
            (_, Ask::Push(_)) if sealed => Some(Refused::Sealed),
            (_, Ask::Tree { ask: merkle::Ask::Nodes(_), .. }) => None,
            _ => self.is_full(peer).then_some(Refused::Busy),
        };
        if let Some(refused) = refused {
            to.reply(Reply::Refused(refused), effects);
            return Ok(());
        }
        match ask {
            Ask::Tree { shape, ask } => {
                let request = merkle::Request { call, epoch, shape, ask };
                let mut responder = Box::new(Responder::new(self.settings.exchange));
                let mut told = merkle::ResponderEffects::new();
                responder.on_request(request, epoch, tree, &mut told)?;
                self.drive(to, responder, told, effects);
            }
            Ask::Fetch { keys, bytes_max } => {
                if keys.is_empty() || keys.len() > merkle::ENTRIES_MAX {
                    return Err(PeerError::TooMuch);
                }
                let bytes_max = bytes_max.min(self.settings.bytes_max);
                let ticket = self.add(to, Work::Fetch { keys: keys.clone(), bytes_max });
                effects.push(AnsweringEffect::ReadRecords { ticket, partition: call.partition, keys, bytes_max });
            }
            Ask::Push(records) => {
                let ticket = self.add(to, Work::Push { records: records.len() });
                effects.push(AnsweringEffect::Merge { ticket, partition: call.partition, epoch, records });
            }
            Ask::Page { after, bytes_max } => {
                let bytes_max = bytes_max.min(self.settings.bytes_max);
                let ticket = self.add(to, Work::Page { bytes_max });
                effects.push(AnsweringEffect::ReadPage { ticket, partition: call.partition, after, bytes_max });
            }
        }
        Ok(())
    }

    /// The answer to [`AnsweringEffect::ReadLeaf`]: keys in order, and whether the leaf has no more.
    pub fn on_leaf(
        &mut self,
        ticket: u32,
        page: Result<(Vec<Entry>, bool), StoreFailed>,
        effects: &mut AnsweringEffects,
    ) {
        let Some((to, Work::Tree(mut responder, inner))) = self.take(ticket, |work| matches!(work, Work::Tree(..)))
        else {
            return;
        };
        let mut told = merkle::ResponderEffects::new();
        match page {
            Ok((entries, end)) => responder.on_leaf_page(inner, entries, end, &mut told),
            Err(StoreFailed) => responder.on_leaf_failed(inner, to.epoch, &mut told),
        }
        self.drive(to, responder, told, effects);
    }

    /// The answer to [`AnsweringEffect::ReadRecords`]: the states of the first, or first few, of the keys, at least one.
    pub fn on_records(
        &mut self,
        ticket: u32,
        states: Result<Vec<Stored>, StoreFailed>,
        effects: &mut AnsweringEffects,
    ) {
        let Some((to, Work::Fetch { keys, bytes_max })) = self.take(ticket, |work| matches!(work, Work::Fetch { .. }))
        else {
            return;
        };
        let Ok(mut states) = states else { return to.reply(Reply::Refused(Refused::Failed), effects) };
        assert!(!states.is_empty() && states.len() <= keys.len(), "the store gave states that were not asked for");
        let weights = keys.iter().zip(&states).map(|(key, stored)| key.len() as u64 + stored.set_bytes());
        states.truncate(fitting(weights, bytes_max));
        to.reply(Reply::Fetched(states), effects);
    }

    /// The answer to [`AnsweringEffect::ReadPage`].
    pub fn on_page(&mut self, ticket: u32, page: Result<Page, StoreFailed>, effects: &mut AnsweringEffects) {
        let Some((to, Work::Page { bytes_max })) = self.take(ticket, |work| matches!(work, Work::Page { .. })) else {
            return;
        };
        let Ok(mut page) = page else { return to.reply(Reply::Refused(Refused::Failed), effects) };
        let fits = fitting(page.records.iter().map(Record::bytes), bytes_max);
        if fits < page.records.len() {
            // What is damaged beyond the cut is counted here, and again with the next page: too often, not too rarely.
            page.records.truncate(fits);
            page.go_on = page.records.last().map(|last| last.key.clone());
        }
        to.reply(Reply::Page(page), effects);
    }

    /// The answer to [`AnsweringEffect::Merge`]: all is durable here, or not.
    pub fn on_merged(&mut self, ticket: u32, merged: Result<(), MergeRefusal>, effects: &mut AnsweringEffects) {
        let Some((mut to, Work::Push { records })) = self.take(ticket, |work| matches!(work, Work::Push { .. })) else {
            return;
        };
        let reply = match merged {
            Ok(()) => Reply::Pushed { refused: 0 },
            Err(MergeRefusal::Some { keys }) => Reply::Pushed { refused: keys.min(records as u32) },
            Err(MergeRefusal::Sealed) => Reply::Refused(Refused::Sealed),
            Err(MergeRefusal::Outdated { epoch }) => {
                (to.epoch, to.sealed) = (epoch, false);
                Reply::Refused(Refused::Epoch)
            }
            Err(MergeRefusal::DiskFull) => Reply::Refused(Refused::DiskFull),
            Err(MergeRefusal::Failed) => Reply::Refused(Refused::Failed),
        };
        to.reply(reply, effects);
    }

    /// The peer's connection broke: nothing is answered to it any more. What the store reports for it is ignored.
    pub fn on_lost(&mut self, peer: NodeId) {
        self.jobs.retain(|_, (to, _)| to.peer != peer);
    }

    fn is_full(&self, peer: NodeId) -> bool {
        let of_peer = self.jobs.values().filter(|(to, _)| to.peer == peer).count();
        self.jobs.len() >= self.settings.jobs_max || of_peer >= self.settings.jobs_per_peer_max
    }

    fn add(&mut self, to: Addressee, work: Work) -> u32 {
        self.tickets = self.tickets.wrapping_add(1);
        self.jobs.insert(self.tickets, (to, work));
        self.tickets
    }

    fn take(&mut self, ticket: u32, fits: impl Fn(&Work) -> bool) -> Option<(Addressee, Work)> {
        self.jobs.get(&ticket).filter(|(_, work)| fits(work))?;
        self.jobs.remove(&ticket)
    }

    /// Carries out what the responder wants: one effect at a time.
    fn drive(
        &mut self,
        to: Addressee,
        responder: Box<Responder>,
        mut told: merkle::ResponderEffects,
        effects: &mut AnsweringEffects,
    ) {
        match told.pop() {
            Some(merkle::ResponderEffect::Send(merkle::Reply { answer, .. })) => {
                let reply = match answer {
                    merkle::Answer::Refused { reason, .. } => Reply::Refused(reason.into()),
                    answer => Reply::Tree(answer),
                };
                to.reply(reply, effects);
            }
            Some(merkle::ResponderEffect::ReadLeaf(mut read)) => {
                let partition = to.call.partition;
                read.ticket = self.add(to, Work::Tree(responder, read.ticket));
                effects.push(AnsweringEffect::ReadLeaf { partition, read });
            }
            None => {}
        }
    }
}

impl From<merkle::Reason> for Refused {
    fn from(reason: merkle::Reason) -> Refused {
        match reason {
            merkle::Reason::Epoch => Refused::Epoch,
            merkle::Reason::Shape => Refused::Shape,
            merkle::Reason::Busy => Refused::Busy,
            merkle::Reason::Failed => Refused::Failed,
        }
    }
}
