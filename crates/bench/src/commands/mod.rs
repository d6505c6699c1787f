//! The command line: one file a command; [`session`] what those have in common that measure.

pub mod compare;
pub mod latency;
mod session;
pub mod table;
