//! What is said of the ring.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The ring, as a majority of its members has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingStatus {
    /// Its epoch: how often its owners have changed.
    #[schemars(range(max = 9_007_199_254_740_991u64))]
    pub epoch: u64,
    /// How many members it has.
    pub members: u32,
    /// The change that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<RingChange>,
}

/// A change of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingChange {
    /// What changes, such as "shop-a-1 joins".
    #[schemars(length(max = 1024))]
    pub what: String,
    /// Whether it is being taken back.
    #[serde(default)]
    pub cancelled: bool,
    /// How many steps it has.
    pub steps: u32,
    /// How many of them are done.
    pub steps_done: u32,
    /// Why it does not go on, a sentence each, up to 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 512)))]
    pub waits_for: Vec<String>,
}
