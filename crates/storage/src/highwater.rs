//! The high-water file: how far the store had been durable, kept beside the engine.
//!
//! An engine that opens without complaint may have lost its journal's end all the same. Each batch carries a commit
//! number; after every sync the number reached is written here (to the page cache: that survives kill -9, and reaches
//! the disk within seconds). An open that finds a lower number in the engine has lost something that was promised.
//! The file also says whether the store was closed in order, and whether a sync had failed.
//!
//! Two slots are written in turn, each with its own check, so a torn write costs one step and not the file.

use crate::directory::{read_small, sync_folder};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const SLOT_BYTES: usize = 40;
const MAGIC: u32 = 0x4859_4431;

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighWater {
    /// The highest commit known to be durable.
    pub commit: u64,
    /// Key epochs below this may have been used; kept here too, for a journal that lost its end.
    pub epochs_end: u64,
    /// The store was closed in order at exactly this commit.
    pub clean: bool,
    /// A sync failed and the journal was not rewritten since.
    pub sync_failed: bool,
    /// What had been durable was gone at some opening, and nobody has said yet that he knows.
    pub lost: bool,
}

/// The open file.
#[derive(Debug)]
pub struct HighWaterFile {
    file: File,
    path: PathBuf,
    sequence: u32,
    last: HighWater,
}

impl HighWaterFile {
    /// Opens the file. `None` in the second place: there was none, so this store is new.
    pub fn open(path: &Path) -> io::Result<(HighWaterFile, Option<HighWater>)> {
        let existed = path.exists();
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        if !existed {
            return Ok((
                HighWaterFile { file, path: path.to_path_buf(), sequence: 0, last: HighWater::default() },
                None,
            ));
        }
        let bytes = read_small(path)?;
        let best = bytes.chunks_exact(SLOT_BYTES).filter_map(decode).max_by_key(|(sequence, _)| *sequence);
        let Some((sequence, found)) = best else {
            // A crash before the first write leaves an empty file: as good as none. Anything else was ours and is not now.
            if bytes.is_empty() {
                let file = HighWaterFile { file, path: path.to_path_buf(), sequence: 0, last: HighWater::default() };
                return Ok((file, None));
            }
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no slot of the high-water file is whole"));
        };
        Ok((HighWaterFile { file, path: path.to_path_buf(), sequence, last: found }, Some(found)))
    }

    /// What was last written or found.
    pub fn last(&self) -> HighWater {
        self.last
    }

    /// Writes a new state to the page cache.
    pub fn write(&mut self, state: HighWater) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let slot = u64::from(self.sequence % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&encode(self.sequence, state), slot)?;
        self.last = state;
        Ok(())
    }

    /// Makes it durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()?;
        sync_folder(&self.path)
    }
}

fn encode(sequence: u32, state: HighWater) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..4].copy_from_slice(&MAGIC.to_le_bytes());
    slot[4..8].copy_from_slice(&sequence.to_le_bytes());
    slot[8..16].copy_from_slice(&state.commit.to_le_bytes());
    slot[16..24].copy_from_slice(&state.epochs_end.to_le_bytes());
    slot[24] = u8::from(state.clean) | u8::from(state.sync_failed) << 1 | u8::from(state.lost) << 2;
    let check = xxh3_64(&slot[..32]);
    slot[32..].copy_from_slice(&check.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(u32, HighWater)> {
    let check = u64::from_le_bytes(slot[32..40].try_into().ok()?);
    if slot[..4] != MAGIC.to_le_bytes() || xxh3_64(&slot[..32]) != check {
        return None;
    }
    let sequence = u32::from_le_bytes(slot[4..8].try_into().ok()?);
    let commit = u64::from_le_bytes(slot[8..16].try_into().ok()?);
    let epochs_end = u64::from_le_bytes(slot[16..24].try_into().ok()?);
    let (clean, sync_failed, lost) = (slot[24] & 1 != 0, slot[24] & 2 != 0, slot[24] & 4 != 0);
    Some((sequence, HighWater { commit, epochs_end, clean, sync_failed, lost }))
}
