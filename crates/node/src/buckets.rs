//! The buckets as the request path reads them: a map behind one atomic load, fed by gossip's table.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use dynamo_version::Mode;
use dynamo_wire::{
    DEFAULT_BUCKET,
    v1::{self, BucketMode, ErrorCode},
};

use crate::request::Refused;

const NAME_BYTES_MAX: usize = 64;

/// A bucket's settings, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSettings {
    /// Its name.
    pub name: Arc<str>,
    /// What becomes of concurrent writes.
    pub mode: Mode,
    /// Replicas that a read waits for; None: a majority of N.
    pub r: Option<u8>,
    /// Replicas that a write waits for; None: a majority of N.
    pub w: Option<u8>,
    /// Whether home replicas alone count.
    pub strict: bool,
}

impl BucketSettings {
    /// The bucket that every cluster has: siblings, majorities, sloppy.
    pub fn default_bucket() -> Self {
        Self { name: DEFAULT_BUCKET.into(), mode: Mode::Siblings, r: None, w: None, strict: false }
    }

    /// From what a client sent, checked against N.
    pub fn from_wire(bucket: &v1::Bucket, n: u8) -> Result<Self, Refused> {
        let invalid = |message: String| Refused::new(ErrorCode::InvalidArgument, message);
        check_name(&bucket.name)?;
        let mode = match bucket.mode() {
            BucketMode::LastWriteWins => Mode::LastWriteWins,
            BucketMode::Siblings | BucketMode::Unspecified => Mode::Siblings,
        };
        let quorum = |letter: char, value: u32| match u8::try_from(value) {
            Ok(0) => Ok(None),
            Ok(value) if value <= n => Ok(Some(value)),
            _ => Err(invalid(format!(
                "{letter} = {value} is more than N = {n} replicas: the bucket was not created; choose {letter} from 1 to {n}"
            ))),
        };
        Ok(Self {
            name: bucket.name.as_str().into(),
            mode,
            r: quorum('R', bucket.r)?,
            w: quorum('W', bucket.w)?,
            strict: bucket.strict,
        })
    }

    /// As clients see it.
    pub fn to_wire(&self) -> v1::Bucket {
        let mode = match self.mode {
            Mode::Siblings => BucketMode::Siblings,
            Mode::LastWriteWins => BucketMode::LastWriteWins,
        };
        v1::Bucket {
            name: self.name.to_string(),
            mode: mode as i32,
            r: self.r.unwrap_or(0).into(),
            w: self.w.unwrap_or(0).into(),
            strict: self.strict,
        }
    }
}

/// Refuses names that no bucket can have.
pub fn check_name(name: &str) -> Result<(), Refused> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(Refused::new(
        ErrorCode::InvalidArgument,
        format!(
            "{name:?} is no name for a bucket: 1 to {NAME_BYTES_MAX} characters of a-z A-Z 0-9 _ . - (nothing was changed)"
        ),
    ))
}

/// All buckets that this node knows.
pub struct Buckets {
    known: ArcSwap<HashMap<Arc<str>, Arc<BucketSettings>>>,
    default: Arc<BucketSettings>,
    /// Whether one that is not there is one that there isn't.
    complete: AtomicBool,
}

impl Buckets {
    /// Only the default bucket.
    pub fn new() -> Self {
        let buckets = Self {
            known: ArcSwap::default(),
            default: Arc::new(BucketSettings::default_bucket()),
            complete: AtomicBool::new(false),
        };
        buckets.replace([]);
        buckets
    }

    /// Takes gossip's table; the default bucket is always there.
    pub fn replace(&self, buckets: impl IntoIterator<Item = BucketSettings>) {
        let mut known: HashMap<_, _> =
            buckets.into_iter().map(|bucket| (bucket.name.clone(), Arc::new(bucket))).collect();
        known.entry(self.default.name.clone()).or_insert_with(|| self.default.clone());
        self.known.store(Arc::new(known));
    }

    /// A peer has said which buckets there are, or there is none to say it.
    pub fn set_complete(&self, complete: bool) {
        self.complete.store(complete, Ordering::Relaxed);
    }

    /// Whether all buckets are known here. A node that has just started may not have heard of all, with an empty disk of none.
    pub fn are_complete(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }

    /// A bucket; the empty name is the default one.
    pub fn get(&self, name: &str) -> Result<Arc<BucketSettings>, Refused> {
        if name.is_empty() || name == DEFAULT_BUCKET {
            return Ok(self.known.load().get(DEFAULT_BUCKET).unwrap_or(&self.default).clone());
        }
        self.known.load().get(name).cloned().ok_or_else(|| {
            if !self.are_complete() {
                let message = format!(
                    "this node has just started and not heard yet whether there is a bucket {name:?}: nothing was read or written; ask another node, or this one in a moment"
                );
                return Refused::new(ErrorCode::NotReady, message);
            }
            Refused::new(
                ErrorCode::UnknownBucket,
                format!(
                    "there is no bucket {name:?}: nothing was read or written; create it first (dynamo bucket create {name})"
                ),
            )
        })
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<Arc<BucketSettings>> {
        let mut buckets: Vec<_> = self.known.load().values().cloned().collect();
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        buckets
    }

    /// Of how many old homes a change of the ring needs everything: max(R, N - R + 1), the largest over the buckets.
    pub fn homes_needed(&self, n: u8) -> usize {
        let majority = n / 2 + 1;
        let of_bucket = |r: u8| usize::from(r.max(n.saturating_sub(r) + 1));
        if !self.are_complete() {
            // There may be one with R = 1 or R = N.
            return usize::from(n);
        }
        let largest = self.list().iter().map(|bucket| of_bucket(bucket.r.unwrap_or(majority).min(n))).max();
        largest.unwrap_or(0).max(of_bucket(majority))
    }

    /// How many homes of a key have to answer for every bucket to take reads and writes: the largest R or W.
    pub fn quorum(&self, n: u8) -> usize {
        let majority = n / 2 + 1;
        if !self.are_complete() {
            return usize::from(n);
        }
        let of_bucket =
            |bucket: Arc<BucketSettings>| bucket.r.unwrap_or(majority).max(bucket.w.unwrap_or(majority)).min(n);
        self.list().into_iter().map(of_bucket).fold(majority, u8::max).into()
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self::new()
    }
}
