//! The node's clocks: the one place where `node` reads time. The protocol crates are given numbers.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the node started (monotonic), and the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at 1 second, so that 0 can mean "never".
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Monotonic microseconds.
    pub fn now_us(&self) -> u64 {
        1_000_000 + self.start.elapsed().as_micros() as u64
    }

    /// Milliseconds since the Unix epoch; may jump.
    pub fn wall_ms() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
