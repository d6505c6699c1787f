//! The history while it is made, and as it is read back.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use dynamo_history::{
    Bucket, Ending, History, Minted, Promise, ReadRecord, Terms, WriteId, WriteOutcome, WriteRecord, value_of,
};
use dynamo_version::{Actor, Dot, Timestamp};
use parking_lot::Mutex;

use crate::line::{Failed, Line, now_us};

/// Bytes of a value: its write's number stands in it.
pub const VALUE_BYTES: u32 = 64;
/// So many siblings a key may have, by the nodes' defaults.
const SIBLINGS_MAX: u16 = 100;
/// So long a witness may take to stop: as long as its requests may take, and some more.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// A key's name in the cluster.
pub fn name(run: &str, key: u16) -> Bytes {
    format!("witness/{run}/{key}").into()
}

/// The history while it is made.
pub struct Recorder(Mutex<Inner>);

struct Inner {
    file: File,
    next: WriteId,
    hot: Vec<Hot>,
    next_key: u16,
    full: u16,
}

/// A key in use.
#[derive(Clone, Copy)]
struct Hot {
    key: u16,
    writes: u16,
}

impl Recorder {
    /// Begins, or goes on after what is there. `hot`: so many keys are in use at once; `full`: for so many writes each.
    pub fn open(at: &Path, hot: u16, full: u16) -> anyhow::Result<Self> {
        let (next, next_key) = if at.metadata().is_ok_and(|file| file.len() > 0) {
            let past = Past::load(at)?;
            (past.history.writes.len() as WriteId, past.terms.keys)
        } else {
            (0, 0)
        };
        let file = OpenOptions::new().create(true).append(true).open(at).with_context(|| at.display().to_string())?;
        file.set_len(whole_lines(&std::fs::read(at)?).len() as u64)?;
        let after = next_key.checked_add(hot).ok_or_else(|| anyhow!("this history is full: begin another"))?;
        let hot = (next_key..after).map(|key| Hot { key, writes: 0 }).collect();
        Ok(Self(Mutex::new(Inner { file, next, hot, next_key: after, full })))
    }

    /// Puts a line in the file.
    pub fn say(&self, line: &Line) -> io::Result<()> {
        self.0.lock().say(line)
    }

    /// The key that is in use at this place.
    pub fn key(&self, place: usize) -> u16 {
        let inner = self.0.lock();
        inner.hot[place % inner.hot.len()].key
    }

    /// A write is about to be sent: its number. With the last one that a key may have, another key takes its place.
    pub fn begins(&self, client: u8, key: u16, delete: bool, seen: &[WriteId]) -> io::Result<WriteId> {
        let mut inner = self.0.lock();
        let id = inner.next;
        inner.say(&Line::Write { id, at: now_us(), client, key, delete, seen: seen.to_vec() })?;
        inner.next += 1;
        let (full, next_key) = (inner.full, inner.next_key);
        if let Some(hot) = inner.hot.iter_mut().find(|hot| hot.key == key) {
            hot.writes += 1;
            // There are no more numbers in the end: the last keys stay.
            if hot.writes >= full && next_key < u16::MAX {
                *hot = Hot { key: next_key, writes: 0 };
                inner.next_key += 1;
            }
        }
        Ok(id)
    }
}

impl Inner {
    fn say(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        // In one piece: a witness that is killed leaves whole lines, but for the last.
        self.file.write_all(&text)
    }
}

/// Values as a history tells them: the numbers of their writes, and what is no value of a witness.
pub fn told(values: &[Bytes]) -> (Vec<WriteId>, Vec<String>) {
    let (mut found, mut strange) = (Vec::new(), Vec::new());
    for value in values {
        let number = value.get(4..8).and_then(|number| Some(WriteId::from_be_bytes(number.try_into().ok()?)));
        match number.filter(|number| value_of(*number, VALUE_BYTES) == value) {
            Some(number) => found.push(number),
            None => strange.push(value.escape_ascii().to_string()),
        }
    }
    found.sort_unstable();
    (found, strange)
}

/// Where a running witness looks whether it is to stop.
pub fn stop_file(history: &Path) -> PathBuf {
    let mut name = history.as_os_str().to_owned();
    name.push(".stop");
    name.into()
}

