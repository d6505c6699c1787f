//! Real clusters of real processes, as a person starts them with `dynamo local`, and what people do to them.
//!
//! Each cluster has a folder and ports of its own and is stopped with the test, also when it fails.

mod alone;
mod bad_input;
mod cluster;
mod full_disk;
mod handing_over;
mod http;
mod limits;
mod no_home_left;
mod nodes;
mod old_disks;
mod packages;
mod power_cut;
mod retired;
mod ring_changes;
mod rubbish;
mod sets;
mod strangers;
mod tls;
mod tour;
mod view;
