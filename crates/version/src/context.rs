//! What a client carries from a get to the put that follows it (§4.4): opaque, versioned, checked on return.
//!
//! `format u8 | cluster (4) | key (8) | causality | timestamp (8) | code (16)`. The code is SipHash-2-4-128 of all that
//! stands before it under the cluster's secret: a context that was changed, on purpose or not, or that is another key's,
//! is an error and not lost data.

use std::{fmt, hash::Hasher};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::{
    causality::Causality,
    clock::Timestamp,
    encode::{DecodeError, Input},
};

/// The format of a context, its first byte, that is sealed, and the newest that is opened.
pub const CONTEXT_FORMAT: u8 = 1;
/// Bytes of a context at most, some 30,000 actors: a longer one is refused unread.
pub const CONTEXT_BYTES_MAX: usize = 1 << 20;

const HEAD: usize = 1 + 4 + 8;
const CODE: usize = 16;

/// A context that does not hold. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextError {
    /// Its code does not fit its bytes.
    Damaged,
    /// It is of another key or bucket.
    OtherKey,
    /// It is of another cluster.
    OtherCluster,
    /// A newer version sealed it.
    NewerFormat {
        /// Its format.
        found: u8,
        /// The newest known here.
        known: u8,
    },
    /// It is longer than [`CONTEXT_BYTES_MAX`].
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("the context is damaged or was changed"),
            Self::OtherKey => f.write_str("the context belongs to another key or bucket"),
            Self::OtherCluster => f.write_str("the context belongs to another cluster"),
            Self::NewerFormat { found, known } => {
                write!(f, "the context has format {found} and this node knows formats up to {known}")
            }
            Self::TooLarge { bytes } => {
                write!(f, "the context has {bytes} bytes, more than the {CONTEXT_BYTES_MAX} that any context can have")
            }
        }
    }
}

impl std::error::Error for ContextError {}

/// Seals and opens the contexts of one cluster (§4.4).
///
/// ```
/// use dynamo_version::{Causality, ContextCodec, ContextError, Timestamp};
///
/// let codec = ContextCodec::new(b"sixteen bytes ok", "shop");
/// let mut context = codec.seal("carts", b"17", &Causality::new(), Timestamp(5));
/// assert_eq!(codec.open("carts", b"17", &context), Ok((Causality::new(), Timestamp(5))));
/// assert_eq!(codec.open("carts", b"18", &context), Err(ContextError::OtherKey));
/// context[15] ^= 1;
/// assert_eq!(codec.open("carts", b"17", &context), Err(ContextError::Damaged));
/// ```
#[derive(Clone)]
pub struct ContextCodec {
    secret: [u8; 16],
    cluster: [u8; 4],
}

impl ContextCodec {
    /// `secret` is shared by the cluster's nodes: whoever has it can make contexts. `cluster` is the cluster's name.
    pub fn new(secret: &[u8; 16], cluster: &str) -> Self {
        let name = SipHasher24::new_with_keys(0, 0).hash_of(&[cluster.as_bytes()]);
        Self { secret: *secret, cluster: (name as u32).to_be_bytes() }
    }

    /// The context of a client that has seen `causality` of a key, whose latest version was stamped `latest`. Some 40 bytes,
    /// and up to 32 for each actor.
    pub fn seal(&self, bucket: &str, key: &[u8], causality: &Causality, latest: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + causality.encoded_len() + 8 + CODE);
        out.push(CONTEXT_FORMAT);
        out.extend_from_slice(&self.cluster);
        out.extend_from_slice(&self.key(bucket, key));
        causality.encode_into(&mut out);
        out.extend_from_slice(&latest.0.to_be_bytes());
        let code = self.code(&out);
        out.extend_from_slice(&code.to_be_bytes());
        out
    }

    /// What the client has seen, and the latest timestamp among it.
    ///
    /// # Errors
    /// The context is not one that this cluster sealed for this key, or a newer version sealed it: see [`ContextError`].
    /// Nothing may be written with it.
    pub fn open(&self, bucket: &str, key: &[u8], context: &[u8]) -> Result<(Causality, Timestamp), ContextError> {
        let bytes = context.len();
        if bytes > CONTEXT_BYTES_MAX {
            return Err(ContextError::TooLarge { bytes });
        }
        match context.first() {
            Some(&found) if found > CONTEXT_FORMAT => {
                return Err(ContextError::NewerFormat { found, known: CONTEXT_FORMAT });
            }
            Some(&CONTEXT_FORMAT) if bytes >= HEAD + CODE => {}
            _ => return Err(ContextError::Damaged),
        }
        let (sealed, code) = context.split_at(bytes - CODE);
        // As one number: how long it takes does not tell how many bytes of a guess were right.
        if self.code(sealed) != u128::from_be_bytes(code.try_into().expect("cut to CODE bytes")) {
            // Another cluster has another secret: its name tells it from a damaged one of ours.
            let ours = sealed[1..5] == self.cluster;
            return Err(if ours { ContextError::Damaged } else { ContextError::OtherCluster });
        }
        if sealed[1..5] != self.cluster {
            return Err(ContextError::OtherCluster);
        }
        if sealed[5..HEAD] != self.key(bucket, key) {
            return Err(ContextError::OtherKey);
        }
        let mut rest = Input(&sealed[HEAD..]);
        let damaged = |_: DecodeError| ContextError::Damaged;
        let causality = Causality::decode_from(&mut rest).map_err(damaged)?;
        let latest = rest.u64().map_err(damaged)?;
        if rest.is_at_end() { Ok((causality, Timestamp(latest))) } else { Err(ContextError::Damaged) }
    }

    fn key(&self, bucket: &str, key: &[u8]) -> [u8; 8] {
        // With its length the bucket's name cannot run over into the key.
        let length = (bucket.len() as u64).to_be_bytes();
        (SipHasher24::new_with_key(&self.secret).hash_of(&[&length, bucket.as_bytes(), key]) as u64).to_be_bytes()
    }

    fn code(&self, sealed: &[u8]) -> u128 {
        SipHasher24::new_with_key(&self.secret).hash_of(&[sealed])
    }
}

impl fmt::Debug for ContextCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContextCodec { secret: .. }")
    }
}

trait HashOf {
    fn hash_of(self, parts: &[&[u8]]) -> u128;
}

impl HashOf for SipHasher24 {
    fn hash_of(mut self, parts: &[&[u8]]) -> u128 {
        for part in parts {
            self.write(part);
        }
        self.finish128().as_u128()
    }
}

/// Contexts as text, for command lines and JSON: base64url without padding.
pub mod text {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    /// A context as text.
    ///
    /// ```
    /// use dynamo_version::text;
    ///
    /// assert_eq!(text::decode(&text::encode(&[1, 2, 255])), Some(vec![1, 2, 255]));
    /// ```
    pub fn encode(context: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(context)
    }

    /// A context from text, white space around it allowed; None if it is no base64url. Whether it is a context shows when it
    /// is opened.
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(text.trim()).ok()
    }
}
