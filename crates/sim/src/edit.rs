//! What administrators do to the ring, as data: what, when, and which node they ask.

use serde::{Deserialize, Serialize};

/// An edit and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedEdit {
    /// When, milliseconds. What is refused is tried again a few times.
    pub at_ms: u32,
    /// Which node is asked first.
    pub via: u8,
    /// What is wanted.
    pub edit: Edit,
}

/// What is wanted of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Edit {
    /// A node gets its share of the tokens.
    Join {
        /// Which.
        node: u8,
    },
    /// A node that runs hands over what it has.
    Leave {
        /// Which.
        node: u8,
    },
    /// A node that is down for good is taken out.
    Remove {
        /// Which.
        node: u8,
    },
    /// A node that is down for good gives its tokens to another.
    Replace {
        /// Which.
        node: u8,
        /// Who gets them.
        with: u8,
    },
    /// The change under way is taken back.
    Cancel,
}

impl Edit {
    /// Whether a cluster with so many nodes has whom it concerns.
    pub(crate) fn fits(self, nodes: u8) -> bool {
        match self {
            Self::Join { node } | Self::Leave { node } | Self::Remove { node } => node < nodes,
            Self::Replace { node, with } => node.max(with) < nodes && node != with,
            Self::Cancel => true,
        }
    }
}
