//! The side that asks (§4.7): down the tree to the leaves that differ, then page by page to the keys.
//!
//! One request is under way at a time, so what is in memory is a message and the nodes still to be looked at. Nodes are
//! looked at in the order of leaves, so one [`Cursor`] says how far it has come. What differs is handed out as
//! [`Effect::Want`] and [`Effect::Offer`], and the exchange goes no further until that is settled: this paces it.
//!
//! *Why it ends, whatever is written meanwhile:* each answer replaces nodes by deeper ones, or moves the cursor on, and
//! nothing moves it back. A difference that was seen higher up and is gone finds nothing further down, which costs a few
//! messages. One that appears behind the cursor is for the next exchange. Requests are counted and bounded as well, so
//! a peer that invents keys without end gains nothing.

use smallvec::SmallVec;

use crate::compare::{Compared, compare};
use crate::exchange::{Cursor, Difference, LeafRead, PeerError, Settings};
use crate::message::{Answer, Ask, Call, Entry, Key, LeafPage, NodeSums, Reason, Reply, Request};
use crate::shape::{FANOUT, Shape};
use crate::tree::Tree;

/// What the driver of the asking side has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send a request to the peer.
    Send(Request),
    /// Read keys of a leaf; answer with [`Initiator::on_leaf_page`] or [`Initiator::on_leaf_failed`].
    ReadLeaf(LeafRead),
    /// Ask the peer for its states of these keys and merge them, unless this node has that very state by now. The keys
    /// are the peer's word: each is to be checked as one that comes with a write.
    Want(Vec<Difference>),
    /// Send this node's states of these keys to the peer, to be merged there. Once what is wanted was merged, one whose
    /// digest is the peer's by now need not be sent. After the last of both: [`Initiator::on_settled`].
    Offer(Vec<Difference>),
    /// Always the last one: the machine may be dropped.
    Finished(Ending),
}

/// Effects in the order in which they have to be carried out.
pub type Effects = SmallVec<[Effect; 2]>;

/// How an exchange ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The whole tree was compared, from where it began.
    Complete,
    /// The bound on requests was reached: go on at [`Initiator::cursor`] some other time.
    Paused,
    /// The peer does not take part.
    Refused {
        /// The peer's epoch. A greater one than this node's means that there is a newer ring to be had.
        epoch: u64,
        /// Why.
        reason: Reason,
    },
    /// This node's own ring turned.
    Outdated,
    /// The peer did not answer in time.
    Silent,
    /// This node's own store could not be read.
    Failed,
}

/// What an exchange did so far, for people and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Requests sent.
    pub requests: u32,
    /// Inner nodes compared.
    pub nodes: u64,
    /// Keys sent to be compared.
    pub entries: u64,
    /// Keys wanted.
    pub wanted: u64,
    /// Keys offered.
    pub offered: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Node {
    level: u8,
    index: u32,
}

#[derive(Debug)]
enum State {
    New,
    Comparing {
        nodes: Vec<Node>,
        due: u64,
    },
    Reading {
        read: LeafRead,
        pages: Vec<LeafPage>,
    },
    Paging {
        pages: Vec<LeafPage>,
        due: u64,
    },
    /// The first pending leaf is to be continued after this key.
    Settling {
        go_on: Option<Key>,
    },
    Finished,
}

/// Finds the keys in which a partition differs from a peer's.
#[derive(Debug)]
pub struct Initiator {
    /// The next request's name.
    call: Call,
    epoch: u64,
    shape: Shape,
    settings: Settings,
    tickets: u32,
    /// Nodes still to be looked at, the first in the order of leaves at the end.
    pending: Vec<Node>,
    cursor: Cursor,
    state: State,
    progress: Progress,
}

impl Initiator {
    /// An exchange over the trees of one partition, from a cursor on; the default one is the beginning.
    ///
    /// `exchange` must not be that of another exchange of this partition on the same connection.
    pub fn new(partition: u16, exchange: u32, epoch: u64, shape: Shape, settings: Settings, from: Cursor) -> Initiator {
        Initiator {
            call: Call { partition, exchange, step: 0 },
            epoch,
            shape,
            settings: settings.clamped(),
            tickets: 0,
            pending: vec![Node { level: 0, index: 0 }],
            cursor: from,
            state: State::New,
            progress: Progress::default(),
        }
    }

