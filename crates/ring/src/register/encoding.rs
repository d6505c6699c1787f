//! A value and a voter's state as bytes: on disk, and a value between nodes.
//!
//! Value: `'V' | format u8 | version u64 | previous voters | voters | payload length u32 | payload | check 8`.
//! State: `'S' | format u8 | me | minted u64 | promised | 0 or (1 | ballot | value length u32 | value) | check 8`.
//! A voter is `id 16 | incarnation u64`, a list of them has its count as u16 before it, a ballot is `counter u64 | voter`.
//! Numbers are big-endian; the check is the first half of the MD5 of all before it. There is one encoding of each thing:
//! what decodes encodes to the same bytes. Decoding never panics.

use md5::{Digest, Md5};

use super::{
    ballot::{Ballot, Voter},
    error::RegisterError,
    message::Accepted,
    state::State,
    value::Value,
};
use crate::id::NodeId;

/// The format that is written, and the newest that is read.
pub const REGISTER_FORMAT: u8 = 1;
const CHECK: usize = 8;
const VALUE: u8 = b'V';
const STATE: u8 = b'S';

impl Value {
    /// The value as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VALUE, REGISTER_FORMAT];
        out.extend_from_slice(&self.version().to_be_bytes());
        for voters in self.groups() {
            out.extend_from_slice(&(voters.len() as u16).to_be_bytes());
            voters.iter().for_each(|voter| put_voter(&mut out, *voter));
        }
        put_bytes(&mut out, self.payload());
        sealed(out)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// Damaged bytes, a newer format, or a value that can't be.
    pub fn decode(bytes: &[u8]) -> Result<Value, RegisterError> {
        let mut input = Input::open(bytes, VALUE)?;
        let version = input.number()?;
        let (previous, voters) = (input.voters()?, input.voters()?);
        let payload = input.bytes()?.to_vec();
        input.end()?;
        if !voters.is_sorted() {
            return Err(RegisterError::Malformed("voters out of order"));
        }
        Value::from_parts(version, previous, voters, payload)
    }
}

impl State {
    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![STATE, REGISTER_FORMAT];
        put_voter(&mut out, self.me);
        out.extend_from_slice(&self.minted.to_be_bytes());
        put_ballot(&mut out, self.promised);
        out.push(self.accepted.is_some().into());
        if let Some(Accepted { ballot, value }) = &self.accepted {
            put_ballot(&mut out, *ballot);
            put_bytes(&mut out, &value.encode());
        }
        sealed(out)
    }

    /// Reads a state.
    ///
    /// # Errors
    /// Damaged bytes, a newer format, or a state that can't be.
    pub fn decode(bytes: &[u8]) -> Result<State, RegisterError> {
        let mut input = Input::open(bytes, STATE)?;
        let me = input.voter()?;
        let minted = input.number()?;
        let promised = input.ballot()?;
        let accepted = match input.take()? {
            [0] => None,
            [1] => Some(Accepted { ballot: input.ballot()?, value: Value::decode(input.bytes()?)? }),
            _ => return Err(RegisterError::Malformed("neither accepted nor not")),
        };
        input.end()?;
        if accepted.as_ref().is_some_and(|accepted| accepted.ballot > promised) {
            return Err(RegisterError::Malformed("accepted above its promise"));
        }
        Ok(State { me, minted, promised, accepted })
    }
}

pub(super) fn put_voter(out: &mut Vec<u8>, Voter { id, incarnation }: Voter) {
    out.extend_from_slice(&id.0.to_be_bytes());
    out.extend_from_slice(&incarnation.to_be_bytes());
}

pub(super) fn put_ballot(out: &mut Vec<u8>, Ballot { counter, proposer }: Ballot) {
    out.extend_from_slice(&counter.to_be_bytes());
    put_voter(out, proposer);
}

/// Bytes of a value: short enough for 32 bits by [`PAYLOAD_BYTES_MAX`](super::PAYLOAD_BYTES_MAX) and 65,535 voters.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let check = check(&body);
    body.extend_from_slice(&check);
    body
}

fn check(body: &[u8]) -> [u8; CHECK] {
    let digest: [u8; 16] = Md5::digest(body).into();
    digest[..CHECK].try_into().expect("half of it")
}

const SHORT: RegisterError = RegisterError::Malformed("it ends too early");

pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// What stands between the head and a check that fits.
    pub(super) fn open(bytes: &'a [u8], kind: u8) -> Result<Input<'a>, RegisterError> {
        match bytes {
            [first, found, ..] if *first == kind && *found > REGISTER_FORMAT => {
                return Err(RegisterError::NewerFormat { found: *found, known: REGISTER_FORMAT });
            }
            [first, REGISTER_FORMAT, ..] if *first == kind => {}
            _ => return Err(RegisterError::Malformed("it begins otherwise")),
        }
        let (body, sum) = bytes.split_last_chunk::<CHECK>().ok_or(SHORT)?;
        if check(body) != *sum {
            return Err(RegisterError::Malformed("its check does not fit"));
        }
        Ok(Input(body.get(2..).ok_or(SHORT)?))
    }

    pub(super) fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], RegisterError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn number(&mut self) -> Result<u64, RegisterError> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn voter(&mut self) -> Result<Voter, RegisterError> {
        Ok(Voter { id: NodeId(u128::from_be_bytes(self.take()?)), incarnation: self.number()? })
    }

    pub(super) fn voters(&mut self) -> Result<Vec<Voter>, RegisterError> {
        let count = u16::from_be_bytes(self.take()?);
        (0..count).map(|_| self.voter()).collect()
    }

    pub(super) fn ballot(&mut self) -> Result<Ballot, RegisterError> {
        Ok(Ballot { counter: self.number()?, proposer: self.voter()? })
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RegisterError> {
        let length = u32::from_be_bytes(self.take()?) as usize;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn end(&self) -> Result<(), RegisterError> {
        if self.0.is_empty() { Ok(()) } else { Err(RegisterError::Malformed("bytes after its end")) }
    }
}
