//! The client against nodes that do as they are told: answer, refuse, keep silent, talk rubbish, die and come back.

mod admin;
mod endpoints;
mod many;
mod refusals;
mod ring;
mod ring_changes;
mod routing;
mod sessions;
mod sizes;
mod support;
mod timeouts;
mod updates;
mod writes;