/// Tells the witness of this history to stop, and waits until it has.
pub async fn stop(history: &Path) -> anyhow::Result<()> {
    File::create(stop_file(history)).with_context(|| stop_file(history).display().to_string())?;
    let until = tokio::time::Instant::now() + STOPS_WITHIN;
    while !matches!(last_line(history)?, Some(Line::Ends { .. } | Line::Stands { .. })) {
        if tokio::time::Instant::now() > until {
            bail!("the witness of {} does not stop: does it run?", history.display());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn last_line(at: &Path) -> anyhow::Result<Option<Line>> {
    let mut file = File::open(at).with_context(|| at.display().to_string())?;
    let bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(bytes.saturating_sub(64 << 10)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    Ok(tail.lines().last().and_then(|line| serde_json::from_str(line).ok()))
}

/// A failed request: when it was given up, which bucket's, and why.
pub struct Failure {
    pub bucket: usize,
    pub write: bool,
    pub failed: Failed,
}

/// A history as it is read back.
pub struct Past {
    pub run: String,
    pub buckets: Vec<(String, Bucket)>,
    pub history: History,
    pub terms: Terms,
    /// When witnesses began, and the last moment of each, microseconds.
    pub lives: Vec<(u64, u64)>,
    pub failures: Vec<Failure>,
    /// By key: what stood of it in the end, where it was read.
    pub endings: Vec<Option<Ending>>,
    /// Keys whose nodes did not tell the same, and what they told.
    pub differing: Vec<(u16, String)>,
}

impl Past {
    /// Reads a file.
    pub fn load(at: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(at).with_context(|| at.display().to_string())?;
        let text = std::str::from_utf8(whole_lines(&bytes)).with_context(|| at.display().to_string())?;
        let mut past = Self {
            run: String::new(),
            buckets: Vec::new(),
            history: History::default(),
            terms: Terms {
                keys: 0,
                buckets: Vec::new(),
                replication: 3,
                nodes: 0,
                siblings_max: SIBLINGS_MAX,
                may_lose: false,
            },
            lives: Vec::new(),
            failures: Vec::new(),
            endings: Vec::new(),
            differing: Vec::new(),
        };
        for (number, line) in text.lines().enumerate() {
            let line = serde_json::from_str(line).map_err(anyhow::Error::from);
            let taken = line.and_then(|line| past.take(line));
            taken.with_context(|| format!("{}:{}", at.display(), number + 1))?;
        }
        if past.lives.is_empty() {
            bail!("{}: no witness has begun here", at.display());
        }
        past.infer();
        Ok(past)
    }

    fn take(&mut self, line: Line) -> anyhow::Result<()> {
        if let Line::Begins { at, .. } = line {
            self.lives.push((at, at));
        }
        if let (Some(at), Some(life)) = (time_of(&line), self.lives.last_mut()) {
            life.1 = life.1.max(at);
        }
        match line {
            Line::Begins { run, buckets, .. } => {
                if !self.run.is_empty() && (&self.run, &self.buckets) != (&run, &buckets) {
                    bail!("another history begins in the middle of one");
                }
                self.terms.buckets = buckets.iter().map(|(_, bucket)| *bucket).collect();
                (self.run, self.buckets) = (run, buckets);
            }
            Line::Write { id, at, client, key, delete, seen } => {
                if id as usize != self.history.writes.len() || seen.iter().any(|seen| *seen >= id) {
                    bail!("write {id} is out of its order");
                }
                self.terms.keys = self.terms.keys.max(key + 1);
                self.history.begin_write(WriteRecord {
                    client,
                    key,
                    delete,
                    seen: seen.into(),
                    began_us: at,
                    ended_us: None,
                    outcome: WriteOutcome::Unknown,
                    minted: None,
                    promise: Promise::None,
                    refused: None,
                });
            }
            Line::Written { id, at, failed } => self.written(id, at, failed)?,
            Line::Read { at, began, client, key, found, strange } => {
                // Also of a key that nobody has come to write.
                self.terms.keys = self.terms.keys.max(key + 1);
                let (found, strange) = self.of_key(key, found, strange);
                let (found, strange) = (found.into(), strange.into_iter().map(Bytes::from).collect());
                let read = ReadRecord { client, key, began_us: began, ended_us: at, found, strange };
                self.history.reads.push(read);
            }
            Line::Unread { key, failed, .. } => {
                self.history.failed_reads += 1;
                self.failures.push(Failure { bucket: self.bucket_of(key), write: false, failed });
            }
            Line::Ends { .. } => {}
            Line::Stands { key, nodes, found, strange, differs } => {
                let (standing, strange) = self.of_key(key, found, strange);
                self.terms.nodes = self.terms.nodes.max(u8::try_from(nodes).unwrap_or(u8::MAX));
                let (siblings, at) = (standing.len() + strange.len(), usize::from(key));
                self.endings.resize(self.endings.len().max(at + 1), None);
                self.endings[at] = Some(Ending { standing, strange, siblings, actors: 0 });
                self.differing.retain(|(known, _)| *known != key);
                self.differing.extend(differs.map(|differs| (key, differs)));
            }
        }
        Ok(())
    }

    fn written(&mut self, id: WriteId, at: u64, failed: Option<Failed>) -> anyhow::Result<()> {
        let bucket = self.history.writes.get(id as usize).map(|write| self.bucket_of(write.key));
        let bucket = bucket.ok_or_else(|| anyhow!("write {id} was answered, and never sent"))?;
        let write = &mut self.history.writes[id as usize];
        write.ended_us = Some(at);
        match failed {
            None => write.outcome = WriteOutcome::Acknowledged,
            Some(failed) => {
                if !failed.maybe {
                    write.outcome = WriteOutcome::NotWritten;
                }
                write.refused = Some(failed.kind.clone());
                self.failures.push(Failure { bucket, write: true, failed });
            }
        }
        Ok(())
    }

    /// Which of the buckets a key is in.
    pub fn bucket_of(&self, key: u16) -> usize {
        usize::from(key) % self.buckets.len().max(1)
    }

    /// What was found of a key: values of another key's writes, or of none, are strange to it.
    fn of_key(&self, key: u16, found: Vec<WriteId>, mut strange: Vec<String>) -> (Vec<WriteId>, Vec<String>) {
        let writes = &self.history.writes;
        let is_own = |id: &WriteId| writes.get(*id as usize).is_some_and(|write| write.key == key && !write.delete);
        let (found, others): (Vec<WriteId>, Vec<WriteId>) = found.into_iter().partition(is_own);
        strange.extend(others.iter().map(|other| format!("the value of write {other}")));
        (found, strange)
    }

    /// What a client can tell of the versions that were made. A write was made if it was acknowledged or its value was
    /// ever read; when it began is the earliest that this can have been. A delete of which nothing is known may have been
    /// made: then what it covered is not lost.
    fn infer(&mut self) {
        let reads = self.history.reads.iter().flat_map(|read| read.found.iter());
        let standing = self.endings.iter().flatten().flat_map(|ending| ending.standing.iter());
        let mut made: Vec<WriteId> = reads.chain(standing).copied().collect();
        let told = |(_, write): &(usize, &WriteRecord)| match write.outcome {
            WriteOutcome::Acknowledged => true,
            WriteOutcome::Unknown => write.delete,
            WriteOutcome::NotWritten => false,
        };
        made.extend(self.history.writes.iter().enumerate().filter(told).map(|(id, _)| id as WriteId));
        made.sort_unstable();
        made.dedup();
        for id in made {
            // A client knows no names of versions: each write stands for its own.
            let actor = Actor { node: 0, incarnation: 0, key_epoch: 0 };
            let dot = Dot { actor, counter: u64::from(id) + 1 };
            let at_us = self.history.write(id).began_us;
            self.history.minted(id, Minted { dot, timestamp: Timestamp(0), at_us });
        }
    }
}

/// Without the line that a witness was at when it was killed.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    &bytes[..end]
}

fn time_of(line: &Line) -> Option<u64> {
    match line {
        Line::Begins { at, .. } | Line::Write { at, .. } | Line::Written { at, .. } => Some(*at),
        Line::Read { at, .. } | Line::Unread { at, .. } | Line::Ends { at } => Some(*at),
        Line::Stands { .. } => None,
    }
}
