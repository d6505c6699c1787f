//! Those who want to know whether this node has the register's newest value: each look asks the voters, and writes nothing
//! unless it finds a change that nobody finishes.

use dynamo_ring::{
    NodeId,
    register::{Ballot, Glimpse, Reading, Reply, Request, Value, Voter},
};

/// How long a look may take, microseconds.
const PATIENCE_US: u64 = 2_000_000;
/// Voters that are silent are asked again so often, and those who have seen a change half made.
const AGAIN_US: u64 = 200_000;
/// A change that stays half made for so long is finished by who looks: whoever made it has died, in all likelihood.
const HALF_DONE_US: u64 = 800_000;
/// At once. Whoever comes when there are so many is told that it is not known.
const LOOKS_MAX: usize = 64;

/// What looks want done.
#[derive(Debug, Default)]
pub struct Wants {
    /// Questions to be sent.
    pub ask: Vec<Request>,
    /// A newer value, to be learnt.
    pub learn: Option<Value>,
    /// Somebody has to finish what was begun.
    pub finish: bool,
    /// Looks that have ended: the version that was confirmed, or why none was.
    pub ended: Vec<(u64, Result<u64, String>)>,
}

struct Look {
    request: u64,
    reading: Reading,
    until: u64,
    again_at: u64,
    half_done_since: Option<u64>,
}

/// The looks of a node.
pub struct Looks {
    me: NodeId,
    all: Vec<Look>,
    next: u64,
}

impl Looks {
    /// Of a node, none so far.
    pub fn new(me: NodeId) -> Looks {
        Looks { me, all: Vec::new(), next: 0 }
    }

    /// Whether there is one.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Somebody looks.
    pub fn begin(&mut self, request: u64, now: u64, wants: &mut Wants) {
        if self.all.len() >= LOOKS_MAX {
            let why = "too many ask at once whether this node knows the newest ring: ask again in a moment";
            return wants.ended.push((request, Err(why.to_owned())));
        }
        self.next += 1;
        // The counter tells it from other looks; nobody takes it for an attempt's ballot.
        let name = Ballot { counter: self.next, proposer: Voter { id: self.me, incarnation: 0 } };
        self.all.push(Look {
            request,
            reading: Reading::new(name),
            until: now.saturating_add(PATIENCE_US),
            again_at: now.saturating_add(AGAIN_US),
            half_done_since: None,
        });
    }

    /// A voter's answer.
    pub fn on_reply(&mut self, reply: &Reply) {
        // Each is to one look only, and all have other names.
        let _ = self.all.iter_mut().any(|look| look.reading.on_reply(reply.clone()));
    }

    /// Goes on with all of them.
    pub fn advance(&mut self, known: &Value, now: u64, wants: &mut Wants) {
        self.all.retain_mut(|look| !look.advance(known, now, wants));
    }
}

impl Look {
    /// Whether it has ended.
    fn advance(&mut self, known: &Value, now: u64, wants: &mut Wants) -> bool {
        let again = now >= self.again_at;
        if again {
            self.again_at = now.saturating_add(AGAIN_US);
            wants.ask.extend(self.reading.ask_again(known));
        }
        wants.ask.extend(self.reading.ask(known));
        let glimpse = self.reading.look(known);
        if glimpse != Glimpse::HalfDone {
            self.half_done_since = None;
        }
        let why = match glimpse {
            Glimpse::Newest => {
                wants.ended.push((self.request, Ok(known.version())));
                return true;
            }
            Glimpse::Chosen(value) => {
                let version = value.version();
                wants.learn = Some(value);
                format!("this node has not taken over version {version} of the register yet")
            }
            Glimpse::HalfDone => {
                let since = *self.half_done_since.get_or_insert(now);
                wants.finish |= now >= since.saturating_add(HALF_DONE_US);
                if again {
                    self.reading.begin_again();
                    wants.ask.extend(self.reading.ask(known));
                }
                "a change of the ring is being made, and may or may not have been".to_owned()
            }
            Glimpse::Waiting { answered, needed, of } => {
                format!(
                    "{answered} of {of} members answered, and {needed} are needed: what this node knows of the ring may be old"
                )
            }
        };
        let over = now >= self.until;
        wants.ended.extend(over.then_some((self.request, Err(why))));
        over
    }
}
