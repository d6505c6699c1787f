//! Variants of the protocol that are known to be wrong: each takes one rule away, and the checkers have to notice.
//!
//! They exist only with the feature `known-bad`, which no release has.

use dynamo_cluster_model::Bad;

/// A rule that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnownBad {
    /// A node counts on after it forgot a key (riak_kv 679): no key epochs.
    NoKeyEpochs,
    /// A write is acknowledged while the disk still syncs it.
    AckBeforeDisk,
    /// A hint is dropped when it is sent, not when it is confirmed.
    HintDroppedUnconfirmed,
    /// A tombstone is collected after a while, whoever has not heard of it.
    TombstonesByAge,
    /// Read repair puts its state in place of what is there.
    RepairOverwrites,
    /// A node with an empty disk goes on under its old incarnation.
    IdentityReused,
    /// The context of a put covers all that the coordinator has, not what the writer has read.
    ContextTooWide,
    /// Old homes say that they have sealed, and serve requests of the old ring on: the epoch turns without seals.
    TurnWithoutSeals,
    /// Old homes count as sources of a step though they are not whole.
    SourcesNotWhole,
    /// Hash trees do not know every key.
    TreesMissKeys,
    /// Whoever changes the ring takes silence for consent: each half of a cut cluster has a register of its own.
    TwoRegisters,
    /// An operator takes whoever is not wanted for gone, and waits for no receipt.
    NoReceipt,
    /// An operator takes a change of the ring for done when it has begun.
    PodsBeforeTheRing,
    /// An operator restarts several homes of a range at once.
    RestartsWithoutQuorum,
}

impl KnownBad {
    /// All of them, and the name of each.
    #[cfg_attr(not(feature = "known-bad"), expect(dead_code, reason = "nobody asks without the feature"))]
    pub const ALL: [(Self, &'static str); 14] = [
        (Self::NoKeyEpochs, "no-key-epochs"),
        (Self::AckBeforeDisk, "ack-before-disk"),
        (Self::HintDroppedUnconfirmed, "hint-dropped-unconfirmed"),
        (Self::TombstonesByAge, "tombstones-by-age"),
        (Self::RepairOverwrites, "repair-overwrites"),
        (Self::IdentityReused, "identity-reused"),
        (Self::ContextTooWide, "context-too-wide"),
        (Self::TurnWithoutSeals, "turn-without-seals"),
        (Self::SourcesNotWhole, "sources-not-whole"),
        (Self::TreesMissKeys, "trees-miss-keys"),
        (Self::TwoRegisters, "two-registers"),
        (Self::NoReceipt, "no-receipt"),
        (Self::PodsBeforeTheRing, "pods-before-the-ring"),
        (Self::RestartsWithoutQuorum, "restarts-without-quorum"),
    ];

    /// What operators take for so by it, if it is about them.
    pub fn of_operators(self) -> Option<Bad> {
        match self {
            Self::NoReceipt => Some(Bad::NoReceipt),
            Self::PodsBeforeTheRing => Some(Bad::ChangesAreDone),
            Self::RestartsWithoutQuorum => Some(Bad::NoQuorum),
            _ => None,
        }
    }
}
