//! The data directory: who holds it, and which format it has.
//!
//! `LOCK` is held for the life of the process by an advisory lock of the kernel, so that it never outlives a kill -9.
//! `FORMAT` says the layout's version. The identity of the node that owns the directory is the node program's matter;
//! it takes the directory first and opens the store in it after.

use crate::error::StoreError;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The layout written by this version.
pub const DIRECTORY_FORMAT: u32 = 2;

/// A data directory held by this process. Dropping it lets go.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is not there, takes hold of it and checks its format.
    pub fn take(path: impl Into<PathBuf>) -> Result<DataDir, StoreError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|error| StoreError::unusable(&path, &error))?;
        let lock_path = path.join("LOCK");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .map_err(|error| StoreError::unusable(&lock_path, &error))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(StoreError::InUse(path)),
            Err(error) => return Err(StoreError::unusable(&lock_path, &error.into())),
        }
        check_format(&path)?;
        Ok(DataDir { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn engine_path(&self) -> PathBuf {
        self.path.join("engine")
    }

    pub(crate) fn high_water_path(&self) -> PathBuf {
        self.path.join("HIGHWATER")
    }
}

fn check_format(path: &Path) -> Result<(), StoreError> {
    let format_path = path.join("FORMAT");
    let text = match fs::read_to_string(&format_path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Something of ours without its format: not a new directory.
            if path.join("HIGHWATER").exists() {
                return Err(StoreError::Damaged {
                    path: path.to_path_buf(),
                    what: format!("{} is missing, though this directory was in use before", format_path.display()),
                });
            }
            return write_whole(&format_path, format!("dynamo storage {DIRECTORY_FORMAT}\n").as_bytes())
                .map_err(|error| StoreError::unusable(&format_path, &error));
        }
        Err(error) => return Err(StoreError::unusable(&format_path, &error)),
    };
    let found = text.trim().strip_prefix("dynamo storage ").and_then(|number| number.parse::<u32>().ok());
    match found {
        Some(DIRECTORY_FORMAT) => Ok(()),
        Some(found) if found > DIRECTORY_FORMAT => {
            Err(StoreError::NewerFormat { path: path.to_path_buf(), found, known: DIRECTORY_FORMAT })
        }
        // No version that was released wrote any of these.
        Some(found) if found > 0 => {
            Err(StoreError::OlderFormat { path: path.to_path_buf(), found, known: DIRECTORY_FORMAT })
        }
        _ => Err(StoreError::Damaged {
            path: path.to_path_buf(),
            what: format!("{} does not name a format", format_path.display()),
        }),
    }
}

/// Writes a file so that it is found whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    sync_folder(path)
}

pub(crate) fn sync_folder(of: &Path) -> io::Result<()> {
    match of.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

pub(crate) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(4096).read_to_end(&mut bytes)?;
    Ok(bytes)
}
