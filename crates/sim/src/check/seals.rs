//! A seal holds up the strict requests for what moves: where nothing is wrong, a step is sealed for a moment only (§4.9).

use std::collections::BTreeMap;

/// How long at most, microseconds.
const MOMENT_US: u64 = 1_000_000;
/// So long nothing has to have been wrong before, microseconds.
const CALM_US: u64 = 10_000_000;

/// The seals of a run as they happen.
#[derive(Debug, Default)]
pub struct Seals {
    /// By the epoch that they wait for: when the first was asked for.
    since: BTreeMap<u64, u64>,
    /// The newest epoch that a node goes by. Who goes over to it raises fences too, which hold nobody up.
    newest: u64,
    faults: u32,
    fault_us: u64,
}

impl Seals {
    /// A fault begins or ends.
    pub fn fault(&mut self, begins: bool, now: u64) {
        self.faults = if begins { self.faults + 1 } else { self.faults.saturating_sub(1) };
        self.fault_us = now;
    }

    /// A node refuses requests of epochs before this one.
    pub fn sealed(&mut self, epoch: u64, now: u64) {
        if epoch > self.newest {
            self.since.entry(epoch).or_insert(now);
        }
    }

    /// The first node goes by the ring of an epoch. How long requests waited for it, if that was too long.
    pub fn turned(&mut self, epoch: u64, now: u64) -> Option<u64> {
        self.newest = self.newest.max(epoch);
        let since = self.since.remove(&epoch)?;
        let calm = self.faults == 0 && self.fault_us + CALM_US <= since;
        Some(now - since).filter(|lasted| calm && *lasted > MOMENT_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn a_long_seal_is_noticed_unless_something_was_wrong() {
        let mut seals = Seals::default();
        seals.sealed(2, 20 * S);
        seals.sealed(2, 21 * S);
        assert_eq!(seals.turned(2, 20 * S + 50_000), None);
        seals.sealed(2, 21 * S);
        assert_eq!(seals.turned(2, 29 * S), None, "another version of the same epoch, and its fences come late");
        seals.sealed(3, 30 * S);
        assert_eq!(seals.turned(3, 33 * S), Some(3 * S));
        seals.fault(true, 35 * S);
        seals.sealed(4, 50 * S);
        assert_eq!(seals.turned(4, 60 * S), None);
        seals.fault(false, 61 * S);
        seals.sealed(5, 70 * S);
        assert_eq!(seals.turned(5, 80 * S), None);
        seals.sealed(6, 90 * S);
        assert!(seals.turned(6, 95 * S).is_some());
    }
}
