//! Changes of the ring (§4.9) under load, with nodes that die, lose their disks and move meanwhile; and changes that are
//! refused.
//!
//! 40 clients add elements to shared sets, and read them, in a strict and in a sloppy bucket (the model of riak_kv issue
//! 1754). What they saw and were told is held against [`history`]. `DYNAMO_TEST_SECONDS` makes minutes or hours of the test
//! that goes on as long as it is let.

mod addresses;
mod history;
pub mod load;
mod members;
mod refused;
mod ring;
mod under_way;
