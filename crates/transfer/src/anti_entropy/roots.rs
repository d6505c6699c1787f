//! The first question between two homes: are the roots of all partitions that we share the same? (§4.7)
//!
//! First a digest over all of them, so that replicas that agree say a few bytes to each other; if that differs, the roots.

use bytes::Bytes;
use dynamo_merkle::{self as merkle, Message, Roots, RootsAnswer};

use crate::encode::{DecodeError, Input, Output};

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RootsQuestion {
    /// Is this the digest of all that we share?
    Digest {
        /// Tells its answer from others.
        round: u32,
        /// The epoch of the ring by which the two share what they share.
        epoch: u64,
        /// [`digest_of`] the roots.
        digest: u64,
    },
    /// Which of these roots are not yours?
    Each(Roots),
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RootsReply {
    /// To [`RootsQuestion::Digest`].
    Digest {
        /// The round that is answered.
        round: u32,
        /// The ring's epoch at the one who answers; when it is another, `same` says nothing.
        epoch: u64,
        /// Whether it is.
        same: bool,
    },
    /// To [`RootsQuestion::Each`].
    Each(RootsAnswer),
}

/// A digest of the roots of partitions, in any order.
pub fn digest_of(roots: impl IntoIterator<Item = (u16, u64)>) -> u64 {
    let sums = roots.into_iter().map(|(partition, root)| merkle::entry_sum(partition.into(), root));
    sums.fold(0, u64::wrapping_add)
}

const ASK_DIGEST: u8 = 10;
const ASK_EACH: u8 = 11;
const DIGEST: u8 = 12;
const EACH: u8 = 13;

impl RootsQuestion {
    /// The canonical encoding: as that of a [`crate::Question`].
    pub fn encode(&self) -> Vec<u8> {
        match self {
            RootsQuestion::Digest { round, epoch, digest } => {
                let mut out = Output::begin(ASK_DIGEST);
                out.number((*round).into());
                out.number(*epoch);
                out.digest(*digest);
                out.0
            }
            RootsQuestion::Each(roots) => {
                let mut out = Output::begin(ASK_EACH);
                out.0.extend(Message::Roots(roots.clone()).encode());
                out.0
            }
        }
    }

    /// Reads an encoding.
    pub fn decode(bytes: &Bytes) -> Result<RootsQuestion, DecodeError> {
        let (kind, mut input) = Input::begin(bytes)?;
        match kind {
            ASK_DIGEST => {
                let (round, epoch, digest) = (input.u32()?, input.number()?, input.digest()?);
                input.end().map(|()| RootsQuestion::Digest { round, epoch, digest })
            }
            ASK_EACH => match Message::decode(input.rest())? {
                Message::Roots(roots) => Ok(RootsQuestion::Each(roots)),
                _ => Err(DecodeError::NotCanonical("no roots")),
            },
            _ => Err(DecodeError::NotCanonical("a question of unknown kind")),
        }
    }
}

impl RootsReply {
    /// The canonical encoding: as that of an [`crate::Answer`].
    pub fn encode(&self) -> Vec<u8> {
        match self {
            RootsReply::Digest { round, epoch, same } => {
                let mut out = Output::begin(DIGEST);
                out.number((*round).into());
                out.number(*epoch);
                out.u8((*same).into());
                out.0
            }
            RootsReply::Each(answer) => {
                let mut out = Output::begin(EACH);
                out.0.extend(Message::RootsAnswer(answer.clone()).encode());
                out.0
            }
        }
    }

    /// Reads an encoding.
    pub fn decode(bytes: &Bytes) -> Result<RootsReply, DecodeError> {
        let (kind, mut input) = Input::begin(bytes)?;
        match kind {
            DIGEST => {
                let (round, epoch, same) = (input.u32()?, input.number()?, input.flag()?);
                input.end().map(|()| RootsReply::Digest { round, epoch, same })
            }
            EACH => match Message::decode(input.rest())? {
                Message::RootsAnswer(answer) => Ok(RootsReply::Each(answer)),
                _ => Err(DecodeError::NotCanonical("no answer to roots")),
            },
            _ => Err(DecodeError::NotCanonical("an answer of unknown kind")),
        }
    }
}
