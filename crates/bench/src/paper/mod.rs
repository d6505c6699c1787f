//! What the paper's own experiments need beyond the load; `commands::paper` runs them.
//!
//! Pure models, which start nothing and know no clock: [`strategies`] the three ways to partition (§6.2), [`imbalance`] how many nodes are out of balance (§6.2), [`popularity`] keys that are
//! asked for unevenly. Beside them [`editors`], clients that make versions (§6.3), and [`published`], the paper's numbers.

pub mod editors;
pub mod imbalance;
pub mod popularity;
pub mod published;
pub mod strategies;
