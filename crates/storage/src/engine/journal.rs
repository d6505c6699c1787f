//! What this crate does to fjall's journal files beside fjall: sync them without its lock, check them before it opens
//! them, and rewrite one whose sync failed.
//!
//! Built on facts of fjall 3.1 that the suite's tests hold: journals are `<number>.jnl` in the database folder; the
//! highest number is the active one; a journal is fully synced before its successor is created, and that happens at a
//! length of at least 64,000,000 bytes; a batch is `Start(1, count, seqno)`, `count` entries, `End(3, xxh3, "FJL\x03")`;
//! the file is extended with zeroes beforehand.

use super::EngineError;
use parking_lot::Mutex;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::warn;
use xxhash_rust::xxh3::Xxh3;

/// fjall rotates a journal only beyond this length: a shorter one that has a successor was cut.
const SEALED_LENGTH_MIN: u64 = 64_000_000;
const MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];

/// Syncs the active journal through a handle of its own.
///
/// Why: fjall's own `persist` holds the journal's lock for the whole `fdatasync`, so no commit could go on meanwhile.
pub(super) struct JournalSync {
    folder: PathBuf,
    active: Mutex<Option<(u64, File)>>,
    failed: AtomicBool,
}

impl JournalSync {
    pub(super) fn new(folder: &Path) -> JournalSync {
        JournalSync { folder: folder.to_path_buf(), active: Mutex::new(None), failed: AtomicBool::new(false) }
    }

    /// After a failed sync the kernel may hold pages as clean that never reached the disk; the journal must then be
    /// rewritten before anything is appended behind the hole.
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Everything written to any journal before this call is durable on return.
    pub(super) fn sync(&self) -> Result<(), EngineError> {
        if self.failed() {
            return Err(EngineError::Broken);
        }
        self.sync_active().map_err(|error| {
            self.failed.store(true, Ordering::Release);
            error.into()
        })
    }

