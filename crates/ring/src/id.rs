//! A node's name in the ring: a UUID, never an address.

use std::{fmt, str::FromStr};

use md5::{Digest, Md5};

/// A node. Ordered by its bits; written and read as a hyphenated UUID.
///
/// ```
/// use dynamo_ring::NodeId;
///
/// let id = NodeId::initial("shop", "node-0");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u128);

impl NodeId {
    /// The id of a member that the cluster's configuration names from the start: the same on every node, so that all
    /// can work out the first ring by themselves. (Version 3 of RFC 9562: from a name, by MD5.) A `name` has another id in
    /// every `cluster`.
    pub fn initial(cluster: &str, name: &str) -> NodeId {
        let mut hash = Md5::new();
        hash.update((cluster.len() as u64).to_be_bytes());
        hash.update(cluster);
        hash.update(name);
        let bits = u128::from_be_bytes(hash.finalize().into());
        let versioned = bits & !(0xf << 76) | 3 << 76;
        NodeId(versioned & !(0b11 << 62) | 0b10 << 62)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            bits >> 80 & 0xffff,
            bits >> 64 & 0xffff,
            bits >> 48 & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

/// A text that is no hyphenated UUID of 36 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeIdError;

impl fmt::Display for NodeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node id is a UUID like 0f6ac0de-7f3e-3c6b-9a43-6d1a9d3f2b10")
    }
}

impl std::error::Error for NodeIdError {}

impl FromStr for NodeId {
    type Err = NodeIdError;

    /// Reads a hyphenated UUID, of any version, in lower or upper case.
    ///
    /// # Errors
    /// The text is none.
    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        let hyphens = [8, 13, 18, 23];
        let placed = text.len() == 36
            && text
                .bytes()
                .enumerate()
                .all(|(at, byte)| if hyphens.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() });
        if !placed {
            return Err(NodeIdError);
        }
        u128::from_str_radix(&text.replace('-', ""), 16).map(NodeId).map_err(|_| NodeIdError)
    }
}
