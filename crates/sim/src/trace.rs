//! A run told line by line, for people: `12.345678 node-2 -> node-3 Write key-7 ...`. Kept only when asked for.

use std::{collections::VecDeque, io::Write};

/// Lines that are kept in memory; the oldest go.
const LINES_MAX: usize = 2_000_000;

/// Where the lines go.
#[derive(Default)]
pub enum Trace {
    /// Nowhere: none is made.
    #[default]
    Off,
    /// Kept.
    Kept(VecDeque<String>),
    /// Printed as they come.
    Printed,
}

impl Trace {
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    pub fn line(&mut self, now_us: u64, line: String) {
        let line = format!("{:>4}.{:06} {line}", now_us / 1_000_000, now_us % 1_000_000);
        match self {
            Self::Off => {}
            Self::Kept(lines) => {
                if lines.len() == LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
            // A reader that went away (`| head`) is no error.
            Self::Printed => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    pub fn into_lines(self) -> Vec<String> {
        match self {
            Self::Kept(lines) => lines.into(),
            Self::Off | Self::Printed => Vec::new(),
        }
    }
}