    fn sync_active(&self) -> io::Result<()> {
        let mut active = self.active.lock();
        if active.is_none() {
            let id = numbers(&self.folder)?.pop().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            *active = Some((id, File::open(path_of(&self.folder, id))?));
        }
        loop {
            let (id, file) = active.as_ref().expect("filled above");
            rustix::fs::fdatasync(file)?;
            // A successor exists: fjall had synced this one before it made that, and what we are asked for may be there.
            match File::open(path_of(&self.folder, id + 1)) {
                Ok(next) => *active = Some((id + 1, next)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn path_of(folder: &Path, id: u64) -> PathBuf {
    folder.join(format!("{id}.jnl"))
}

/// Numbers of the journals in a folder, ascending.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".jnl")).and_then(|id| id.parse().ok()) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// How far a journal makes sense.
#[derive(Debug, PartialEq, Eq)]
struct Checked {
    /// End of the last whole batch.
    good: u64,
    /// Length of the file.
    length: u64,
    /// True if only zeroes, or nothing, follow.
    clean: bool,
}

/// Checks all journals before fjall reads them, and cuts the newest behind its last whole batch.
///
/// fjall by itself fails to open when the journal's end was written in part by a power cut (zeroes inside a batch), and
/// silently drops the rest of an older journal at some kinds of damage. So: damage in the newest journal is cut off (the
/// caller's counters tell whether anything promised was there), damage in an older one is an error, because newer
/// batches would be applied over the hole.
pub(super) fn mend(folder: &Path) -> Result<(), EngineError> {
    if !folder.exists() {
        return Ok(());
    }
    let ids = numbers(folder)?;
    for (index, &id) in ids.iter().enumerate() {
        let path = path_of(folder, id);
        let checked = check(&path)?;
        let newest = index + 1 == ids.len();
        if newest && !checked.clean {
            cut(&path, &checked)?;
        } else if !newest && (!checked.clean || checked.length < SEALED_LENGTH_MIN) {
            return Err(EngineError::Damaged(format!(
                "journal {} is damaged or cut at byte {} of {}, and newer journals follow it",
                path.display(),
                checked.good,
                checked.length
            )));
        }
    }
    Ok(())
}

fn cut(path: &Path, checked: &Checked) -> io::Result<()> {
    warn!(journal = %path.display(), from = checked.good, length = checked.length, "cutting an unfinished end off the journal");
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(checked.good)?;
    file.sync_all()
}

fn check(path: &Path) -> io::Result<Checked> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = Counted { inner: BufReader::with_capacity(256 << 10, file), position: 0, length };
    let mut good = 0;
    let mut buffer = Vec::new();
    while read_batch(&mut reader, &mut buffer)? {
        good = reader.position;
    }
    let clean = only_zeroes(path, good)?;
    Ok(Checked { good, length, clean })
}

fn only_zeroes(path: &Path, from: u64) -> io::Result<bool> {
    use std::io::Seek;
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::Start(from))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

struct Counted<R> {
    inner: R,
    position: u64,
    length: u64,
}

impl<R: Read> Counted<R> {
    /// Fills `into`, or says false at the end of the file.
    fn fill(&mut self, into: &mut [u8]) -> io::Result<bool> {
        match self.inner.read_exact(into) {
            Ok(()) => {
                self.position += into.len() as u64;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Reads one batch; false if there is no whole one here.
fn read_batch(reader: &mut Counted<impl Read>, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut start = [0; 13];
    if !reader.fill(&mut start)? || start[0] != 1 {
        return Ok(false);
    }
    let count = u32::from_le_bytes(start[1..5].try_into().expect("four bytes"));
    let mut hash = Xxh3::new();
    for _ in 0..count {
        buffer.clear();
        if !read_entry(reader, buffer)? {
            return Ok(false);
        }
        hash.update(buffer);
    }
    let mut end = [0; 13];
    Ok(reader.fill(&mut end)? && end[0] == 3 && end[1..9] == hash.digest().to_le_bytes() && end[9..] == MAGIC)
}

fn read_entry(reader: &mut Counted<impl Read>, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut more = |buffer: &mut Vec<u8>, bytes: usize| {
        // A damaged length must not make us allocate what the file cannot hold.
        if bytes as u64 > reader.length - reader.position {
            return Ok(false);
        }
        let from = buffer.len();
        buffer.resize(from + bytes, 0);
        reader.fill(&mut buffer[from..])
    };
    if !more(buffer, 1)? {
        return Ok(false);
    }
    match buffer[0] {
        // tag, value type, compression, keyspace u64, key length u16, value length u32, stored length u32
        2 => {
            if !more(buffer, 20)? {
                return Ok(false);
            }
            let key = u16::from_le_bytes([buffer[11], buffer[12]]);
            let stored = u32::from_le_bytes(buffer[17..21].try_into().expect("four bytes"));
            more(buffer, usize::from(key) + stored as usize)
        }
        4 => more(buffer, 8),
        _ => Ok(false),
    }
}

/// Writes the active journal anew and puts it in place of the old one.
///
/// After a failed `fdatasync` the kernel may forget that pages are dirty. Appending behind them and syncing that would
/// leave a hole that a later recovery stops at, losing what was acknowledged after it.
pub(super) fn rewrite_active(folder: &Path) -> Result<(), EngineError> {
    let Some(id) = numbers(folder)?.pop() else { return Ok(()) };
    let path = path_of(folder, id);
    let good = check(&path)?.good;
    let fresh = folder.join(format!("{id}.jnl-rewritten"));
    let mut to = File::create(&fresh)?;
    io::copy(&mut File::open(&path)?.take(good), &mut to)?;
    to.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Engine, FjallEngine, FjallSettings, Reading, Space};
    use super::*;
    use bytes::Bytes;

    fn put(engine: &FjallEngine, key: u32, value: Bytes) {
        let mut batch = Batch::new();
        batch.put(Space::Data, Bytes::copy_from_slice(&key.to_be_bytes()), value);
        engine.commit(batch).unwrap();
    }

    fn open(path: &Path) -> FjallEngine {
        FjallEngine::open(FjallSettings { memtable_bytes: 1 << 20, ..FjallSettings::new(path) }).unwrap()
    }

    /// Our reading of fjall's format is right: a journal written by it is whole to its last batch.
    #[test]
    fn a_journal_of_fjall_is_found_whole() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        let before = check(&path_of(dir.path(), 0)).unwrap();
        put(&engine, 1, Bytes::from_static(b"value"));
        let after = check(&path_of(dir.path(), 0)).unwrap();
        assert!(after.clean && after.good > before.good, "{before:?} {after:?}");
    }

    #[test]
    fn syncing_follows_fjall_to_its_next_journal() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        let value = Bytes::from(vec![7; 1 << 20]);
        for key in 0..80 {
            put(&engine, key, value.clone());
            engine.sync().unwrap();
        }
        assert!(*numbers(dir.path()).unwrap().last().unwrap() > 0, "80 MiB do not fit into one journal");
        engine.reopen().unwrap();
        put(&engine, 80, value.clone());
        engine.sync().unwrap();
        for key in 0..81u32 {
            assert_eq!(engine.get(Space::Data, &key.to_be_bytes()).unwrap().as_ref(), Some(&value));
        }
    }

    #[test]
    fn damage_in_a_journal_that_has_a_successor_is_an_error_naming_it() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        (0..50).for_each(|key| put(&engine, key, Bytes::from_static(b"value")));
        engine.close();
        File::create(path_of(dir.path(), 1)).unwrap();
        mend(dir.path()).unwrap();
        let file = OpenOptions::new().write(true).open(path_of(dir.path(), 0)).unwrap();
        let good = check(&path_of(dir.path(), 0)).unwrap().good;
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xAA], good - 30).unwrap();
        let error = mend(dir.path()).unwrap_err().to_string();
        assert!(error.contains("0.jnl"), "{error}");
        file.set_len(0).unwrap();
        let error = mend(dir.path()).unwrap_err().to_string();
        assert!(error.contains("0.jnl"), "{error}");
    }

    #[test]
    fn a_rewritten_journal_holds_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        (0..50).for_each(|key| put(&engine, key, Bytes::from_static(b"value")));
        engine.fail_sync();
        assert!(matches!(engine.sync(), Err(EngineError::Broken)));
        assert!(matches!(engine.commit(Batch::new()), Err(EngineError::Broken)));
        engine.reopen().unwrap();
        put(&engine, 50, Bytes::from_static(b"value"));
        engine.sync().unwrap();
        engine.reopen().unwrap();
        assert!((0..51u32).all(|key| engine.get(Space::Data, &key.to_be_bytes()).unwrap().is_some()));
    }
}
