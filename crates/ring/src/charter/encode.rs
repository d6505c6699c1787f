//! A charter as bytes: the register's payload.
//!
//! `'C' | format u8 | ring | lives | gone | 0 or (1 | change) | barrier | leavers | check 8`. Format 1 has neither a barrier nor
//! leavers, and is written where there are none; format 3 says of the change that a loss is accepted, and is written only
//! then: who reads no further than 2 must not drive such a change, nor take one for it. A ring is its own encoding with a
//! length u32 before it; lists have a count before them; numbers are big-endian; the check is the first half of the MD5 of
//! all before it. Decoding never panics, and never takes memory by a count alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Barrier, Charter, CharterError, Gone, Move, Moves, RingChange};
use crate::{
    encode::{CHECK, Input, check, put_member},
    error::RingError,
    id::NodeId,
    position::Partition,
    ring::{Member, Ring},
};

/// The format that is written, and the newest that is read.
pub const CHARTER_FORMAT: u8 = 3;
/// Without a change that accepts a loss.
const FORMAT_2: u8 = 2;
/// Without barrier and leavers.
const FORMAT_1: u8 = 1;
const KIND: u8 = b'C';

impl Charter {
    /// The charter as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let plain = self.barrier == Barrier::default() && self.leavers.is_empty();
        let format = match &self.change {
            Some(change) if change.accept_loss => CHARTER_FORMAT,
            _ if plain => FORMAT_1,
            _ => FORMAT_2,
        };
        let mut out = vec![KIND, format];
        let ring = self.ring.encode();
        out.extend_from_slice(&(ring.len() as u32).to_be_bytes());
        out.extend_from_slice(&ring);
        put_lives(&mut out, &self.lives);
        out.extend_from_slice(&(self.gone.len() as u32).to_be_bytes());
        for Gone { id, incarnation } in &self.gone {
            out.extend_from_slice(&id.0.to_be_bytes());
            out.extend_from_slice(&incarnation.to_be_bytes());
        }
        out.push(self.change.is_some().into());
        if let Some(change) = &self.change {
            put_change(&mut out, change);
        }
        if format > FORMAT_1 {
            out.extend_from_slice(&self.barrier.epoch.to_be_bytes());
            out.extend_from_slice(&self.barrier.round.to_be_bytes());
            out.extend_from_slice(&(self.leavers.len() as u16).to_be_bytes());
            self.leavers.iter().for_each(|id| out.extend_from_slice(&id.0.to_be_bytes()));
        }
        let check = check(&out);
        out.extend_from_slice(&check);
        out
    }

    /// Reads a charter.
    ///
    /// # Errors
    /// Damaged bytes, a newer format, or what is no ring.
    pub fn decode(bytes: &[u8]) -> Result<Charter, CharterError> {
        let format = match bytes {
            [KIND, format @ (FORMAT_1 | FORMAT_2 | CHARTER_FORMAT), ..] if bytes.len() > CHECK + 2 => *format,
            [KIND, found, ..] if *found > CHARTER_FORMAT => return Err(CharterError::NewerFormat { found: *found }),
            _ => return Err(CharterError::Malformed("too short, or of no format")),
        };
        let (body, sum) = bytes.split_at(bytes.len() - CHECK);
        if check(body) != sum {
            return Err(CharterError::Malformed("its check does not fit"));
        }
        let mut input = Input(&body[2..]);
        let length = u32::from_be_bytes(take(&mut input)?) as usize;
        let (ring, rest) = input.0.split_at_checked(length).ok_or(CharterError::Malformed("it ends too early"))?;
        input.0 = rest;
        let ring = Ring::decode(ring)?;
        let lives = lives(&mut input)?;
        let mut gone = BTreeSet::new();
        for _ in 0..u32::from_be_bytes(take(&mut input)?) {
            gone.insert(Gone { id: id(&mut input)?, incarnation: u64::from_be_bytes(take(&mut input)?) });
        }
        let mut change = match take(&mut input)? {
            [0] => None,
            [1] => Some(change(&mut input)?),
            _ => return Err(CharterError::Malformed("neither a change nor none")),
        };
        if format == CHARTER_FORMAT {
            change.as_mut().ok_or(CharterError::Malformed("a loss is accepted, and nothing changes"))?.accept_loss =
                true;
        }
        let (mut barrier, mut leavers) = (Barrier::default(), BTreeSet::new());
        if format > FORMAT_1 {
            let epoch = u64::from_be_bytes(take(&mut input)?);
            barrier = Barrier { epoch, round: u64::from_be_bytes(take(&mut input)?) };
            for _ in 0..u16::from_be_bytes(take(&mut input)?) {
                leavers.insert(id(&mut input)?);
            }
        }
        if !input.0.is_empty() {
            return Err(CharterError::Malformed("bytes after its end"));
        }
        let charter = Charter { ring, lives, gone, change, barrier, leavers };
        // What is worked out later without looking has to be there.
        let mut walker = charter.clone();
        while let Some(change) = &walker.change {
            let moves = change.steps.first().ok_or(CharterError::Malformed("a change without steps"))?;
            walker.after(change, moves, change.steps.len() == 1)?;
            walker = walker.turn().expect("there is a change");
        }
        Ok(charter)
    }
}

