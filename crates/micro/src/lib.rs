//! What the protocol's parts cost, each as a function that two benchmarks call: `times` (divan) says how long it takes on the
//! machine at hand, `instructions` (callgrind) how many instructions it is, which is nearly the same on any machine and is
//! compared with what the repository has.
//!
//! All is deterministic: fixtures are made of counters, times are numbers, and the engine is the one in memory. What is left
//! out is what a number of instructions says little of: the disk, the network, the threads in between.

#![forbid(unsafe_code)]

pub mod parts;
pub mod request;
