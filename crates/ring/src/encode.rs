//! A ring as bytes: on disk, to clients, to peers.
//!
//! `format u8 | epoch u64 | Q u32 | N u8 | members u16 | (id 16, weight u32, name, zone)* | owners u16 * Q | check 8`,
//! numbers big-endian, names with a length byte; the check is the first half of the MD5 of all before it. Decoding takes
//! only a ring that passes [`Ring::check`], and never panics.

use md5::{Digest, Md5};

use crate::{
    error::RingError,
    id::NodeId,
    position::PartitionCount,
    ring::{Member, Ring},
};

/// The format of an encoded ring, its first byte, that is written, and the newest that is read.
pub const FORMAT: u8 = 1;
pub(crate) const CHECK: usize = 8;

impl Ring {
    /// The ring as bytes: what is stored, and what clients are sent so that they find coordinators themselves (§6.4).
    /// Two bytes a partition, and some 25 and its names a member. Equal rings have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&self.epoch().to_be_bytes());
        out.extend_from_slice(&self.partitions().get().to_be_bytes());
        out.push(self.n());
        out.extend_from_slice(&(self.members().len() as u16).to_be_bytes());
        self.members().iter().for_each(|member| put_member(&mut out, member));
        for owner in self.owners() {
            out.extend_from_slice(&owner.to_be_bytes());
        }
        let check = check(&out);
        out.extend_from_slice(&check);
        out
    }

    /// Reads a ring. Never panics, whatever the bytes.
    ///
    /// ```
    /// # use dynamo_ring::{Member, NodeId, PartitionCount, Ring, RingError};
    /// # let id = NodeId::initial("shop", "a");
    /// # let alone = Member { id, name: "a".to_owned(), zone: "z".to_owned(), weight: 1 };
    /// # let ring = Ring::bootstrap(3, PartitionCount::try_from(8)?, vec![alone])?;
    /// let mut bytes = ring.encode();
    /// assert_eq!(Ring::decode(&bytes), Ok(ring));
    /// bytes[9] ^= 1;
    /// assert!(matches!(Ring::decode(&bytes), Err(RingError::Malformed(_))));
    /// # Ok::<(), RingError>(())
    /// ```
    ///
    /// # Errors
    /// - [`RingError::NewerFormat`]: a newer version wrote it.
    /// - [`RingError::Malformed`]: the bytes are cut short, damaged, or go on after the end.
    /// - Any other: undamaged bytes of what is no ring, as for [`Ring::bootstrap`] and [`Ring::check`].
    pub fn decode(bytes: &[u8]) -> Result<Ring, RingError> {
        match bytes.first() {
            Some(&found) if found > FORMAT => return Err(RingError::NewerFormat { found, known: FORMAT }),
            Some(&FORMAT) if bytes.len() > CHECK => {}
            Some(&FORMAT) | None => return Err(RingError::Malformed("too short")),
            Some(_) => return Err(RingError::Malformed("of no format")),
        }
        let (body, sum) = bytes.split_at(bytes.len() - CHECK);
        if check(body) != sum {
            return Err(RingError::Malformed("its check does not fit"));
        }
        let mut input = Input(&body[1..]);
        let epoch = u64::from_be_bytes(input.take()?);
        let partitions = PartitionCount::try_from(u32::from_be_bytes(input.take()?))?;
        let [n] = input.take()?;
        let count = u16::from_be_bytes(input.take()?);
        let members = (0..count).map(|_| input.member()).collect::<Result<Vec<_>, _>>()?;
        let owners =
            (0..partitions.get()).map(|_| input.take().map(u16::from_be_bytes)).collect::<Result<Vec<_>, _>>()?;
        if !input.0.is_empty() {
            return Err(RingError::Malformed("bytes after its end"));
        }
        Ring::from_parts(epoch, partitions, n, members, owners)
    }
}

pub(crate) fn put_member(out: &mut Vec<u8>, Member { id, name, zone, weight }: &Member) {
    out.extend_from_slice(&id.0.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    for text in [name, zone] {
        out.push(text.len() as u8);
        out.extend_from_slice(text.as_bytes());
    }
}

pub(crate) fn check(body: &[u8]) -> [u8; CHECK] {
    let digest: [u8; 16] = Md5::digest(body).into();
    digest[..CHECK].try_into().expect("half of it")
}

/// Bytes that are being read.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], RingError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(RingError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn text(&mut self) -> Result<String, RingError> {
        let [length] = self.take()?;
        let (taken, rest) = self.0.split_at_checked(length.into()).ok_or(RingError::Malformed("it ends too early"))?;
        self.0 = rest;
        String::from_utf8(taken.to_vec()).map_err(|_| RingError::Malformed("a name that is no text"))
    }

    pub(crate) fn member(&mut self) -> Result<Member, RingError> {
        let id = NodeId(u128::from_be_bytes(self.take()?));
        let weight = u32::from_be_bytes(self.take()?);
        Ok(Member { id, weight, name: self.text()?, zone: self.text()? })
    }
}
