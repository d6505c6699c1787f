//! A change of the ring (§4.9) as a person makes it: said by flags, planned, looked at, confirmed, applied, waited for.
//!
//! [`edits`] is what the flags say, [`file`](mod@file) a plan that is kept, [`preview`] what a plan looks like, [`confirm`] the
//! question before it, [`meant`] what has to be said to be meant, [`flow`] one
//! change from its plan to its end, [`tracker`] what is made of one node's answers about
//! it, [`watch`] the waiting, [`receipt`] whether a node may be switched off afterwards.

pub mod confirm;
pub mod edits;
pub mod file;
pub mod flow;
pub mod meant;
pub mod preview;
pub mod receipt;
pub mod tracker;
pub mod watch;
