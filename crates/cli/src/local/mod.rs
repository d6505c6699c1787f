//! A whole cluster on loopback: every node a process of its own, so that one can be killed with `kill -9`.
//!
//! [`settings`] is what a directory was made with, [`roster`] which nodes it has, [`layout`] where its files are and which
//! ports its nodes have, [`node_process`] one node's process, [`supervisor`] all of them, [`control`] how `restart-node` and
//! the like reach the supervisor, [`requests`] what it does for them, [`probe`] whether a node is ready, [`authority`] who signs
//! their certificates with `--tls`.

pub mod authority;
pub mod control;
pub mod layout;
pub mod node_process;
pub mod probe;
mod requests;
pub mod roster;
pub mod settings;
pub mod supervisor;
