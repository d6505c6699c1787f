//! Writes the parts of messages.

use super::{ANSWER_NODES, ANSWER_PAGES, ASK_NODES, ASK_PAGES, REFUSED};
use crate::message::{Answer, Ask, Call, Covered, Entry, LeafDiff, LeafPage, NodeSums, Reason, Reply, Request};

pub(super) struct Output(pub(super) Vec<u8>);

impl Output {
    pub(super) fn u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn count<T>(&mut self, list: &[T]) {
        self.number(list.len() as u64);
    }

    fn word(&mut self, word: u64) {
        self.0.extend_from_slice(&word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn ascending(&mut self, list: impl ExactSizeIterator<Item = u32>) {
        self.number(list.len() as u64);
        let mut next = 0;
        for value in list {
            self.step(&mut next, value);
        }
    }

    /// Wraps for what is not ascending, which decoding then refuses.
    fn step(&mut self, next: &mut u32, value: u32) {
        self.number(value.wrapping_sub(*next).into());
        *next = value.wrapping_add(1);
    }

    pub(super) fn roots(&mut self, roots: &[(u16, u64)]) {
        self.count(roots);
        let mut next = 0;
        for &(partition, root) in roots {
            self.step(&mut next, partition.into());
            self.word(root);
        }
    }

    fn call(&mut self, kind: u8, call: &Call) {
        self.u8(kind);
        self.number(call.partition.into());
        self.number(call.exchange.into());
        self.number(call.step.into());
    }

    pub(super) fn request(&mut self, Request { call, epoch, shape, ask }: &Request) {
        self.call(if matches!(ask, Ask::Nodes(_)) { ASK_NODES } else { ASK_PAGES }, call);
        self.number(*epoch);
        self.u8(shape.depth());
        match ask {
            Ask::Nodes(nodes) => {
                self.count(nodes);
                nodes.iter().for_each(|node| self.node(node));
            }
            Ask::Pages(pages) => {
                self.count(pages);
                pages.iter().for_each(|page| self.page(page));
            }
        }
    }

    fn node(&mut self, NodeSums { level, index, sums }: &NodeSums) {
        self.u8(*level);
        self.number((*index).into());
        let used = sums.iter().enumerate().filter(|(_, sum)| **sum != 0);
        let mask: u16 = used.clone().map(|(slot, _)| 1 << slot).sum();
        self.0.extend_from_slice(&mask.to_be_bytes());
        used.for_each(|(_, sum)| self.word(*sum));
    }

    fn page(&mut self, LeafPage { leaf, after, entries, end }: &LeafPage) {
        self.number((*leaf).into());
        self.bytes(after.as_deref().unwrap_or_default());
        self.entries(entries);
        self.u8((*end).into());
    }

    fn entries(&mut self, entries: &[Entry]) {
        self.count(entries);
        let mut before: &[u8] = &[];
        for Entry { key, digest } in entries {
            let common = before.iter().zip(key).take_while(|(one, other)| one == other).count();
            self.number(common as u64);
            self.bytes(&key[common..]);
            self.word(*digest);
            before = key;
        }
    }

    pub(super) fn reply(&mut self, Reply { call, answer }: &Reply) {
        match answer {
            Answer::Nodes(masks) => {
                self.call(ANSWER_NODES, call);
                self.count(masks);
                masks.iter().for_each(|mask| self.0.extend_from_slice(&mask.to_be_bytes()));
            }
            Answer::Pages(diffs) => {
                self.call(ANSWER_PAGES, call);
                self.count(diffs);
                diffs.iter().for_each(|diff| self.diff(diff));
            }
            Answer::Refused { epoch, reason } => {
                self.call(REFUSED, call);
                self.number(*epoch);
                self.u8(match reason {
                    Reason::Epoch => 0,
                    Reason::Shape => 1,
                    Reason::Busy => 2,
                    Reason::Failed => 3,
                });
            }
        }
    }

    fn diff(&mut self, LeafDiff { missing, differing, extra, covered }: &LeafDiff) {
        self.ascending(missing.iter().copied());
        self.count(differing);
        let mut next = 0;
        for &(position, digest) in differing {
            self.step(&mut next, position);
            self.word(digest);
        }
        self.entries(extra);
        // No key is empty, so nothing stands for all.
        self.bytes(if let Covered::UpTo(key) = covered { key } else { &[] });
    }
}
