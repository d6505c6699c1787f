//! All nodes stop and come back at other addresses, as pods do whose addresses are given anew: nothing but seeds says where
//! anybody is, and what the founders' files say of each other is wrong for ever.

use super::load::Load;
use crate::nodes::{Nodes, zone};

#[test]
fn all_addresses_change_at_once() {
    let nodes = Nodes::start(5);
    let load = Load::begin(&nodes);
    nodes.add("node-6", &zone(6));
    nodes.change_to(&["node-1", "node-2", "node-3", "node-4", "node-5", "node-6"]);
    // Clients were given addresses; they are gone.
    let history = load.stop();
    nodes.move_all();
    let load = Load::go_on_with(&nodes, history);
    nodes.until_settled();
    nodes.change_to(&["node-2", "node-3", "node-4", "node-5", "node-6"]);
    nodes.until_may_be_switched_off("node-1");
    nodes.kill("node-1");
    load.end(&nodes);
}
