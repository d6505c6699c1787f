//! The canonical encoding of questions and answers: equal ones have equal bytes.
//!
//! `format u8 | kind u8 | fields`. Numbers are varints (LEB128 of the least length), digests 8 bytes big-endian, lists begin
//! with their count; keys and states with their length, and no key is empty, so nothing stands for no key. A step down the
//! tree and its answer are merkle's messages, which come last. A question: `partition | comparison | number | epoch`, then
//! what is asked; an answer: `epoch | sealed u8`, then the same name and what is answered.
//!
//! Decoding never panics, and takes nothing that encoding does not give. What it allocates is bounded by a few times the
//! input; states are slices of it.

mod input;
mod output;

use std::fmt;

use bytes::Bytes;
use dynamo_merkle::{self as merkle, Message};

use crate::question::{Answer, Ask, Page, Question, Refused, Reply};
pub(crate) use input::Input;
pub(crate) use output::Output;

/// The format of questions and answers that is written, and the newest that is read.
pub const FORMAT: u8 = 1;

const ASK_TREE: u8 = 1;
const ASK_FETCH: u8 = 2;
const ASK_PUSH: u8 = 3;
const ASK_PAGE: u8 = 4;
const TREE: u8 = 5;
const FETCHED: u8 = 6;
const PUSHED: u8 = 7;
const PAGE: u8 = 8;
const REFUSED: u8 = 9;

const REASONS: [Refused; 7] = [
    Refused::Epoch,
    Refused::NotServed,
    Refused::Sealed,
    Refused::Shape,
    Refused::Busy,
    Refused::DiskFull,
    Refused::Failed,
];

