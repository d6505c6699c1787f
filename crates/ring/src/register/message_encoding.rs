//! What proposers and voters say to each other as bytes. Same form as in `encoding.rs`: kind, format, fields, check.
//!
//! Request: `'Q' | format | to | ballot | 0 or (1 | value)`. Reply: `'A' | format | from | ballot | answer`, an answer being
//! `0 | 0 or (1 | ballot | value)`, `1`, `2 | ballot` or `3 | voter`.

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
                out.extend_from_slice(&[0, accepted.is_some().into()]);
                if let Some(Accepted { ballot, value }) = accepted {
                    put_ballot(&mut out, *ballot);
                    put_bytes(&mut out, &value.encode());
                }
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
            [0] => match input.take()? {
                [0] => Answer::Promised { accepted: None },
                [1] => {
                    let (ballot, value) = (input.ballot()?, Value::decode(input.bytes()?)?);
                    Answer::Promised { accepted: Some(Accepted { ballot, value }) }
                }
                _ => return Err(RegisterError::Malformed("neither accepted nor not")),
            },
            [1] => Answer::Accepted,
            [2] => Answer::Refused { promised: input.ballot()? },
            [3] => Answer::Elsewhere { me: input.voter()? },
            _ => return Err(RegisterError::Malformed("an unknown answer")),
        };
        input.end()?;
        Ok(Reply { from, ballot, answer })
    }
}