fn put_change(out: &mut Vec<u8>, change: &RingChange) {
    out.extend_from_slice(&change.id.to_be_bytes());
    let what = &change.what.as_bytes()[..change.what.floor_char_boundary(usize::from(u16::MAX))];
    out.extend_from_slice(&(what.len() as u16).to_be_bytes());
    out.extend_from_slice(what);
    for members in [&change.members, &change.origin] {
        out.extend_from_slice(&(members.len() as u16).to_be_bytes());
        members.iter().for_each(|member| put_member(out, member));
    }
    for steps in [&change.steps, &change.undo] {
        out.extend_from_slice(&(steps.len() as u32).to_be_bytes());
        for moves in steps {
            out.extend_from_slice(&(moves.len() as u32).to_be_bytes());
            for Move { partition, to } in moves {
                out.extend_from_slice(&partition.0.to_be_bytes());
                out.extend_from_slice(&to.0.to_be_bytes());
            }
        }
    }
    out.extend_from_slice(&(change.lost.len() as u16).to_be_bytes());
    change.lost.iter().for_each(|id| out.extend_from_slice(&id.0.to_be_bytes()));
    put_lives(out, &change.lives);
    out.push(change.cancelled.into());
}

fn change(input: &mut Input<'_>) -> Result<RingChange, CharterError> {
    let number = u64::from_be_bytes(take(input)?);
    let length = usize::from(u16::from_be_bytes(take(input)?));
    let (what, rest) = input.0.split_at_checked(length).ok_or(CharterError::Malformed("it ends too early"))?;
    input.0 = rest;
    let what = String::from_utf8(what.to_vec()).map_err(|_| CharterError::Malformed("words that are no text"))?;
    let (members, origin) = (members(input)?, members(input)?);
    let (steps, undo) = (steps(input)?, steps(input)?);
    let lost = (0..u16::from_be_bytes(take(input)?)).map(|_| id(input)).collect::<Result<_, _>>()?;
    let lives = lives(input)?;
    let cancelled = match take(input)? {
        [0] => false,
        [1] => true,
        _ => return Err(CharterError::Malformed("neither taken back nor not")),
    };
    Ok(RingChange { id: number, what, members, steps, undo, origin, lost, accept_loss: false, lives, cancelled })
}

fn put_lives(out: &mut Vec<u8>, lives: &BTreeMap<NodeId, u64>) {
    out.extend_from_slice(&(lives.len() as u16).to_be_bytes());
    for (id, life) in lives {
        out.extend_from_slice(&id.0.to_be_bytes());
        out.extend_from_slice(&life.to_be_bytes());
    }
}

fn lives(input: &mut Input<'_>) -> Result<BTreeMap<NodeId, u64>, CharterError> {
    let life = |input: &mut Input<'_>| Ok((id(input)?, u64::from_be_bytes(take(input)?)));
    (0..u16::from_be_bytes(take(input)?)).map(|_| life(input)).collect()
}

fn members(input: &mut Input<'_>) -> Result<Vec<Member>, CharterError> {
    let count = u16::from_be_bytes(take(input)?);
    (0..count).map(|_| input.member().map_err(malformed)).collect()
}

fn steps(input: &mut Input<'_>) -> Result<Vec<Moves>, CharterError> {
    let mut steps = Vec::new();
    for _ in 0..u32::from_be_bytes(take(input)?) {
        let mut moves = Vec::new();
        for _ in 0..u32::from_be_bytes(take(input)?) {
            let partition = Partition(u16::from_be_bytes(take(input)?));
            moves.push(Move { partition, to: id(input)? });
        }
        steps.push(moves);
    }
    Ok(steps)
}

fn id(input: &mut Input<'_>) -> Result<NodeId, CharterError> {
    Ok(NodeId(u128::from_be_bytes(take(input)?)))
}

fn take<const LENGTH: usize>(input: &mut Input<'_>) -> Result<[u8; LENGTH], CharterError> {
    input.take().map_err(malformed)
}

fn malformed(_: RingError) -> CharterError {
    CharterError::Malformed("it ends too early, or a name in it is no text")
}