/// Bytes that are no question, or no answer. Nothing was done with them: break off the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// They end too early.
    Truncated,
    /// They go on after the end.
    TrailingBytes,
    /// They were written by a newer version.
    NewerFormat {
        /// The format found.
        found: u8,
    },
    /// They are not in canonical form: unknown, out of range, a number of more bytes than it needs.
    NotCanonical(&'static str),
    /// The step down the tree is none.
    Tree(merkle::DecodeError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the message ends too early; nothing was done with it"),
            Self::TrailingBytes => f.write_str("the message has bytes after its end; nothing was done with it"),
            Self::NewerFormat { found } => {
                write!(f, "the message has format {found}, this version reads up to {FORMAT}: upgrade this node")
            }
            Self::NotCanonical(what) => write!(f, "the message is damaged, nothing was done with it: {what}"),
            Self::Tree(error) => write!(f, "a step down the tree cannot be read, nothing was done with it: {error}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl From<merkle::DecodeError> for DecodeError {
    fn from(error: merkle::DecodeError) -> DecodeError {
        DecodeError::Tree(error)
    }
}

impl Question {
    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let Question { call, epoch, ask } = self;
        let out = match ask {
            Ask::Tree { shape, ask } => {
                let request = merkle::Request { call: *call, epoch: *epoch, shape: *shape, ask: ask.clone() };
                let mut out = Output::begin(ASK_TREE);
                out.0.extend(Message::Request(request).encode());
                out
            }
            Ask::Fetch { keys, bytes_max } => {
                let mut out = Output::named(ASK_FETCH, call, *epoch);
                out.number((*bytes_max).into());
                out.number(keys.len() as u64);
                keys.iter().for_each(|key| out.bytes(key));
                out
            }
            Ask::Push(records) => {
                let mut out = Output::named(ASK_PUSH, call, *epoch);
                out.records(records);
                out
            }
            Ask::Page { after, bytes_max } => {
                let mut out = Output::named(ASK_PAGE, call, *epoch);
                out.number((*bytes_max).into());
                out.bytes(after.as_deref().unwrap_or_default());
                out
            }
        };
        out.0
    }

    /// Reads an encoding.
    pub fn decode(bytes: &Bytes) -> Result<Question, DecodeError> {
        let (kind, mut input) = Input::begin(bytes)?;
        if kind == ASK_TREE {
            let Message::Request(request) = Message::decode(input.rest())? else {
                return Err(DecodeError::NotCanonical("no step down the tree"));
            };
            let merkle::Request { call, epoch, shape, ask } = request;
            return Ok(Question { call, epoch, ask: Ask::Tree { shape, ask } });
        }
        let (call, epoch) = (input.call()?, input.number()?);
        let ask = match kind {
            ASK_FETCH => Ask::Fetch { bytes_max: input.u32()?, keys: input.list(2, Input::key)? },
            ASK_PUSH => Ask::Push(input.records()?),
            ASK_PAGE => Ask::Page { bytes_max: input.u32()?, after: input.key_or_none()? },
            _ => return Err(DecodeError::NotCanonical("a question of unknown kind")),
        };
        input.end().map(|()| Question { call, epoch, ask })
    }
}

impl Answer {
    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let Answer { call, epoch, sealed, whole, reply } = self;
        let mut out = Output::begin(match reply {
            Reply::Tree(_) => TREE,
            Reply::Fetched(_) => FETCHED,
            Reply::Pushed { .. } => PUSHED,
            Reply::Page(_) => PAGE,
            Reply::Refused(_) => REFUSED,
        });
        out.number(*epoch);
        out.u8(u8::from(*sealed) | u8::from(*whole) << 1);
        if let Reply::Tree(answer) = reply {
            out.0.extend(Message::Reply(merkle::Reply { call: *call, answer: answer.clone() }).encode());
            return out.0;
        }
        out.call(call);
        match reply {
            Reply::Fetched(states) => {
                out.number(states.len() as u64);
                states.iter().for_each(|stored| out.stored(stored));
            }
            Reply::Pushed { refused } => out.number((*refused).into()),
            Reply::Page(Page { records, damaged, go_on }) => {
                out.number((*damaged).into());
                out.bytes(go_on.as_deref().unwrap_or_default());
                out.records(records);
            }
            Reply::Refused(reason) => {
                let at = REASONS.iter().position(|known| known == reason).expect("all are listed");
                out.u8(at as u8);
            }
            Reply::Tree(_) => unreachable!("returned above"),
        }
        out.0
    }

    /// Reads an encoding.
    pub fn decode(bytes: &Bytes) -> Result<Answer, DecodeError> {
        let (kind, mut input) = Input::begin(bytes)?;
        let (epoch, bits) = (input.number()?, input.u8()?);
        if bits > 3 {
            return Err(DecodeError::NotCanonical("an unknown bit"));
        }
        let (sealed, whole) = (bits & 1 != 0, bits & 2 != 0);
        if kind == TREE {
            return match Message::decode(input.rest())? {
                Message::Reply(merkle::Reply { answer: merkle::Answer::Refused { .. }, .. }) => {
                    Err(DecodeError::NotCanonical("a refusal within an answer"))
                }
                Message::Reply(merkle::Reply { call, answer }) => {
                    Ok(Answer { call, epoch, sealed, whole, reply: Reply::Tree(answer) })
                }
                _ => Err(DecodeError::NotCanonical("no answer to a step down the tree")),
            };
        }
        let call = input.call()?;
        let reply = match kind {
            FETCHED => Reply::Fetched(input.list(1, Input::stored)?),
            PUSHED => Reply::Pushed { refused: input.u32()? },
            PAGE => {
                let (damaged, go_on) = (input.u32()?, input.key_or_none()?);
                Reply::Page(Page { records: input.records()?, damaged, go_on })
            }
            REFUSED => {
                let reason = REASONS.get(usize::from(input.u8()?)).copied();
                Reply::Refused(reason.ok_or(DecodeError::NotCanonical("an unknown reason"))?)
            }
            _ => return Err(DecodeError::NotCanonical("an answer of unknown kind")),
        };
        input.end().map(|()| Answer { call, epoch, sealed, whole, reply })
    }
}
