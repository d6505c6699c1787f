//! The side that is asked (§4.7). It keeps nothing between requests: about nodes it answers from the tree at once, about
//! pages when it has read its own keys in their ranges.
//!
//! One request is worked on at a time. A reply is bounded by what the request named and by this side's own settings;
//! what does not fit is left out, and is asked for again.

use smallvec::SmallVec;

use crate::exchange::{LeafRead, PeerError, Settings, check_keys};
use crate::message::{
    Answer, Ask, Call, Covered, ENTRIES_MAX, Entry, KEYS_BYTES_MAX, Key, LeafDiff, LeafPage, NODES_MAX, NodeSums,
    Reason, Reply, Request,
};
use crate::shape::Shape;
use crate::tree::Tree;

/// What the driver of the answering side has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponderEffect {
    /// Send the reply. The responder has nothing more to do then, and may be dropped or kept for the next request.
    Send(Reply),
    /// Read keys of a leaf; answer with [`Responder::on_leaf_page`] or [`Responder::on_leaf_failed`].
    ReadLeaf(LeafRead),
}

/// Effects in the order in which they have to be carried out.
pub type ResponderEffects = SmallVec<[ResponderEffect; 1]>;

/// A request about pages that is being worked on.
#[derive(Debug)]
struct Job {
    call: Call,
    pages: std::vec::IntoIter<LeafPage>,
    page: LeafPage,
    diff: LeafDiff,
    /// Entries of the page that were compared.
    compared: usize,
    /// The last of this side's own keys that was compared in this page.
    own: Option<Key>,
    diffs: Vec<LeafDiff>,
    extra_left: usize,
    bytes_left: usize,
}

/// Answers the requests of one peer's exchange about one partition.
#[derive(Debug)]
pub struct Responder {
    settings: Settings,
    tickets: u32,
    job: Option<(LeafRead, Job)>,
}

impl Responder {
    /// One that waits for a request.
    pub fn new(settings: Settings) -> Responder {
        Responder { settings: settings.clamped(), tickets: 0, job: None }
    }

    /// Whether no request is being worked on.
    pub fn is_idle(&self) -> bool {
        self.job.is_none()
    }

    /// A request. `epoch` is this node's, and `tree` its own for the partition, or None when it does not serve the
    /// partition in this epoch, or has sealed it. A request of another exchange displaces the one that is worked on.
    ///
    /// After an error this waits for another request, and the peer hears nothing.
    pub fn on_request(
        &mut self,
        request: Request,
        epoch: u64,
        tree: Option<&Tree>,
        effects: &mut ResponderEffects,
    ) -> Result<(), PeerError> {
        let Request { call, epoch: asked, shape, ask } = request;
        if let Some((_, job)) = self.job.take()
            && job.call.exchange == call.exchange
        {
            return Err(PeerError::Impatient);
        }
        let reason = match tree {
            Some(tree) if asked == epoch && tree.shape() == shape => None,
            Some(_) if asked == epoch => Some(Reason::Shape),
            _ => Some(Reason::Epoch),
        };
        if let Some(reason) = reason {
            Responder::refuse(call, epoch, reason, effects);
            return Ok(());
        }
        match (ask, tree) {
            (Ask::Nodes(nodes), Some(tree)) => {
                let answer = Answer::Nodes(differing(&nodes, tree)?);
                effects.push(ResponderEffect::Send(Reply { call, answer }));
            }
            (Ask::Pages(pages), _) => {
                check_pages(&self.settings, shape, &pages)?;
                self.begin(call, pages, effects);
            }
            (Ask::Nodes(_), None) => unreachable!("refused above"),
        }
        Ok(())
    }

    /// The answer to [`ResponderEffect::ReadLeaf`]: keys in order; `end` when the leaf has no more. An empty page is an
    /// end. One that was asked for by another ticket is ignored.
    pub fn on_leaf_page(&mut self, ticket: u32, mut entries: Vec<Entry>, end: bool, effects: &mut ResponderEffects) {
        let Some((read, mut job)) = self.job.take_if(|(read, _)| read.ticket == ticket) else { return };
        let end = read.fit(&mut entries, end);
        match job.compare(entries, end) {
            Step::ReadOn => self.read(job, effects),
            Step::NextPage => match job.next_page() {
                true => self.read(job, effects),
                false => effects.push(job.reply()),
            },
            Step::Full => effects.push(job.reply()),
        }
    }

    /// The leaf could not be read: the peer is told. `epoch` is this node's.
    pub fn on_leaf_failed(&mut self, ticket: u32, epoch: u64, effects: &mut ResponderEffects) {
        if let Some((_, job)) = self.job.take_if(|(read, _)| read.ticket == ticket) {
            Responder::refuse(job.call, epoch, Reason::Failed, effects);
        }
    }

    /// Refuses a request that the driver does not want to have looked at.
    pub fn refuse(call: Call, epoch: u64, reason: Reason, effects: &mut ResponderEffects) {
        effects.push(ResponderEffect::Send(Reply { call, answer: Answer::Refused { epoch, reason } }));
    }

    fn begin(&mut self, call: Call, pages: Vec<LeafPage>, effects: &mut ResponderEffects) {
        let mut pages = pages.into_iter();
        let page = pages.next().expect("checked");
        let job = Job {
            call,
            own: page.after.clone(),
            page,
            pages,
            diff: LeafDiff::EMPTY,
            compared: 0,
            diffs: Vec::new(),
            extra_left: self.settings.entries_max,
            bytes_left: self.settings.keys_bytes_max,
        };
        self.read(job, effects);
    }

