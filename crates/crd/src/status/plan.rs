//! What the operator does next, and what it waits for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The steps that lead from what is to what is wanted. Empty: there is nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// In the order in which they are taken, the first 32 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub steps: Vec<PlannedStep>,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedStep {
    /// What is done, such as "join shop-a-1, shop-b-1".
    #[schemars(length(max = 512))]
    pub what: String,
    /// `UnderWay`, `Blocked` (waitsFor says by what) or `Later`.
    pub state: StepState,
    /// What it waits for, a sentence each, up to 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 512)))]
    pub waits_for: Vec<String>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepState {
    /// It is being taken.
    UnderWay,
    /// It would be next, and must wait.
    Blocked,
    /// Steps before it are not done.
    Later,
}
