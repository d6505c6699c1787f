//! Key epochs (§4.4): a durable, node-wide counter from which a node takes a number when it mints for a key of which it
//! has no memory.
//!
//! Numbers come from a block that was reserved durably before the first of it is used, so none is ever handed out
//! twice. The floor says which memories are broken: records whose own epoch lies below it may have been rolled back by
//! a power cut after their dots had left the node, so nothing more is minted under those epochs.

use crate::engine::{Batch, EngineError, Reading, Space};
use bytes::Bytes;

const KEY: &[u8] = b"store/epochs";
/// Epochs reserved at a time: one extra sync for so many new keys.
pub const BLOCK: u64 = 65_536;

/// The reserved block, and the floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs {
    next: u64,
    end: u64,
    floor: u64,
}

impl Epochs {
    /// What the engine knows: nothing is reserved yet in this run. `end_at_least` is known from elsewhere to have been reserved.
    pub fn load(engine: &dyn Reading, end_at_least: u64) -> Result<Epochs, EngineError> {
        let (end, floor) = match engine.get(Space::Meta, KEY)? {
            None => (1, 1),
            Some(bytes) => {
                let word = |at: usize| {
                    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes);
                    word.ok_or_else(|| EngineError::Damaged("the stored key epochs have a wrong length".into()))
                };
                (word(0)?, word(8)?)
            }
        };
        let end = end.max(end_at_least);
        Ok(Epochs { next: end, end, floor })
    }

    /// Memories under epochs of this number and above are unbroken.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Epochs below this are reserved.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Epochs that can be taken.
    pub fn left(&self) -> u64 {
        self.end - self.next
    }

    /// Declares all memories so far broken.
    pub fn raise_floor(&mut self) {
        self.floor = self.next;
    }

    /// Takes an epoch.
    ///
    /// # Panics
    /// If none is left: the caller reserves before it begins a batch.
    pub fn take(&mut self) -> u64 {
        assert!(self.next < self.end, "key epochs are reserved before a batch begins");
        self.next += 1;
        self.next - 1
    }

    /// The state with another block, and enough for `at_least`, to be used only after `batch` has been committed and synced.
    pub fn reserve(&self, at_least: u64, batch: &mut Batch) -> Epochs {
        let next = Epochs { next: self.next, end: self.end + BLOCK.max(at_least), floor: self.floor };
        let bytes = [next.end.to_le_bytes(), next.floor.to_le_bytes()].concat();
        batch.put(Space::Meta, Bytes::from_static(KEY), bytes.into());
        next
    }
}
