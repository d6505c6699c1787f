//! Who this node is: kept in its data directory, so that a restart is the same node and an empty disk is not.
//!
//! The identity is written once, durably, before the first data; each start counts a generation up, durably, so that what
//! the node says by gossip is newer than all it said before. The directory is locked before that, for as long as the node
//! runs: a second process started on it by mistake counts nothing.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use dynamo_ring::NodeId;
use rustix::{fs::FlockOperation, io::Errno};
use serde::{Deserialize, Serialize};

use crate::config;

const FILE: &str = "identity.yaml";
const FORMAT: u32 = 1;
/// Where the engine's files stand, and where those go that nobody is to read any more.
const STORE: &str = "store";
const DISCARDED: &str = "store.discarded";

/// A node's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Of this file.
    pub format: u32,
    /// The cluster.
    pub cluster: String,
    /// The node's name.
    pub name: String,
    /// Its id, a UUID.
    pub id: String,
    /// Which life of its disk: milliseconds since the Unix epoch when it began.
    pub incarnation: u64,
    /// How often it was started.
    pub generation: u64,
}

impl Identity {
    /// Of a node whose engine forgets all at each start: each start is a life of its own, or dots that others still hold
    /// would be minted again (§4.4).
    pub fn after_amnesia(self) -> Self {
        Self { incarnation: self.incarnation + self.generation, ..self }
    }
}

/// A data directory that is this process's own until this is dropped.
#[derive(Debug)]
pub struct Home {
    /// Whose it is.
    pub identity: Identity,
    dir: PathBuf,
    _lock: File,
}

impl Home {
    /// What the disk has is not all that it once had: it begins another life, durably, after which nothing that was promised
    /// or minted in the old one is taken for this node's own. `after`: the highest life and generation that are known of it.
    ///
    /// # Errors
    /// The file can't be written: it is the old life's still.
    pub fn begin_life(&mut self, now_ms: u64, after: (u64, u64)) -> Result<(), IdentityError> {
        let failed = |error| IdentityError::Io { dir: self.dir.display().to_string(), error };
        let identity = Identity {
            incarnation: now_ms.max(self.identity.incarnation.max(after.0).saturating_add(1)),
            generation: self.identity.generation.max(after.1),
            ..self.identity.clone()
        };
        write(&self.dir.join(FILE), &identity).map_err(failed)?;
        self.identity = identity;
        Ok(())
    }

    /// A disk whose life is `retired` or an earlier one left its cluster: all that it has goes, and a later life begins. The
    /// life that left; None: the disk is another one's, or `retired` is 0, and nothing was changed.
    ///
    /// The store goes first: a crash in between leaves an old life without one, which is retired again. In the other order it
    /// could leave a new life with what an old one had.
    ///
    /// # Errors
    /// It can't be emptied, or the file can't be written.
    pub fn retire(&mut self, retired: u64, now_ms: u64) -> Result<Option<u64>, IdentityError> {
        let left = self.identity.incarnation;
        if retired == 0 || left > retired {
            return Ok(None);
        }
        let failed = |error| IdentityError::Io { dir: self.dir.display().to_string(), error };
        self.discard_store().map_err(failed)?;
        self.begin_life(now_ms, (retired, 0))?;
        tracing::warn!(
            node = self.identity.name,
            left,
            retired,
            life = self.identity.incarnation,
            "the disk in node.data_dir left its cluster in an earlier life, and node.retired says that it is done with: it was emptied, and goes on as a new node's"
        );
        Ok(Some(left))
    }

    /// Where the store is.
    pub fn store(&self) -> PathBuf {
        self.dir.join(STORE)
    }

    /// All that the store has goes, at once or not at all; to be called while it is closed. What a crash leaves of it goes at
    /// the next start.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn discard_store(&self) -> io::Result<()> {
        self.remove_discarded()?;
        match fs::rename(self.store(), self.dir.join(DISCARDED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => File::open(&self.dir)?.sync_all()?,
        }
        self.remove_discarded()
    }

