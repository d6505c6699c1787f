//! Free space on the disk, as a question that tests can answer themselves.

use std::io;
use std::path::Path;

/// Free bytes of a file system.
pub trait SpaceProbe: Send + 'static {
    /// Bytes that this process may still write.
    fn free_bytes(&mut self) -> io::Result<u64>;
}

impl<F: FnMut() -> io::Result<u64> + Send + 'static> SpaceProbe for F {
    fn free_bytes(&mut self) -> io::Result<u64> {
        self()
    }
}

/// Asks the file system that holds `path`.
pub fn disk_probe(path: &Path) -> impl SpaceProbe + use<> {
    let path = path.to_path_buf();
    move || {
        let about = rustix::fs::statvfs(&path)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }
}