    fn read(&mut self, job: Job, effects: &mut ResponderEffects) {
        self.tickets = self.tickets.wrapping_add(1);
        // Where the range ends within the leaf, one key more than is expected shows that it is over.
        let expected = if job.page.end { usize::MAX } else { job.page.entries.len() - job.compared + 1 };
        let read = LeafRead {
            ticket: self.tickets,
            leaf: job.page.leaf,
            after: job.own.clone(),
            entries_max: self.settings.entries_max.min(expected),
            bytes_max: self.settings.keys_bytes_max,
        };
        effects.push(ResponderEffect::ReadLeaf(read.clone()));
        self.job = Some((read, job));
    }
}

enum Step {
    /// The page's range has more of this side's keys.
    ReadOn,
    /// The page is compared.
    NextPage,
    /// The reply is.
    Full,
}

impl Job {
    /// Compares this side's next keys with the page, `end` when the leaf has no more.
    fn compare(&mut self, entries: Vec<Entry>, end: bool) -> Step {
        for own in entries {
            if self.is_beyond(&own.key) {
                return self.page_done();
            }
            self.skip_missing(&own.key);
            match self.page.entries.get(self.compared) {
                Some(theirs) if theirs.key == own.key => {
                    if theirs.digest != own.digest {
                        self.diff.differing.push((self.compared as u32, own.digest));
                    }
                    self.compared += 1;
                    self.own = Some(own.key);
                }
                _ => {
                    if self.extra_left == 0 || self.bytes_left == 0 {
                        return self.full();
                    }
                    self.extra_left -= 1;
                    self.bytes_left = self.bytes_left.saturating_sub(own.key.len());
                    self.own = Some(own.key.clone());
                    self.diff.extra.push(own);
                }
            }
        }
        if end { self.page_done() } else { Step::ReadOn }
    }

    fn is_beyond(&self, key: &Key) -> bool {
        !self.page.end && self.page.entries.last().is_none_or(|last| *key > last.key)
    }

    /// Entries of the page before one of this side's own keys are keys that it does not have.
    fn skip_missing(&mut self, own: &Key) {
        while self.page.entries.get(self.compared).is_some_and(|theirs| theirs.key < *own) {
            self.diff.missing.push(self.compared as u32);
            self.compared += 1;
        }
    }

    fn page_done(&mut self) -> Step {
        self.diff.missing.extend(self.compared as u32..self.page.entries.len() as u32);
        self.diffs.push(std::mem::replace(&mut self.diff, LeafDiff::EMPTY));
        Step::NextPage
    }

    /// No room for another key: what was compared of this page is the end of the reply.
    fn full(&mut self) -> Step {
        let theirs = self.compared.checked_sub(1).map(|last| &self.page.entries[last].key);
        let own = self.own.as_ref().filter(|own| Some(*own) != self.page.after.as_ref());
        if let Some(last) = theirs.max(own) {
            let covered = Covered::UpTo(last.clone());
            self.diffs.push(LeafDiff { covered, ..std::mem::replace(&mut self.diff, LeafDiff::EMPTY) });
        }
        Step::Full
    }

    fn next_page(&mut self) -> bool {
        let Some(page) = self.pages.next() else { return false };
        self.own = page.after.clone();
        self.compared = 0;
        self.page = page;
        true
    }

    fn reply(self) -> ResponderEffect {
        ResponderEffect::Send(Reply { call: self.call, answer: Answer::Pages(self.diffs) })
    }
}

impl LeafDiff {
    const EMPTY: LeafDiff =
        LeafDiff { missing: Vec::new(), differing: Vec::new(), extra: Vec::new(), covered: Covered::Whole };
}

/// For each node, a bit per child that differs from this side's.
fn differing(nodes: &[NodeSums], tree: &Tree) -> Result<Vec<u16>, PeerError> {
    if nodes.len() > NODES_MAX {
        return Err(PeerError::TooMuch);
    }
    let shape = tree.shape();
    let mask = |node: &NodeSums| {
        if node.level >= shape.depth() || node.index >= shape.nodes_at(node.level) {
            return Err(PeerError::OutOfRange);
        }
        let own = tree.children(node.level, node.index);
        let bits = own.iter().zip(&node.sums).enumerate().map(|(slot, (own, sum))| u16::from(own != sum) << slot);
        Ok(bits.sum())
    };
    nodes.iter().map(mask).collect()
}

fn check_pages(settings: &Settings, shape: Shape, pages: &[LeafPage]) -> Result<(), PeerError> {
    let Some((_, whole)) = pages.split_last() else { return Err(PeerError::Contradiction) };
    let entries = || pages.iter().flat_map(|page| &page.entries);
    let bytes: usize = entries().map(|entry| entry.key.len()).sum();
    if pages.len() > NODES_MAX || entries().count() > ENTRIES_MAX || bytes > KEYS_BYTES_MAX {
        return Err(PeerError::TooMuch);
    }
    if whole.iter().any(|page| !page.end) || pages.iter().any(|page| !page.end && page.entries.is_empty()) {
        return Err(PeerError::Contradiction);
    }
    for page in pages {
        if page.leaf >= shape.leaves() {
            return Err(PeerError::OutOfRange);
        }
        check_keys(settings.hash, shape, page.leaf, page.after.as_deref(), &page.entries)?;
    }
    Ok(())
}
