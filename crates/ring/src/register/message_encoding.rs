//! What proposers and voters say to each other as bytes. Same form as in `encoding.rs`: kind, format, fields, check.
//!
//! Request: `'Q' | format | to | ballot | ask`, an ask being `0`, `1 | value` or `2 | version u64`. Reply: `'A' | format | from |
//! ballot | answer`, an answer being `0 | accepted`, `1`, `2 | ballot`, `3 | voter` or `4 | accepted`, with accepted
//! `0 or (1 | ballot | value)`.

use super::{
    encoding::REGISTER_FORMAT,
    encoding::{Input, put_ballot, put_bytes, put_voter, sealed},
    error::RegisterError,
    message::{Accepted, Answer, Ask, Reply, Request},
    value::Value,
};

const REQUEST: u8 = b'Q';
const REPLY: u8 = b'A';

impl Request {
    /// The request as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![REQUEST, REGISTER_FORMAT];
        put_voter(&mut out, self.to);
        put_ballot(&mut out, self.ballot);
        match &self.ask {
            Ask::Prepare => out.push(0),
            Ask::Accept(value) => {
                out.push(1);
                put_bytes(&mut out, &value.encode());
            }
            Ask::Look { newer_than } => {
                out.push(2);
                out.extend_from_slice(&newer_than.to_be_bytes());
            }
        }
        sealed(out)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// Damaged bytes, a newer format, or a value that can't be.
    pub fn decode(bytes: &[u8]) -> Result<Request, RegisterError> {
        let mut input = Input::open(bytes, REQUEST)?;
        let (to, ballot) = (input.voter()?, input.ballot()?);
        let ask = match input.take()? {
            [0] => Ask::Prepare,
            [1] => Ask::Accept(Value::decode(input.bytes()?)?),
            [2] => Ask::Look { newer_than: input.number()? },
            _ => return Err(RegisterError::Malformed("an unknown question")),
        };
        input.end()?;
        Ok(Request { to, ballot, ask })
    }
}

impl Reply {
    /// The reply as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![REPLY, REGISTER_FORMAT];
        put_voter(&mut out, self.from);
        put_ballot(&mut out, self.ballot);
        match &self.answer {
            Answer::Promised { accepted } => {
                out.push(0);
                put_accepted(&mut out, accepted.as_ref());
            }
            Answer::Accepted => out.push(1),
            Answer::Refused { promised } => {
                out.push(2);
                put_ballot(&mut out, *promised);
            }
            Answer::Elsewhere { me } => {
                out.push(3);
                put_voter(&mut out, *me);
            }
            Answer::Seen { accepted } => {
                out.push(4);
                put_accepted(&mut out, accepted.as_ref());
            }
        }
        sealed(out)
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// Damaged bytes, a newer format, or a value that can't be.
    pub fn decode(bytes: &[u8]) -> Result<Reply, RegisterError> {
        let mut input = Input::open(bytes, REPLY)?;
        let (from, ballot) = (input.voter()?, input.ballot()?);
        let answer = match input.take()? {
            [0] => Answer::Promised { accepted: accepted(&mut input)? },
            [1] => Answer::Accepted,
            [2] => Answer::Refused { promised: input.ballot()? },
            [3] => Answer::Elsewhere { me: input.voter()? },
            [4] => Answer::Seen { accepted: accepted(&mut input)? },
            _ => return Err(RegisterError::Malformed("an unknown answer")),
        };
        input.end()?;
        Ok(Reply { from, ballot, answer })
    }
}

fn put_accepted(out: &mut Vec<u8>, accepted: Option<&Accepted>) {
    out.push(accepted.is_some().into());
    if let Some(Accepted { ballot, value }) = accepted {
        put_ballot(out, *ballot);
        put_bytes(out, &value.encode());
    }
}

fn accepted(input: &mut Input<'_>) -> Result<Option<Accepted>, RegisterError> {
    match input.take()? {
        [0] => Ok(None),
        [1] => Ok(Some(Accepted { ballot: input.ballot()?, value: Value::decode(input.bytes()?)? })),
        _ => Err(RegisterError::Malformed("neither accepted nor not")),
    }
}
