//! What a node answers to whoever administers the ring: the change that edits make or why they can't be made, the ring as it
//! is, and what a node that is to go still has.

mod cluster;
mod edits;
mod planned;
mod receipts;
mod view;
