//! What the paper's own experiments need beyond the load: pure models, which start nothing and know no clock. `commands::paper` runs
//! the experiments.
//!
//! [`strategies`] the three ways to partition (§6.2), [`imbalance`] how many nodes are out of balance (§6.2), [`popularity`] keys that are
//! asked for unevenly, [`published`] the paper's numbers, which ours stand beside.

pub mod imbalance;
pub mod popularity;
pub mod published;
pub mod strategies;
