//! Which version of their language two nodes speak with each other: the newest that both know. So nodes can be upgraded one by
//! one: each release speaks the newest version of the one before.
//!
//! Each says the oldest and the newest that it speaks wherever it introduces itself: in a stream's headers, in each envelope of
//! gossip, and in what gossip says of it. Who takes a stream answers with the version that is spoken over it.

use std::fmt;

use dynamo_gossip::NodeInfo;
use dynamo_wire::{PEER_PROTOCOL, PEER_PROTOCOL_LOWEST, PEER_PROTOCOL_UNSAID};

/// The versions that somebody speaks, from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// The oldest.
    pub lowest: u32,
    /// The newest.
    pub highest: u32,
}

impl Spoken {
    /// What this program speaks.
    pub const HERE: Self = Self { lowest: PEER_PROTOCOL_LOWEST, highest: PEER_PROTOCOL };

    /// What somebody says; 0 where nothing is said.
    pub fn said(lowest: u32, highest: u32) -> Self {
        let highest = if highest == 0 { PEER_PROTOCOL_UNSAID } else { highest };
        let lowest = if lowest == 0 { highest } else { lowest };
        Self { lowest, highest }
    }

    /// The newest that both speak, if there is any.
    pub fn with(self, other: Self) -> Option<u32> {
        let newest = self.highest.min(other.highest);
        (newest >= self.lowest && newest >= other.lowest).then_some(newest)
    }

    /// The version to speak with who speaks these.
    ///
    /// # Errors
    /// There is none: what both speak, and what to do.
    pub fn common(self) -> Result<u32, String> {
        Self::HERE.with(self).ok_or_else(|| {
            let which = if self.lowest > PEER_PROTOCOL { "this node" } else { "the caller" };
            format!(
                "the caller speaks {self} of the language between nodes, this node {}: nothing was exchanged; upgrade {which} first, through the releases between if there are any",
                Self::HERE
            )
        })
    }

    /// The version that who took a stream has chosen.
    ///
    /// # Errors
    /// It is none that is spoken here.
    pub fn answered(version: Option<&[u8]>) -> Result<u32, String> {
        let said = match version {
            None => Some(PEER_PROTOCOL_UNSAID),
            Some(version) => std::str::from_utf8(version).ok().and_then(|version| version.parse().ok()),
        };
        said.filter(|said| (Self::HERE.lowest..=Self::HERE.highest).contains(said)).ok_or_else(|| {
            let shown = String::from_utf8_lossy(version.unwrap_or_default());
            format!(
                "the peer answers in version {shown:?} of the language between nodes, and this node speaks {}: nothing was exchanged",
                Self::HERE
            )
        })
    }
}

/// Why a newcomer could not exchange anything with a member; None: they can, or one of them is configured and was not heard of
/// yet.
pub fn mismatch(newcomer: &NodeInfo, member: &NodeInfo) -> Option<String> {
    if [member.protocol, newcomer.protocol].contains(&0) {
        return None;
    }
    let spoken = |info: &NodeInfo| Spoken::said(info.protocol_lowest, info.protocol);
    let (theirs, ours) = (spoken(newcomer), spoken(member));
    if ours.with(theirs).is_some() {
        return None;
    }
    let is_newer = theirs.lowest > ours.highest;
    let what = if is_newer { "upgrade the members first" } else { "start it with the version that they run" };
    Some(format!(
        "{} speaks {theirs} of the language between nodes, and {} speaks {ours}: nothing was changed; {what}",
        newcomer.name, member.name
    ))
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { lowest, highest } if lowest == highest => write!(f, "version {highest}"),
            Self { lowest, highest } => write!(f, "versions {lowest} to {highest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(lowest: u32, highest: u32) -> Spoken {
        Spoken { lowest, highest }
    }

    #[test]
    fn two_speak_the_newest_that_both_know_whoever_asks() {
        for (one, other, common) in [
            (spoken(2, 2), spoken(2, 2), Some(2)),
            (spoken(2, 3), spoken(3, 4), Some(3)),
            (spoken(1, 5), spoken(2, 3), Some(3)),
            (spoken(1, 2), spoken(3, 4), None),
            // Who says nonsense is not understood.
            (spoken(4, 1), spoken(1, 9), None),
        ] {
            assert_eq!((one.with(other), other.with(one)), (common, common), "{one} {other}");
        }
    }

    #[test]
    fn an_upgrade_step_by_step_never_splits_the_cluster() {
        // Each release speaks its own version and that of the one before.
        for version in 2..50 {
            let (old, new) = (spoken(version - 1, version), spoken(version, version + 1));
            assert_eq!(old.with(new), Some(version));
        }
    }

    #[test]
    fn who_says_nothing_speaks_the_last_version_before_it_was_said() {
        let unsaid = spoken(PEER_PROTOCOL_UNSAID, PEER_PROTOCOL_UNSAID);
        assert_eq!((Spoken::said(0, 0), Spoken::said(0, 7)), (unsaid, spoken(7, 7)));
        assert_eq!(Spoken::answered(None), Ok(PEER_PROTOCOL_UNSAID));
    }

    #[test]
    fn a_refusal_names_what_both_speak_and_who_is_to_be_upgraded() {
        assert_eq!(Spoken::HERE.common(), Ok(PEER_PROTOCOL));
        let newer = spoken(PEER_PROTOCOL + 1, PEER_PROTOCOL + 2);
        let why = newer.common().unwrap_err();
        assert!(why.contains(&newer.to_string()) && why.contains(&Spoken::HERE.to_string()), "{why}");
        assert!(why.contains("upgrade this node first"), "{why}");
        let older = spoken(PEER_PROTOCOL_LOWEST - 1, PEER_PROTOCOL_LOWEST - 1);
        assert!(older.common().unwrap_err().contains("upgrade the caller first"));
        for answer in [&b"99"[..], b"", b"x", b"0"] {
            assert!(Spoken::answered(Some(answer)).is_err(), "{answer:?}");
        }
        assert_eq!(Spoken::answered(Some(PEER_PROTOCOL.to_string().as_bytes())), Ok(PEER_PROTOCOL));
    }
}
