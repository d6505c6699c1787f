//! How many bytes may be sent: a bucket that fills at a rate.

/// Bytes are counted in millionths, so that a microsecond at 1 byte a second is a whole number.
const UNIT: i128 = 1_000_000;

#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_s: u64,
    burst_bytes: u64,
    /// What may be sent now; negative after something larger than was left.
    allowance: i128,
    refilled_at: u64,
}

impl Rate {
    /// A full bucket. A rate or burst of 0 is taken for 1.
    pub(crate) fn new(bytes_per_s: u64, burst_bytes: u64, now: u64) -> Self {
        let (bytes_per_s, burst_bytes) = (bytes_per_s.max(1), burst_bytes.max(1));
        Self { bytes_per_s, burst_bytes, allowance: i128::from(burst_bytes) * UNIT, refilled_at: now }
    }

    /// Changes the rate from now on.
    pub(crate) fn set(&mut self, bytes_per_s: u64, now: u64) {
        self.refill(now);
        self.bytes_per_s = bytes_per_s.max(1);
    }

    pub(crate) fn refill(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.refilled_at);
        self.refilled_at = self.refilled_at.max(now);
        let earned = i128::from(elapsed) * i128::from(self.bytes_per_s);
        self.allowance = (self.allowance + earned).min(i128::from(self.burst_bytes) * UNIT);
    }

    /// Whether anything may be sent, as of the last refill.
    pub(crate) fn allows(&self) -> bool {
        self.allowance > 0
    }

    pub(crate) fn spend(&mut self, bytes: u32) {
        self.allowance -= i128::from(bytes) * UNIT;
    }

    /// When something may be sent again.
    pub(crate) fn allowed_at(&self) -> u64 {
        if self.allows() {
            return self.refilled_at;
        }
        let rate = i128::from(self.bytes_per_s);
        let wait = (1 - self.allowance + rate - 1) / rate;
        self.refilled_at.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}