    /// Removes what was discarded before a crash.
    ///
    /// # Errors
    /// It can't be removed.
    pub fn remove_discarded(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.dir.join(DISCARDED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Why a data directory can't be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another node's.
    #[error(
        "{dir} holds the data of node {found:?} of cluster {cluster:?}, and this is node {name:?} of {ours:?}: nothing was changed; give this node its own node.data_dir"
    )]
    Another {
        /// The directory.
        dir: String,
        /// Whose it is.
        found: String,
        /// Of which cluster.
        cluster: String,
        /// Who asked.
        name: String,
        /// Of which cluster.
        ours: String,
    },
    /// A newer version's.
    #[error(
        "{dir} was written by a newer version (identity format {found}, this one reads up to {FORMAT}): nothing was changed; run the newer version"
    )]
    Newer {
        /// The directory.
        dir: String,
        /// The format found.
        found: u32,
    },
    /// Unreadable.
    #[error(
        "{path} is damaged ({what}): nothing was changed; restore it from a copy, or move the directory away and let the node be rebuilt from its replicas"
    )]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Data without an identity.
    #[error(
        "{dir} holds files but no {FILE}: nothing was changed; it may be another program's directory, or the identity was lost: move the directory away and let the node be rebuilt from its replicas"
    )]
    Missing {
        /// The directory.
        dir: String,
    },
    /// Another process runs on it.
    #[error(
        "{dir} is in use by another process: nothing was changed; stop that one, or give this node its own node.data_dir"
    )]
    InUse {
        /// The directory.
        dir: String,
    },
    /// The system refused.
    #[error("{dir} can't be used: {error}")]
    Io {
        /// The directory.
        dir: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Locks `dir`, reads the identity in it, or makes one, and counts this start.
///
/// # Errors
/// A directory that is not this node's, is in use, or can't be used. Nothing was changed.
pub fn open(dir: &Path, cluster: &str, name: &str, id: NodeId, now_ms: u64) -> Result<Home, IdentityError> {
    let failed = |error| IdentityError::Io { dir: dir.display().to_string(), error };
    fs::create_dir_all(dir).map_err(failed)?;
    let lock = lock(dir)?;
    let path = dir.join(FILE);
    let damaged = |what: String| IdentityError::Damaged { path: path.display().to_string(), what };
    let mut identity = match fs::read(&path) {
        Ok(bytes) => parse(dir, &bytes, damaged)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if holds_data(dir).map_err(failed)? {
                return Err(IdentityError::Missing { dir: dir.display().to_string() });
            }
            let (cluster, name) = (cluster.to_owned(), name.to_owned());
            Identity { format: FORMAT, cluster, name, id: id.to_string(), incarnation: now_ms, generation: 0 }
        }
        Err(error) => return Err(failed(error)),
    };
    if identity.cluster != cluster || identity.name != name || identity.id != id.to_string() {
        return Err(IdentityError::Another {
            dir: dir.display().to_string(),
            found: identity.name,
            cluster: identity.cluster,
            name: name.to_owned(),
            ours: cluster.to_owned(),
        });
    }
    // Their sum is an incarnation too, of a node that keeps nothing.
    let next = identity.generation.checked_add(1).filter(|next| identity.incarnation.checked_add(*next).is_some());
    identity.generation = next.ok_or_else(|| damaged("there is no generation after its own".into()))?;
    write(&path, &identity).map_err(failed)?;
    Ok(Home { identity, dir: dir.to_owned(), _lock: lock })
}

/// The directory itself is locked: a lock file would be a change to a directory that may be somebody else's.
fn lock(dir: &Path) -> Result<File, IdentityError> {
    let failed = |error| IdentityError::Io { dir: dir.display().to_string(), error };
    let held = File::open(dir).map_err(failed)?;
    match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(IdentityError::InUse { dir: dir.display().to_string() }),
        // Some network file systems can't lock directories. The store's own lock file still keeps two processes apart;
        // only the generation may be counted once too often.
        Ok(()) | Err(_) => Ok(held),
    }
}