    /// Sends the first request. The tree, here and below, is this node's as it is now; its shape must be that given.
    pub fn start(&mut self, tree: &Tree, now: u64, effects: &mut Effects) {
        if matches!(self.state, State::New) {
            self.advance(None, tree, now, effects);
        }
    }

    /// How far it has come: where to begin after this one was lost, or paused.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// What was done so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether it is over, by [`Effect::Finished`] or by an error of the peer.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// The peer's reply. One to another exchange is ignored; after an error, this one is over without an effect.
    pub fn on_reply(&mut self, reply: Reply, tree: &Tree, now: u64, effects: &mut Effects) -> Result<(), PeerError> {
        let (call, named) = (self.call, reply.call);
        if self.is_finished() || (named.partition, named.exchange) != (call.partition, call.exchange) {
            return Ok(());
        }
        let state = std::mem::replace(&mut self.state, State::Finished);
        if named.step != call.step {
            return Err(PeerError::NotAsked);
        }
        match (state, reply.answer) {
            (State::Comparing { .. } | State::Paging { .. }, Answer::Refused { epoch, reason }) => {
                self.finish(Ending::Refused { epoch, reason }, effects);
            }
            (State::Comparing { nodes, .. }, Answer::Nodes(masks)) => {
                self.call.step += 1;
                self.descend(&nodes, &masks)?;
                self.advance(None, tree, now, effects);
            }
            (State::Paging { pages, .. }, Answer::Pages(diffs)) => {
                self.call.step += 1;
                let compared = compare(self.settings.hash, self.shape, &pages, diffs)?;
                self.hand_out(&pages, compared, tree, now, effects);
            }
            _ => return Err(PeerError::NotAsked),
        }
        Ok(())
    }

    /// What was wanted was merged, what was offered was sent; or it was not, and is left to another exchange.
    pub fn on_settled(&mut self, tree: &Tree, now: u64, effects: &mut Effects) {
        if let State::Settling { go_on } = &mut self.state {
            let go_on = go_on.take();
            self.advance(go_on, tree, now, effects);
        }
    }

