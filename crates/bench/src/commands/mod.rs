//! The command line: one file a command; [`session`] what those have in common that measure.

pub mod compare;
pub mod latency;
pub mod paper;
mod session;
pub mod table;
