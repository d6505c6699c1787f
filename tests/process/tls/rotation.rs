//! Certificates and the authority that signs them are replaced while clients are at work: phase by phase, each begun when all
//! nodes say that they have loaded what the last one brought.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    fails,
    pki::{self, Authority, Life, Pki},
};
use crate::{nodes::Nodes, ring_changes::load::Load};

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub certificate: String,
    pub signed_by: String,
    pub trusted: Vec<String>,
}

/// What each node says of itself; nothing while one of them is silent, or can't be asked.
pub fn said(nodes: &Nodes) -> Option<BTreeMap<String, Said>> {
    let status = nodes.json(&["status"])?;
    let rows = status["nodes"].as_array().unwrap();
    let of = |row: &serde_json::Value| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        let trusted = row["trusted"].as_array().unwrap().iter();
        let trusted = trusted.map(|authority| authority.as_str().unwrap().to_owned()).collect();
        let said = Said { certificate: text("certificate"), signed_by: text("certificate_signed_by"), trusted };
        // What gossip carried is older.
        (row["live"] == true).then(|| (text("id"), said))
    };
    rows.iter().map(of).collect()
}

/// The same, once all can be asked.
pub fn all_say(nodes: &Nodes) -> BTreeMap<String, Said> {
    let mut all = BTreeMap::new();
    nodes.until("all say what they show", || {
        all = said(nodes).unwrap_or_default();
        all.len() == nodes.running().len() && all.values().all(|said| !said.certificate.is_empty())
    });
    all
}

/// Waits until all say of all that this holds.
pub fn until_said(nodes: &Nodes, what: &str, holds: impl Fn(&Said) -> bool) {
    nodes.until(what, || said(nodes).is_some_and(|said| said.values().all(&holds)));
}

#[test]
fn certificates_and_their_authority_are_replaced_under_load_and_nothing_fails() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let pki = Pki::new(3, &old);
    let nodes = Nodes::start_for(3, &pki.settings(&json!({})), Some(pki.caller("boss")));
    let before: BTreeSet<String> = all_say(&nodes).into_values().map(|said| said.certificate).collect();
    assert_eq!(before.len(), 3);
    let load = Load::begin(&nodes);

    pki.renew(3, &old);
    until_said(&nodes, "other certificates", |said| !before.contains(&said.certificate));
    load.go_on(200);

    pki.trust(&[&old, &new]);
    until_said(&nodes, "both are trusted", |said| said.trusted.len() == 2 && said.signed_by == old.fingerprint);
    load.go_on(200);
    pki.renew(3, &new);
    until_said(&nodes, "the new one has signed", |said| said.signed_by == new.fingerprint);
    load.go_on(200);
    pki.trust(&[&new]);
    until_said(&nodes, "the new one alone is trusted", |said| said.trusted == [new.fingerprint.clone()]);
    load.go_on(200);
    assert!(load.failed().is_empty(), "{:?}", load.failed());

    // Connections that were made before live on; those that are made now are the new authority's.
    nodes.kill("node-2");
    nodes.restart("node-2");
    load.go_on(100);
    load.end(&nodes);
    pki.give("past", old.sign(&pki::admin(), Life::Now));
    fails(&nodes.run_as(Some(&pki.caller("past")), &["status"]));
    nodes.ok(&["status"]);
}
