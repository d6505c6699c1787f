//! What keepers say to each other to collect tombstones, as bytes. Numbers are big-endian, lists have a count before them.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::message::Malformed;

/// How far a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Is everybody there, and which process is it?
    Open = 1,
    /// The owners of tokens find what is spent, and that all homes have it alike.
    List = 2,
    /// All say of which partitions they hold nothing for others.
    Promise = 3,
    /// The epoch has turned: has anything come in between?
    Passed = 4,
    /// The owners have all homes remove what was found.
    Collect = 5,
}

/// What the caller of a round asks of each member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundAsk {
    /// The round's number, drawn by lot.
    pub round: u64,
    /// The register's version under which it is asked.
    pub version: u64,
    /// How far it is.
    pub stage: Stage,
    /// With [`Stage::Collect`]: which partitions.
    pub partitions: BTreeSet<u16>,
}

/// What a member says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundReply {
    /// The round's number.
    pub round: u64,
    /// The register's version that the member goes by.
    pub version: u64,
    /// Which stage it speaks of.
    pub stage: Stage,
    /// Which run of its process speaks: whatever it said in an earlier one is void.
    pub boot: u64,
    /// It has done what the stage asks; the rest says nothing before that.
    pub done: bool,
    /// Keys that it has found, or removed.
    pub found: u32,
    /// There were more than fit into a round.
    pub more: bool,
    /// Of which it has found something, or for keys of which it holds nothing for others.
    pub partitions: BTreeSet<u16>,
}

/// A state of a key that nobody needs any more: a tombstone, or one that names actors who are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key, as the engine has it.
    pub key: Bytes,
    /// The state's digest.
    pub digest: u64,
}

/// Items of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    /// The register's version under which they are asked for.
    pub version: u64,
    /// Which partition.
    pub partition: u16,
    /// Which items.
    pub items: Vec<Item>,
}

impl Stage {
    fn of(byte: u8) -> Result<Stage, Malformed> {
        [Stage::Open, Stage::List, Stage::Promise, Stage::Passed, Stage::Collect]
            .into_iter()
            .find(|stage| *stage as u8 == byte)
            .ok_or_else(|| Malformed(format!("a stage {byte} of a round, which this version does not know")))
    }
}

impl RoundAsk {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = [self.round.to_be_bytes(), self.version.to_be_bytes()].concat();
        out.push(self.stage as u8);
        put_partitions(&mut out, &self.partitions);
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<RoundAsk, Malformed> {
        let mut input = Input(bytes);
        let [round, version] = [input.u64()?, input.u64()?];
        let stage = Stage::of(input.u8()?)?;
        let partitions = input.partitions()?;
        input.end(RoundAsk { round, version, stage, partitions })
    }
}

impl RoundReply {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = [self.round.to_be_bytes(), self.version.to_be_bytes(), self.boot.to_be_bytes()].concat();
        out.extend_from_slice(&[self.stage as u8, u8::from(self.done) | u8::from(self.more) << 1]);
        out.extend_from_slice(&self.found.to_be_bytes());
        put_partitions(&mut out, &self.partitions);
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<RoundReply, Malformed> {
        let mut input = Input(bytes);
        let [round, version, boot] = [input.u64()?, input.u64()?, input.u64()?];
        let stage = Stage::of(input.u8()?)?;
        let flags = input.u8()?;
        if flags > 3 {
            return Err(Malformed("flags of a round that this version does not know".into()));
        }
        let (done, more) = (flags & 1 == 1, flags & 2 == 2);
        let found = u32::from_be_bytes(input.take()?);
        let partitions = input.partitions()?;
        input.end(RoundReply { round, version, stage, boot, done, found, more, partitions })
    }
}

impl Items {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.version.to_be_bytes().to_vec();
        out.extend_from_slice(&self.partition.to_be_bytes());
        out.extend_from_slice(&(self.items.len() as u32).to_be_bytes());
        for Item { key, digest } in &self.items {
            out.extend_from_slice(&digest.to_be_bytes());
            out.extend_from_slice(&(key.len() as u32).to_be_bytes());
            out.extend_from_slice(key);
        }
        out
    }

    /// Reads them. The keys are copied: they outlive the message.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<Items, Malformed> {
        let mut input = Input(bytes);
        let version = input.u64()?;
        let partition = u16::from_be_bytes(input.take()?);
        let mut items = Vec::new();
        for _ in 0..u32::from_be_bytes(input.take()?) {
            let digest = input.u64()?;
            let length = u32::from_be_bytes(input.take()?) as usize;
            let (key, rest) = input.0.split_at_checked(length).ok_or_else(short)?;
            input.0 = rest;
            items.push(Item { key: Bytes::copy_from_slice(key), digest });
        }
        input.end(Items { version, partition, items })
    }
}

/// `version u64 | a byte each`
pub(crate) fn encode_same(version: u64, same: &[bool]) -> Vec<u8> {
    let mut out = version.to_be_bytes().to_vec();
    out.extend(same.iter().map(|same| u8::from(*same)));
    out
}

pub(crate) fn decode_same(bytes: &[u8]) -> Result<(u64, Vec<bool>), Malformed> {
    let mut input = Input(bytes);
    let version = input.u64()?;
    let same = input.0.iter().map(|byte| match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("an item that is neither the same nor another".into())),
    });
    Ok((version, same.collect::<Result<_, _>>()?))
}

fn put_partitions(out: &mut Vec<u8>, partitions: &BTreeSet<u16>) {
    out.extend_from_slice(&(partitions.len() as u32).to_be_bytes());
    partitions.iter().for_each(|partition| out.extend_from_slice(&partition.to_be_bytes()));
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    fn partitions(&mut self) -> Result<BTreeSet<u16>, Malformed> {
        let count = u32::from_be_bytes(self.take()?);
        (0..count).map(|_| self.take().map(u16::from_be_bytes)).collect()
    }

    fn end<T>(&self, read: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(read) } else { Err(Malformed("bytes after a round's end".into())) }
    }
}

fn short() -> Malformed {
    Malformed("a message of a round that ends too early".into())
}
