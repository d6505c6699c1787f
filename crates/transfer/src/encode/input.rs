//! Reads the parts of questions and answers. Counts are believed only as far as the bytes that follow can bear them out.

use bytes::Bytes;
use dynamo_merkle::{Call, KEY_BYTES_MAX, Key};

use super::{DecodeError, FORMAT};
use crate::question::{Record, Stored};

/// What is still to be read.
pub(crate) struct Input<'a> {
    whole: &'a Bytes,
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// Reads the format and the kind.
    pub(crate) fn begin(whole: &'a Bytes) -> Result<(u8, Input<'a>), DecodeError> {
        let mut input = Input { whole, bytes: whole };
        match input.u8()? {
            FORMAT => Ok((input.u8()?, input)),
            0 => Err(DecodeError::NotCanonical("format 0")),
            found => Err(DecodeError::NewerFormat { found }),
        }
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::NotCanonical("neither yes nor no")),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
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

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError::NotCanonical("a number out of its range"))
    }

    pub(super) fn call(&mut self) -> Result<Call, DecodeError> {
        let partition = u16::try_from(self.number()?);
        let partition = partition.map_err(|_| DecodeError::NotCanonical("a partition out of its range"))?;
        Ok(Call { partition, exchange: self.u32()?, step: self.u32()? })
    }

    pub(crate) fn digest(&mut self) -> Result<u64, DecodeError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(u64::from_be_bytes(*taken))
    }

    fn take(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.number()?).map_err(|_| DecodeError::Truncated)?;
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// So many items follow as are counted, each of some least length.
    pub(super) fn list<T>(
        &mut self,
        item_bytes_min: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.number()?;
        if count > (self.bytes.len() / item_bytes_min) as u64 {
            return Err(DecodeError::Truncated);
        }
        // Not reserved at once: an item in memory is larger than the least that it takes here.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn key_or_none(&mut self) -> Result<Option<Key>, DecodeError> {
        match self.take()? {
            [] => Ok(None),
            key if key.len() > KEY_BYTES_MAX => Err(DecodeError::NotCanonical("a key that is too long")),
            key => Ok(Some(key.into())),
        }
    }

    pub(super) fn key(&mut self) -> Result<Key, DecodeError> {
        self.key_or_none()?.ok_or(DecodeError::NotCanonical("a key of no bytes"))
    }

    fn set(&mut self) -> Result<Bytes, DecodeError> {
        let set = self.take()?;
        Ok(self.whole.slice_ref(set))
    }

    pub(super) fn records(&mut self) -> Result<Vec<Record>, DecodeError> {
        self.list(11, |input| Ok(Record { key: input.key()?, set: input.set()?, digest: input.digest()? }))
    }

    pub(super) fn stored(&mut self) -> Result<Stored, DecodeError> {
        Ok(match self.u8()? {
            0 => Stored::Absent,
            1 => Stored::Damaged,
            2 => Stored::State { set: self.set()?, digest: self.digest()? },
            _ => return Err(DecodeError::NotCanonical("neither a state nor none")),
        })
    }
}
