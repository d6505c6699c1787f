//! What is checked while a run goes on; what clients did and saw is judged by `crates/history` at its end.

mod seals;

pub use self::seals::Seals;
