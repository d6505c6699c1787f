//! What keepers say to each other: a question, and its answer. They travel as bytes, each in one message.

use std::fmt;

use bytes::Bytes;
use dynamo_ring::{
    NodeId,
    register::{self, Value},
};

use dynamo_transfer::{RootsQuestion, RootsReply};

use crate::{
    collect::{Items, RoundAsk, RoundReply, decode_same, encode_same},
    recall::{Mark, Started},
    report::Report,
};

/// A question of one node's keeper to another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// To a voter of the ring's register.
    Vote(register::Request),
    /// Have you ever heard of another life of this node's disk?
    Attest {
        /// The node that asks.
        incarnation: u64,
    },
    /// Do you know a newer value of the register than this version?
    Pull {
        /// What the asking node has.
        version: u64,
    },
    /// This value is chosen.
    Tell(Value),
    /// How far are you with the step under way?
    Report {
        /// The register's version at the asking node.
        version: u64,
    },
    /// All gaining nodes have caught up: stop serving what the step moves.
    Seal {
        /// The register's version under which the step is under way.
        version: u64,
    },
    /// A step of a comparison of two replicas.
    Compare(dynamo_transfer::Question),
    /// Are the roots of what we share the same?
    Roots(RootsQuestion),
    /// This is the asking node's start: what do you remember of its life?
    Recall(Started),
    /// To a member, from who calls a round of collecting.
    Round(RoundAsk),
    /// To another home: do you have exactly these?
    Held(Items),
    /// To another home: these have passed a round, remove them.
    Collect(Items),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Vote`].
    Vote(register::Reply),
    /// To [`Question::Attest`]: the first life of the asking node's disk that this one ever heard of.
    Attested {
        /// Its incarnation.
        incarnation: u64,
    },
    /// To [`Question::Pull`] and [`Question::Tell`]: a newer value, if there is one.
    Newer(Option<Value>),
    /// To [`Question::Report`] and [`Question::Seal`].
    Report(Report),
    /// To [`Question::Compare`].
    Compare(dynamo_transfer::Answer),
    /// To [`Question::Roots`].
    Roots(RootsReply),
    /// To [`Question::Recall`].
    Recalled {
        /// What was known of the same life before; a start that may follow on it is noted, durably.
        mark: Option<Mark>,
        /// The highest life of the asking node that this one knows; 0: none.
        newest_life: u64,
    },
    /// To [`Question::Round`].
    Round(RoundReply),
    /// To [`Question::Held`].
    Held {
        /// The register's version that the home goes by.
        version: u64,
        /// Which of them it has; none are said if it can't say.
        same: Vec<bool>,
    },
    /// To [`Question::Collect`].
    Collected {
        /// How many records were removed, or lost names.
        changed: u32,
    },
    /// None can be given: the node is starting, or stopping, or its disk failed.
    Unable,
}

/// Bytes that are no question or answer. Nothing was done with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message between nodes makes no sense and nothing was done with it: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

const VOTE: u8 = 1;
const ATTEST: u8 = 2;
const PULL: u8 = 3;
const TELL: u8 = 4;
const REPORT: u8 = 5;
const SEAL: u8 = 6;
const COMPARE: u8 = 7;
const UNABLE: u8 = 8;
const ROOTS: u8 = 9;
const RECALL: u8 = 10;
const UNHEARD: u8 = 11;
const ROUND: u8 = 12;
const HELD: u8 = 13;
const COLLECT: u8 = 14;

impl Question {
    /// As bytes: a byte for the kind, then its own encoding.
    pub fn encode(&self) -> Vec<u8> {
        let number = |kind: u8, number: u64| [&[kind][..], &number.to_be_bytes()].concat();
        match self {
            Question::Vote(request) => kind(VOTE, request.encode()),
            Question::Attest { incarnation } => number(ATTEST, *incarnation),
            Question::Pull { version } => number(PULL, *version),
            Question::Tell(value) => kind(TELL, value.encode()),
            Question::Report { version } => number(REPORT, *version),
            Question::Seal { version } => number(SEAL, *version),
            Question::Compare(question) => kind(COMPARE, question.encode()),
            Question::Roots(question) => kind(ROOTS, question.encode()),
            Question::Recall(started) => {
                let Started { life, generation, lot, found, durable } = *started;
                kind(RECALL, words(&[life, generation, lot, found, durable]))
            }
            Question::Round(ask) => kind(ROUND, ask.encode()),
            Question::Held(items) => kind(HELD, items.encode()),
            Question::Collect(items) => kind(COLLECT, items.encode()),
        }
    }

    /// Reads a question.
    ///
    /// # Errors
    /// Bytes that are none, or of a newer version.
    pub fn decode(bytes: &Bytes) -> Result<Question, Malformed> {
        let (kind, rest) = split(bytes)?;
        Ok(match kind {
            VOTE => Question::Vote(register::Request::decode(&rest).map_err(malformed)?),
            ATTEST => Question::Attest { incarnation: number(&rest)? },
            PULL => Question::Pull { version: number(&rest)? },
            TELL => Question::Tell(Value::decode(&rest).map_err(malformed)?),
            REPORT => Question::Report { version: number(&rest)? },
            SEAL => Question::Seal { version: number(&rest)? },
            COMPARE => Question::Compare(dynamo_transfer::Question::decode(&rest).map_err(malformed)?),
            ROOTS => Question::Roots(RootsQuestion::decode(&rest).map_err(malformed)?),
            RECALL => {
                let [life, generation, lot, found, durable] = numbers(&rest)?;
                Question::Recall(Started { life, generation, lot, found, durable })
            }
            ROUND => Question::Round(RoundAsk::decode(&rest)?),
            HELD => Question::Held(Items::decode(&rest)?),
            COLLECT => Question::Collect(Items::decode(&rest)?),
            kind => return Err(Malformed(format!("a question of kind {kind}, which this version does not know"))),
        })
    }
}

impl Answer {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Answer::Vote(reply) => kind(VOTE, reply.encode()),
            Answer::Attested { incarnation } => kind(ATTEST, incarnation.to_be_bytes().to_vec()),
            Answer::Newer(value) => kind(PULL, value.as_ref().map(Value::encode).unwrap_or_default()),
            Answer::Report(report) => kind(REPORT, report.encode()),
            Answer::Compare(answer) => kind(COMPARE, answer.encode()),
            Answer::Roots(reply) => kind(ROOTS, reply.encode()),
            Answer::Recalled { mark: None, newest_life } => kind(UNHEARD, words(&[*newest_life])),
            Answer::Recalled { mark: Some(Mark { generation, lot, durable }), newest_life } => {
                kind(RECALL, words(&[*newest_life, *generation, *lot, *durable]))
            }
            Answer::Round(reply) => kind(ROUND, reply.encode()),
            Answer::Held { version, same } => kind(HELD, encode_same(*version, same)),
            Answer::Collected { changed } => kind(COLLECT, changed.to_be_bytes().to_vec()),
            Answer::Unable => vec![UNABLE],
        }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// Bytes that are none, or of a newer version.
    pub fn decode(bytes: &Bytes) -> Result<Answer, Malformed> {
        let (kind, rest) = split(bytes)?;
        Ok(match kind {
            VOTE => Answer::Vote(register::Reply::decode(&rest).map_err(malformed)?),
            ATTEST => Answer::Attested { incarnation: number(&rest)? },
            PULL if rest.is_empty() => Answer::Newer(None),
            PULL => Answer::Newer(Some(Value::decode(&rest).map_err(malformed)?)),
            REPORT => Answer::Report(Report::decode(&rest)?),
            COMPARE => Answer::Compare(dynamo_transfer::Answer::decode(&rest).map_err(malformed)?),
            ROOTS => Answer::Roots(RootsReply::decode(&rest).map_err(malformed)?),
            UNHEARD => Answer::Recalled { mark: None, newest_life: number(&rest)? },
            RECALL => {
                let [newest_life, generation, lot, durable] = numbers(&rest)?;
                Answer::Recalled { mark: Some(Mark { generation, lot, durable }), newest_life }
            }
            ROUND => Answer::Round(RoundReply::decode(&rest)?),
            HELD => decode_same(&rest).map(|(version, same)| Answer::Held { version, same })?,
            COLLECT => Answer::Collected { changed: u32::from_be_bytes(number_of(&rest)?) },
            UNABLE if rest.is_empty() => Answer::Unable,
            kind => return Err(Malformed(format!("an answer of kind {kind}, which this version does not know"))),
        })
    }
}

fn kind(kind: u8, body: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + body.len());
    out.push(kind);
    out.extend_from_slice(&body);
    out
}

fn split(bytes: &Bytes) -> Result<(u8, Bytes), Malformed> {
    let kind = *bytes.first().ok_or_else(|| Malformed("it is empty".into()))?;
    Ok((kind, bytes.slice(1..)))
}

fn number(rest: &[u8]) -> Result<u64, Malformed> {
    Ok(u64::from_be_bytes(number_of(rest)?))
}

fn number_of<const LENGTH: usize>(rest: &[u8]) -> Result<[u8; LENGTH], Malformed> {
    rest.try_into().map_err(|_| Malformed(format!("a number of another length than {LENGTH} bytes")))
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn numbers<const N: usize>(rest: &[u8]) -> Result<[u64; N], Malformed> {
    let (numbers, []) = rest.as_chunks::<8>() else { return Err(Malformed("a number is cut short".into())) };
    let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
    numbers.try_into().map_err(|_| Malformed(format!("not {N} numbers")))
}

fn malformed(error: impl fmt::Display) -> Malformed {
    Malformed(error.to_string())
}

/// A question under way, so that its answer is told from others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Who is asked.
    pub to: NodeId,
    /// Which question.
    pub number: u64,
}
