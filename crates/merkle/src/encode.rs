//! The canonical encoding of messages: equal messages have equal bytes.
//!
//! `format u8 | kind u8 | fields`. Numbers are varints (LEB128 of the least length), sums and digests 8 bytes big-endian,
//! lists begin with their count. Of a list of ascending numbers each is the distance from the one before, less one; of
//! keys each is the length of what it has in common with the one before (the first: nothing), and length and bytes of
//! the rest. Of a node's sums those that are not 0 follow two bytes that tell which. A request or reply:
//! `partition | exchange | step`, a request's `epoch | depth u8`, then the list.
//!
//! Decoding takes nothing that encoding a sorted message would not give, and never panics. What it allocates is bounded by
//! some ten times the input, and for keys by [`KEYS_BYTES_MAX`](crate::KEYS_BYTES_MAX).

mod input;
mod output;

use std::fmt;

use crate::message::{Message, Reply, Request};
use crate::roots::{Roots, RootsAnswer};
use input::Input;
use output::Output;

/// The format of messages that is written, and the newest that is read.
pub const FORMAT: u8 = 1;

const ROOTS: u8 = 1;
const ROOTS_ANSWER: u8 = 2;
const ASK_NODES: u8 = 3;
const ASK_PAGES: u8 = 4;
const ANSWER_NODES: u8 = 5;
const ANSWER_PAGES: u8 = 6;
const REFUSED: u8 = 7;

/// Bytes that are no message.
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
    /// They name more nodes, keys or bytes of keys than a message may have.
    TooMuch,
    /// They are not in canonical form: unsorted, unknown, a number of more bytes than it needs.
    NotCanonical(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the message ends too early"),
            Self::TrailingBytes => f.write_str("the message has bytes after its end"),
            Self::NewerFormat { found } => {
                write!(f, "the message has format {found}, this version reads up to {FORMAT}: upgrade this node")
            }
            Self::TooMuch => f.write_str("the message names more than one message may"),
            Self::NotCanonical(what) => write!(f, "the message is damaged: {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Message {
    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Output(Vec::new());
        out.u8(FORMAT);
        match self {
            Message::Roots(Roots { round, epoch, roots }) => {
                out.u8(ROOTS);
                out.number((*round).into());
                out.number(*epoch);
                out.roots(roots);
            }
            Message::RootsAnswer(RootsAnswer { round, epoch, differing, refused }) => {
                out.u8(ROOTS_ANSWER);
                out.number((*round).into());
                out.number(*epoch);
                out.ascending(differing.iter().map(|&partition| partition.into()));
                out.ascending(refused.iter().map(|&partition| partition.into()));
            }
            Message::Request(request) => out.request(request),
            Message::Reply(reply) => out.reply(reply),
        }
        out.0
    }

    /// Reads an encoding.
    pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let mut input = Input::new(bytes);
        match input.u8()? {
            FORMAT => {}
            0 => return Err(DecodeError::NotCanonical("format 0")),
            found => return Err(DecodeError::NewerFormat { found }),
        }
        let message = match input.u8()? {
            ROOTS => {
                let (round, epoch) = (input.u32()?, input.number()?);
                Message::Roots(Roots { round, epoch, roots: input.roots()? })
            }
            ROOTS_ANSWER => {
                let (round, epoch) = (input.u32()?, input.number()?);
                let (differing, refused) = (input.partitions()?, input.partitions()?);
                Message::RootsAnswer(RootsAnswer { round, epoch, differing, refused })
            }
            kind @ (ASK_NODES | ASK_PAGES) => {
                let (call, epoch, shape) = (input.call()?, input.number()?, input.shape()?);
                Message::Request(Request { call, epoch, shape, ask: input.ask(kind)? })
            }
            kind @ (ANSWER_NODES | ANSWER_PAGES | REFUSED) => {
                Message::Reply(Reply { call: input.call()?, answer: input.answer(kind)? })
            }
            _ => return Err(DecodeError::NotCanonical("a message of unknown kind")),
        };
        if input.is_at_end() { Ok(message) } else { Err(DecodeError::TrailingBytes) }
    }
}