    /// The answer to [`Effect::ReadLeaf`]: keys in order; `end` when the leaf has no more. An empty page is an end. One
    /// that was asked for by another ticket is ignored.
    pub fn on_leaf_page(&mut self, ticket: u32, mut entries: Vec<Entry>, end: bool, now: u64, effects: &mut Effects) {
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Reading { read, mut pages } if read.ticket == ticket => {
                let end = read.fit(&mut entries, end);
                pages.push(LeafPage { leaf: read.leaf, after: read.after, entries, end });
                self.read_or_send(pages, now, effects);
            }
            other => self.state = other,
        }
    }

    /// The leaf could not be read. The exchange ends; whether to try again is the driver's affair.
    pub fn on_leaf_failed(&mut self, ticket: u32, effects: &mut Effects) {
        if matches!(&self.state, State::Reading { read, .. } if read.ticket == ticket) {
            self.finish(Ending::Failed, effects);
        }
    }

    /// This node has a ring of this epoch. Another than the exchange began with ends it.
    pub fn on_epoch(&mut self, epoch: u64, effects: &mut Effects) {
        if epoch != self.epoch && !self.is_finished() {
            self.finish(Ending::Outdated, effects);
        }
    }

    /// Time has passed; see [`Initiator::next_time`]. Too early a call does nothing.
    pub fn on_time(&mut self, now: u64, effects: &mut Effects) {
        if self.next_time().is_some_and(|due| due <= now) {
            self.finish(Ending::Silent, effects);
        }
    }

    /// When [`Initiator::on_time`] has to be called next; None while not waiting for the peer.
    pub fn next_time(&self) -> Option<u64> {
        match self.state {
            State::Comparing { due, .. } | State::Paging { due, .. } => Some(due),
            State::New | State::Reading { .. } | State::Settling { .. } | State::Finished => None,
        }
    }

    /// Takes the next nodes, or the next leaves, the first after the key `go_on`. All before is compared and settled.
    fn advance(&mut self, go_on: Option<Key>, tree: &Tree, now: u64, effects: &mut Effects) {
        assert!(tree.shape() == self.shape, "an exchange over a tree of another shape");
        let Some(&next) = self.pending.last() else { return self.finish(Ending::Complete, effects) };
        let leaf = self.first_leaf(next);
        if leaf > self.cursor.leaf || go_on.is_some() {
            self.cursor = Cursor { leaf, after: go_on };
        }
        if self.call.step >= self.settings.requests_max {
            return self.finish(Ending::Paused, effects);
        }
        if next.level == self.shape.depth() {
            return self.read_or_send(Vec::new(), now, effects);
        }
        let inner = self.pending.iter().rev().take_while(|node| node.level < self.shape.depth());
        let count = inner.take(self.settings.nodes_max).count();
        let nodes: Vec<Node> = self.pending.drain(self.pending.len() - count..).rev().collect();
        let sums = |&Node { level, index }: &Node| NodeSums { level, index, sums: tree.children(level, index) };
        self.progress.nodes += count as u64;
        self.send(Ask::Nodes(nodes.iter().map(sums).collect()), effects);
        self.state = State::Comparing { nodes, due: now.saturating_add(self.settings.reply_timeout_us) };
    }

    /// Reads one leaf more into the request, or sends it when it is full or what comes next is no leaf.
    fn read_or_send(&mut self, pages: Vec<LeafPage>, now: u64, effects: &mut Effects) {
        let entries = || pages.iter().flat_map(|page| &page.entries);
        let entries_max = self.settings.entries_max.saturating_sub(entries().count());
        let bytes_max = self.settings.keys_bytes_max.saturating_sub(entries().map(|entry| entry.key.len()).sum());
        let room = entries_max > 0 && bytes_max > 0 && pages.len() < self.settings.nodes_max;
        // Full is also what ended within a leaf: that page must be the last one.
        let room = room && pages.last().is_none_or(|last| last.end);
        let next = self.pending.pop_if(|node| room && node.level == self.shape.depth());
        let Some(Node { index: leaf, .. }) = next else {
            self.progress.entries += entries().count() as u64;
            self.send(Ask::Pages(pages.clone()), effects);
            self.state = State::Paging { pages, due: now.saturating_add(self.settings.reply_timeout_us) };
            return;
        };
        let after = if leaf == self.cursor.leaf { self.cursor.after.clone() } else { None };
        self.tickets = self.tickets.wrapping_add(1);
        let read = LeafRead { ticket: self.tickets, leaf, after, entries_max, bytes_max };
        effects.push(Effect::ReadLeaf(read.clone()));
        self.state = State::Reading { read, pages };
    }

    fn send(&mut self, ask: Ask, effects: &mut Effects) {
        self.progress.requests += 1;
        effects.push(Effect::Send(Request { call: self.call, epoch: self.epoch, shape: self.shape, ask }));
    }

    fn finish(&mut self, ending: Ending, effects: &mut Effects) {
        self.state = State::Finished;
        self.pending = Vec::new();
        effects.push(Effect::Finished(ending));
    }

    /// Puts the children that differ in the place of their parents, but for those before the cursor.
    fn descend(&mut self, nodes: &[Node], masks: &[u16]) -> Result<(), PeerError> {
        if nodes.len() != masks.len() {
            return Err(PeerError::Contradiction);
        }
        for (node, mask) in nodes.iter().zip(masks).rev() {
            for slot in (0..FANOUT as u32).rev().filter(|slot| mask & 1 << slot != 0) {
                let child = Node { level: node.level + 1, index: node.index * FANOUT as u32 + slot };
                let last = self.first_leaf(Node { index: child.index + 1, ..child }) - 1;
                if last >= self.cursor.leaf {
                    self.pending.push(child);
                }
            }
        }
        Ok(())
    }

    /// Hands out what differs. Leaves that the answer does not cover are looked at again.
    fn hand_out(&mut self, pages: &[LeafPage], compared: Compared, tree: &Tree, now: u64, effects: &mut Effects) {
        let Compared { want, offer, pages: covered, go_on } = compared;
        let again = covered - usize::from(go_on.is_some());
        let level = self.shape.depth();
        self.pending.extend(pages[again..].iter().rev().map(|page| Node { level, index: page.leaf }));
        if want.is_empty() && offer.is_empty() {
            return self.advance(go_on, tree, now, effects);
        }
        self.progress.wanted += want.len() as u64;
        self.progress.offered += offer.len() as u64;
        self.state = State::Settling { go_on };
        if !want.is_empty() {
            effects.push(Effect::Want(want));
        }
        if !offer.is_empty() {
            effects.push(Effect::Offer(offer));
        }
    }

    fn first_leaf(&self, node: Node) -> u32 {
        node.index << (4 * (self.shape.depth() - node.level))
    }
}
