//! Reads the parts of messages. Counts are believed only as far as the bytes that follow can bear them out.

use super::{ANSWER_NODES, ASK_NODES, DecodeError, REFUSED};
use crate::message::{
    Answer, Ask, Call, Covered, ENTRIES_MAX, Entry, KEY_BYTES_MAX, KEYS_BYTES_MAX, Key, LeafDiff, LeafPage, NODES_MAX,
    NodeSums, Reason,
};
use crate::shape::{FANOUT, Shape};

/// What is still to be read, and how much the message may still claim.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    entries_left: usize,
    keys_bytes_left: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes, entries_left: ENTRIES_MAX, keys_bytes_left: KEYS_BYTES_MAX }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn u32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError::NotCanonical("a number out of its range"))
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        u16::try_from(self.number()?).map_err(|_| DecodeError::NotCanonical("a partition out of its range"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], DecodeError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn word(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn mask(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let short = byte != 0 || shift == 0;
                return if short { Ok(value) } else { Err(DecodeError::NotCanonical("a number with leading zeroes")) };
            }
        }
        Err(DecodeError::NotCanonical("a number of more than 64 bits"))
    }

    /// How many items follow, each of some least length.
    fn count(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.number()?;
        if count > (self.bytes.len() / item_bytes_min) as u64 {
            Err(DecodeError::Truncated)
        } else {
            Ok(count as usize)
        }
    }

    fn count_of_nodes(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.count(item_bytes_min)?;
        if count > NODES_MAX { Err(DecodeError::TooMuch) } else { Ok(count) }
    }

    /// The next of ascending numbers, the least that it can be is `next`.
    fn step(&mut self, next: &mut u64) -> Result<u32, DecodeError> {
        let value = next.checked_add(self.number()?).and_then(|value| u32::try_from(value).ok());
        let value = value.ok_or(DecodeError::NotCanonical("a position out of its range"))?;
        *next = u64::from(value) + 1;
        Ok(value)
    }

    fn partition(&mut self, next: &mut u64) -> Result<u16, DecodeError> {
        u16::try_from(self.step(next)?).map_err(|_| DecodeError::NotCanonical("a partition out of its range"))
    }

    pub(super) fn roots(&mut self) -> Result<Vec<(u16, u64)>, DecodeError> {
        let mut next = 0;
        (0..self.count(9)?).map(|_| Ok((self.partition(&mut next)?, self.word()?))).collect()
    }

    pub(super) fn partitions(&mut self) -> Result<Vec<u16>, DecodeError> {
        let mut next = 0;
        (0..self.count(1)?).map(|_| self.partition(&mut next)).collect()
    }

    pub(super) fn call(&mut self) -> Result<Call, DecodeError> {
        Ok(Call { partition: self.u16()?, exchange: self.u32()?, step: self.u32()? })
    }

    pub(super) fn shape(&mut self) -> Result<Shape, DecodeError> {
        Shape::new(self.u8()?).ok_or(DecodeError::NotCanonical("a depth that no tree has"))
    }

    pub(super) fn ask(&mut self, kind: u8) -> Result<Ask, DecodeError> {
        Ok(if kind == ASK_NODES {
            Ask::Nodes((0..self.count_of_nodes(4)?).map(|_| self.node()).collect::<Result<_, _>>()?)
        } else {
            Ask::Pages((0..self.count_of_nodes(4)?).map(|_| self.page()).collect::<Result<_, _>>()?)
        })
    }

    fn node(&mut self) -> Result<NodeSums, DecodeError> {
        let (level, index, mask) = (self.u8()?, self.u32()?, self.mask()?);
        let mut sums = [0; FANOUT];
        for sum in sums.iter_mut().enumerate().filter(|(slot, _)| mask & 1 << slot != 0).map(|(_, sum)| sum) {
            *sum = self.word()?;
            if *sum == 0 {
                return Err(DecodeError::NotCanonical("a sum of 0 that is spelled out"));
            }
        }
        Ok(NodeSums { level, index, sums })
    }

    fn page(&mut self) -> Result<LeafPage, DecodeError> {
        let (leaf, after, entries) = (self.u32()?, self.key_or_none()?, self.entries()?);
        let end = match self.u8()? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::NotCanonical("neither an end nor none")),
        };
        Ok(LeafPage { leaf, after, entries, end })
    }

    fn key_or_none(&mut self) -> Result<Option<Key>, DecodeError> {
        let length = self.count(1)?;
        Ok(if length == 0 { None } else { Some(self.key(&[], length)?) })
    }

    /// A key that begins like another one, and `length` bytes more.
    fn key(&mut self, common: &[u8], length: usize) -> Result<Key, DecodeError> {
        let rest = self.take(length)?;
        let whole = common.len() + length;
        self.keys_bytes_left = self.keys_bytes_left.checked_sub(whole).ok_or(DecodeError::TooMuch)?;
        if whole > KEY_BYTES_MAX { Err(DecodeError::TooMuch) } else { Ok([common, rest].concat().into()) }
    }

    fn entries(&mut self) -> Result<Vec<Entry>, DecodeError> {
        let count = self.count(11)?;
        self.entries_left = self.entries_left.checked_sub(count).ok_or(DecodeError::TooMuch)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        for _ in 0..count {
            let before: &[u8] = entries.last().map_or(&[], |entry| &entry.key);
            let common = usize::try_from(self.number()?).ok().and_then(|length| before.get(..length));
            let common = common.ok_or(DecodeError::NotCanonical("more in common than there is"))?;
            let length = self.count(1)?;
            let key = self.key(common, length)?;
            // Where the keys part, this one must be the greater: then they ascend, and no more is in common.
            if key.get(common.len()) <= before.get(common.len()) {
                return Err(DecodeError::NotCanonical("keys out of order"));
            }
            entries.push(Entry { key, digest: self.word()? });
        }
        Ok(entries)
    }

    pub(super) fn answer(&mut self, kind: u8) -> Result<Answer, DecodeError> {
        Ok(match kind {
            ANSWER_NODES => Answer::Nodes((0..self.count_of_nodes(2)?).map(|_| self.mask()).collect::<Result<_, _>>()?),
            REFUSED => Answer::Refused { epoch: self.number()?, reason: self.reason()? },
            _ => Answer::Pages((0..self.count_of_nodes(4)?).map(|_| self.diff()).collect::<Result<_, _>>()?),
        })
    }

    fn reason(&mut self) -> Result<Reason, DecodeError> {
        Ok(match self.u8()? {
            0 => Reason::Epoch,
            1 => Reason::Shape,
            2 => Reason::Busy,
            3 => Reason::Failed,
            _ => return Err(DecodeError::NotCanonical("an unknown reason")),
        })
    }

    fn diff(&mut self) -> Result<LeafDiff, DecodeError> {
        let (mut next_missing, mut next_differing) = (0, 0);
        let missing = (0..self.count(1)?).map(|_| self.step(&mut next_missing)).collect::<Result<Vec<_>, _>>()?;
        let differing = (0..self.count(9)?).map(|_| Ok((self.step(&mut next_differing)?, self.word()?)));
        let differing = differing.collect::<Result<Vec<_>, DecodeError>>()?;
        let named = missing.len().max(differing.len());
        let extra = self.entries()?;
        let covered = self.key_or_none()?.map_or(Covered::Whole, Covered::UpTo);
        if named > ENTRIES_MAX {
            Err(DecodeError::TooMuch)
        } else {
            Ok(LeafDiff { missing, differing, extra, covered })
        }
    }
}
