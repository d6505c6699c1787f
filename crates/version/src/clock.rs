//! Hybrid logical clock: orders what is truly concurrent in last-write-wins buckets, and nothing else.

/// 48 bits of milliseconds since the Unix epoch, then 16 bits that count within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

const LOGICAL_BITS: u32 = 16;
const MS_MAX: u64 = (1 << 48) - 1;

impl Timestamp {
    /// The first moment of a wall-clock millisecond, or right after `floor` if that is later: a version is never
    /// stamped earlier than what it supersedes, whatever the clocks say.
    pub fn after(wall_ms: u64, floor: Timestamp) -> Timestamp {
        let wall = Timestamp(wall_ms.min(MS_MAX) << LOGICAL_BITS);
        if wall > floor { wall } else { Timestamp(floor.0.saturating_add(1)) }
    }

    /// Milliseconds since the Unix epoch.
    pub fn wall_ms(self) -> u64 {
        self.0 >> LOGICAL_BITS
    }
}
