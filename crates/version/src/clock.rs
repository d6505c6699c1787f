//! Hybrid logical clock: orders what is truly concurrent in last-write-wins buckets (§6), and nothing else.

/// 48 bits of milliseconds since the Unix epoch, then 16 bits that count within one. 0: never written.
///
/// ```
/// use dynamo_version::Timestamp;
///
/// let first = Timestamp::after(1_000, Timestamp::default());
/// assert_eq!(first.wall_ms(), 1_000);
/// // Another node's clock is behind; what it writes over the first is stamped later all the same.
/// let second = Timestamp::after(900, first);
/// assert!(second > first);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

const LOGICAL_BITS: u32 = 16;
const MS_MAX: u64 = (1 << 48) - 1;

impl Timestamp {
    /// The first moment of a wall-clock millisecond (since the Unix epoch), or right after `floor` if that is later: a
    /// version is never stamped earlier than what it supersedes, whatever the clocks say. A floor that is the last moment
    /// of all stays.
    pub fn after(wall_ms: u64, floor: Timestamp) -> Timestamp {
        let wall = Timestamp(wall_ms.min(MS_MAX) << LOGICAL_BITS);
        if wall > floor { wall } else { Timestamp(floor.0.saturating_add(1)) }
    }

    /// Milliseconds since the Unix epoch, less than 2^48. May run ahead of the clock, by one for each 65,536 versions that
    /// were stamped within one millisecond.
    pub fn wall_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }
}
