//! The one register that holds the ring: compare-and-set by majority, so that two administrators cannot fork it.
//!
//! It is CASPaxos (Rystsov 2018): the single-decree Paxos of Lamport (2001, "Paxos Made Simple") over a value that
//! changes, without a log and without a leader. Here are [`Acceptor`], a node's vote and what its disk must remember, and
//! [`Proposer`], one attempt to change or read. Chosen [`Value`]s are spread by gossip, which this module knows nothing
//! of: a learner keeps the one that [`is_newer`](Value::is_newer). Nothing here counts time or draws lots; the driver
//! resends, gives up, and waits a random while before it tries again.
//!
//! # What is chosen
//! A value has a version, voters, and the voters of the value before it (*previous voters*). It is *chosen* once a majority
//! of its previous voters and a majority of its voters accepted it under one [`Ballot`]. Version 1 is chosen by
//! configuration, before any ballot. Each voter is one life of one disk ([`Voter`]).
//!
//! An attempt at ballot b, by someone who knows the chosen value K, proposes at most one value:
//! 1. It asks the voters of K to promise b. Of all that is reported as accepted, let X be the value with the highest
//!    ballot. When X is another than K, it asks X's previous voters and X's voters as well, and so on with what they report.
//! 2. *Change*: nothing but K is found, and a majority of K's voters promised. It proposes the version after K.
//! 3. *Finish*: X is found, and majorities of X's previous voters and of X's voters promised. It proposes X again, unless
//!    their reports already say that X is chosen. A change that expected K has then failed: it is outdated.
//! 4. The proposed value is told as chosen when majorities of its previous voters and of its voters accepted it under b.
//!
//! # Why that is safe
//! Value W *descends from* V when V is W, or W was made as a change of a descendant of V.
//!
//! **K was chosen below b.** K was chosen at some ballot by a majority of its voters, before the attempt began. A
//! majority of the same voters promised b, so one did both, the accepting first: it would have refused otherwise. So the
//! ballots at which the values of a chain were first chosen rise along the chain.
//!
//! **Claim: when V is chosen at ballot v, all that is proposed at a ballot b > v descends from V.** By induction on b; let
//! the claim hold below b. What is used again and again, *(m)*: if a value N is chosen at n < b, and majorities of N's
//! previous voters or of its voters promised b, one of these voters accepted at n and promised b later, so the newest
//! report X has a ballot of n or more, and X descends from N (by the claim at n; a ballot has one value).
//! - *Change of K.* Suppose K does not descend from V. K was first chosen at k < b. If k ≥ v, K descends from V by the
//!   claim. If k < v, V descends from K by the claim, so V's chain has a change N of K: V itself, or a value chosen before
//!   V was proposed; so N is chosen at n ≤ v. N's previous voters are K's voters, and a majority of them promised b: by
//!   (m) X descends from N and is not K, but a change is made only when nothing but K is found.
//! - *Finish X*, reported with ballot x < b. Suppose X does not descend from V; then x < v as before. Let K be the value
//!   that X is a change of: chosen below x. So V descends from K by the claim, and is not K, for X descends from that. Let N
//!   be the change of K in V's chain, chosen at n ≤ v. N's previous voters are K's voters, and so are X's, of which a majority
//!   promised b: by (m) X descends from N, and having its version it is N. So V descends from X and is not X (X would
//!   descend from V). Let M be the change of X in V's chain, chosen at m ≤ v. Its previous voters are X's voters, and a
//!   majority of *those* promised b too: by (m) X descends from its own change M, which can't be.
//!
//! So chosen values form one chain, each a change of the one before, and of each version there is one. Nothing in this asks
//! how many changes old K is, or whether voters that left and came back still hold what they accepted long ago. It is
//! enough that each majority was asked under b. An old K costs availability only: where most of its voters are gone
//! the attempt finds no majority, and the proposer needs a newer value from gossip.
//!
//! Both majorities are needed at both times. Without X's voters in step 3 a finisher could overwrite M at voters that
//! accepted it and never heard of b: they would accept X again. Without the new voters in step 4 the next
//! change, which asks only them, would not find the value; without the previous ones two changes of K would be chosen side by
//! side. Step 2 asks the new voters to promise too, but not for safety: it keeps a change from being half accepted when
//! the voters that it needs to be finished do not exist.
//!
//! A read is step 1 to 4 without a change. When it finds only K it proposes nothing: a change of K chosen before the read
//! began would have been reported, as in (m). [`Reading`] is one that needs no ballot, for who asks often.
//!
//! # What it rests on
//! - A voter's promise is on disk before it is told. A disk that lost it is another voter: whoever drives this makes sure
//!   that a wiped, cloned or rolled-back disk never answers under an incarnation that has a vote.
//! - That holds for the first voters too. The incarnations in version 1 have to be those of disks that never voted, and
//!   a first member that comes up with an empty disk must not take it for its first start because its name is in the
//!   configuration.
//! - A ballot is used for one attempt: [`Acceptor::mint`] makes them, and its disk remembers.
//! - What a proposer is given as known is chosen: version 1, or what an [`Outcome`] or gossip told.
//! - Voters are not malicious.

mod acceptor;
mod ballot;
mod encoding;
mod error;
mod message;
mod message_encoding;
mod outcome;
mod proposer;
mod reading;
mod state;
mod value;
mod votes;

pub use acceptor::{Acceptor, AcceptorEffect};
pub use ballot::{Ballot, Voter};
pub use encoding::REGISTER_FORMAT;
pub use error::RegisterError;
pub use message::{Accepted, Answer, Ask, Reply, Request};
pub use outcome::Outcome;
pub use proposer::{Change, Proposer, ProposerEffect};
pub use reading::{Glimpse, Reading};
pub use state::State;
pub use value::{PAYLOAD_BYTES_MAX, Value};
