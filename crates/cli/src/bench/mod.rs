//! The load generator behind `dynamo bench`.

pub mod report;
pub mod run;
pub mod workload;
