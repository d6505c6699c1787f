//! What a node reports about the step that is under way, to whoever drives it.

use dynamo_ring::NodeId;

use crate::message::Malformed;

/// Where a gaining node stands with one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillReport {
    /// The partition.
    pub partition: u16,
    /// Old homes from which it has had everything once.
    pub caught_up: Vec<NodeId>,
    /// Old homes from which it has had everything that they ever applied: they had sealed.
    pub complete: Vec<NodeId>,
}

/// A node's part in the step under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The register's version that it speaks of: about another one it says nothing.
    pub version: u64,
    /// Which life of its disk speaks.
    pub incarnation: u64,
    /// As an old home it has sealed all that the step moves.
    pub sealed: bool,
    /// What the step moves of which it is an old home and is not whole: there it is no source.
    pub lacking: Vec<u16>,
    /// What it gains.
    pub fills: Vec<FillReport>,
    /// Bytes that it received for this step.
    pub bytes: u64,
    /// Partitions of which it has records and is no home.
    pub leftovers: u32,
    /// Partitions of which it is a home and that are not filled yet.
    pub refilling: u32,
    /// Why it does not go on, in a sentence; empty: it does.
    pub blocked: String,
}

impl Report {
    /// As bytes. Numbers are big-endian, lists have a count before them.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.version, self.incarnation, self.bytes] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for number in [self.leftovers, self.refilling] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.push(self.sealed.into());
        let blocked = &self.blocked.as_bytes()[..self.blocked.floor_char_boundary(1000)];
        out.extend_from_slice(&(blocked.len() as u16).to_be_bytes());
        out.extend_from_slice(blocked);
        out.extend_from_slice(&(self.lacking.len() as u32).to_be_bytes());
        self.lacking.iter().for_each(|partition| out.extend_from_slice(&partition.to_be_bytes()));
        out.extend_from_slice(&(self.fills.len() as u32).to_be_bytes());
        for FillReport { partition, caught_up, complete } in &self.fills {
            out.extend_from_slice(&partition.to_be_bytes());
            for nodes in [caught_up, complete] {
                out.push(nodes.len() as u8);
                nodes.iter().for_each(|node| out.extend_from_slice(&node.0.to_be_bytes()));
            }
        }
        out
    }

    /// Reads a report.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn decode(bytes: &[u8]) -> Result<Report, Malformed> {
        let mut input = Input(bytes);
        let [version, incarnation, bytes] = [input.u64()?, input.u64()?, input.u64()?];
        let [leftovers, refilling] = [input.u32()?, input.u32()?];
        let sealed = match input.take()? {
            [0] => false,
            [1] => true,
            _ => return Err(Malformed("a report that is neither sealed nor not".into())),
        };
        let length = usize::from(u16::from_be_bytes(input.take()?));
        let (blocked, rest) = input.0.split_at_checked(length).ok_or_else(short)?;
        input.0 = rest;
        let blocked = String::from_utf8(blocked.to_vec()).map_err(|_| Malformed("words that are no text".into()))?;
        let mut lacking = Vec::new();
        for _ in 0..input.u32()? {
            lacking.push(u16::from_be_bytes(input.take()?));
        }
        let mut fills = Vec::new();
        for _ in 0..input.u32()? {
            let partition = u16::from_be_bytes(input.take()?);
            fills.push(FillReport { partition, caught_up: input.nodes()?, complete: input.nodes()? });
        }
        if !input.0.is_empty() {
            return Err(Malformed("bytes after a report's end".into()));
        }
        Ok(Report { version, incarnation, sealed, lacking, fills, bytes, leftovers, refilling, blocked })
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_be_bytes)
    }

    fn nodes(&mut self) -> Result<Vec<NodeId>, Malformed> {
        let [count] = self.take()?;
        (0..count).map(|_| Ok(NodeId(u128::from_be_bytes(self.take()?)))).collect()
    }
}

fn short() -> Malformed {
    Malformed("a report that ends too early".into())
}