fn parse(dir: &Path, bytes: &[u8], damaged: impl Fn(String) -> IdentityError) -> Result<Identity, IdentityError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let text = std::str::from_utf8(bytes).map_err(|error| damaged(format!("it is no text: {error}")))?;
    let Format { format } = config::from_yaml(text).map_err(&damaged)?;
    match format {
        FORMAT => config::from_yaml(text).map_err(damaged),
        0 => Err(damaged("there is no format 0".into())),
        newer => Err(IdentityError::Newer { dir: dir.display().to_string(), found: newer }),
    }
}

/// Anything but leftovers of an identity that was never finished, and what a fresh volume has.
fn holds_data(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != "lost+found" && name != temporary(Path::new(FILE)).as_os_str() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("yaml.new")
}

/// Replaces the file: a crash leaves the old one or the new one.
fn write(path: &Path, identity: &Identity) -> io::Result<()> {
    let new = temporary(path);
    let mut file = File::create(&new)?;
    file.write_all(config::to_yaml(identity).as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().expect("a file in a directory"))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_as(dir: &Path, name: &str) -> Result<Identity, IdentityError> {
        open(dir, "c", name, NodeId::initial("c", name), 7).map(|home| home.identity)
    }

    #[test]
    fn a_restart_is_the_same_node_and_counts_up() {
        let dir = tempfile::tempdir().unwrap();
        let first = open_as(dir.path(), "a").unwrap();
        let second = open(dir.path(), "c", "a", NodeId::initial("c", "a"), 99).unwrap().identity;
        assert_eq!((second.incarnation, second.generation), (first.incarnation, first.generation + 1));
    }

    #[test]
    fn a_new_life_is_above_all_that_is_known_and_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut home = open(dir.path(), "c", "a", NodeId::initial("c", "a"), 7).unwrap();
        home.begin_life(5, (0, 0)).unwrap();
        assert_eq!((home.identity.incarnation, home.identity.generation), (8, 1));
        home.begin_life(5, (40, 9)).unwrap();
        assert_eq!((home.identity.incarnation, home.identity.generation), (41, 9));
        drop(home);
        let again = open_as(dir.path(), "a").unwrap();
        assert_eq!((again.incarnation, again.generation), (41, 10), "and a start is counted as ever");
    }

    #[test]
    fn a_store_that_is_discarded_is_gone_with_what_an_earlier_crash_left_of_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = open(dir.path(), "c", "a", NodeId::initial("c", "a"), 7).unwrap();
        home.discard_store().unwrap();
        for _ in 0..2 {
            for name in [STORE, DISCARDED] {
                fs::create_dir_all(dir.path().join(name).join("engine")).unwrap();
                fs::write(dir.path().join(name).join("engine/file"), "x").unwrap();
            }
            home.discard_store().unwrap();
        }
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [FILE]);
    }

    #[test]
    fn a_life_that_is_retired_is_emptied_once_and_a_later_one_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(STORE).join("file");
        let keep = || {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "x").unwrap();
        };
        let mut home = open(dir.path(), "c", "a", NodeId::initial("c", "a"), 7).unwrap();
        keep();
        for retired in [0, 6] {
            assert_eq!(home.retire(retired, 99).unwrap(), None);
            assert!(file.exists() && home.identity.incarnation == 7);
        }
        assert_eq!(home.retire(7, 5).unwrap(), Some(7));
        assert!(!file.exists() && home.identity.incarnation == 8, "above the retired one, whatever the clock says");
        keep();
        assert_eq!(home.retire(7, 99).unwrap(), None);
        assert!(file.exists());
        // A clock that was set back, or a disk that is new: above it all the same.
        assert_eq!(home.retire(500, 99).unwrap(), Some(8));
        drop(home);
        assert_eq!(open_as(dir.path(), "a").unwrap().incarnation, 501);
    }

    #[test]
    fn a_crash_while_a_disk_is_emptied_never_leaves_a_new_life_with_an_old_store() {
        let dir = tempfile::tempdir().unwrap();
        let again = || open(dir.path(), "c", "a", NodeId::initial("c", "a"), 7).unwrap();
        let (store, aside) = (dir.path().join(STORE), dir.path().join(DISCARDED));
        drop(again());
        fs::create_dir_all(&store).unwrap();
        // It had been put aside, and half of it deleted.
        fs::rename(&store, &aside).unwrap();
        let mut home = again();
        assert_eq!((home.retire(7, 9).unwrap(), home.identity.incarnation), (Some(7), 9));
        assert!(!store.exists() && !aside.exists());
        // What can't be emptied keeps its life.
        drop(home);
        fs::write(&aside, "no folder").unwrap();
        let mut home = again();
        assert!(home.retire(50, 60).is_err());
        assert_eq!(home.identity.incarnation, 9);
    }

    #[test]
    fn another_nodes_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open_as(dir.path(), "a").unwrap();
        let error = open_as(dir.path(), "b").unwrap_err();
        assert!(matches!(error, IdentityError::Another { .. }), "{error}");
    }

    #[test]
    fn a_directory_in_use_is_refused_and_its_generation_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let home = open(dir.path(), "c", "a", NodeId::initial("c", "a"), 7).unwrap();
        let before = fs::read(dir.path().join(FILE)).unwrap();
        for name in ["a", "b"] {
            let error = open_as(dir.path(), name).unwrap_err();
            assert!(matches!(error, IdentityError::InUse { .. }), "{error}");
        }
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), before);
        let generation = home.identity.generation;
        drop(home);
        assert_eq!(open_as(dir.path(), "a").unwrap().generation, generation + 1);
    }

    #[test]
    fn a_newer_format_and_damage_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "format: 9\nnew_key: 1\n").unwrap();
        assert!(matches!(open_as(dir.path(), "a").unwrap_err(), IdentityError::Newer { found: 9, .. }));
        let whole = |incarnation: u64, generation: u64| {
            let id = NodeId::initial("c", "a");
            format!(
                "{{format: 1, cluster: c, name: a, id: {id}, incarnation: {incarnation}, generation: {generation}}}"
            )
        };
        let (last, sum) = (whole(7, u64::MAX), whole(u64::MAX, 7));
        for damage in [
            &b"format: 1\nclus"[..],
            b"format: 1\nname: \xff\xfe",
            b"",
            b"\0\0\0",
            b"format: 0",
            last.as_bytes(),
            sum.as_bytes(),
        ] {
            fs::write(dir.path().join(FILE), damage).unwrap();
            let error = open_as(dir.path(), "a").unwrap_err();
            assert!(matches!(error, IdentityError::Damaged { .. }), "{error}");
            assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), damage);
        }
    }

    #[test]
    fn arbitrary_bytes_are_damage_or_an_identity_and_never_a_panic() {
        bolero::check!().with_iterations(20_000).for_each(|bytes: &[u8]| {
            let damaged = |what| IdentityError::Damaged { path: String::new(), what };
            for bytes in [bytes.to_vec(), [b"format: 1\ncluster: ", bytes].concat()] {
                if let Err(error) = parse(Path::new("d"), &bytes, damaged) {
                    assert!(matches!(error, IdentityError::Damaged { .. } | IdentityError::Newer { .. }), "{error}");
                }
            }
        });
    }

    #[test]
    fn data_without_an_identity_is_never_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("something"), "x").unwrap();
        assert!(matches!(open_as(dir.path(), "a").unwrap_err(), IdentityError::Missing { .. }));
    }
}
