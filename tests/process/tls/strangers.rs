//! Who has no business here: plaintext, other authorities, certificates that have expired or are another's.

use std::sync::Arc;

use dynamo_client::CallerFiles;
use dynamo_node::gossip_wire;
use dynamo_ring::NodeId;
use dynamo_tls::{Connector, Dial, Files, Material, Name, Role, client};
use dynamo_wire::v1::{GossipEnvelope, gossip_client::GossipClient};
use serde_json::json;
use tonic::{Code, Status, transport::Endpoint};

use super::{
    fails,
    pki::{self, Authority, CLUSTER, Life, Pki, node},
    problem_of, refused,
    rotation::{all_say, said},
};
use crate::{http, nodes::Nodes};

fn get(address: &str, path: &str) -> String {
    http::get(address, path).unwrap()
}

#[test]
fn only_health_answers_those_who_show_nothing() {
    let authority = Authority::new("ours");
    let pki = Pki::new(3, &authority);
    let nodes = Nodes::start_for(3, &pki.settings(&json!({})), Some(pki.caller("boss")));
    nodes.ok(&["put", "k", "v"]);

    fails(&nodes.run_as(None, &["get", "k"]));
    fails(&nodes.run_as(Some(&pki.bearer(None)), &["get", "k"]));
    fails(&nodes.run_as(Some(&pki.bearer(Some("a-token-that-nobody-knows"))), &["get", "k"]));
    refused(&nodes.run_as(None, &["get", "k", "--endpoint", "https://127.0.0.1:1"]), 2, "--tls-ca");

    let other = Authority::new("theirs");
    pki.give("theirs", other.sign(&pki::client(), Life::Now));
    fails(&nodes.run_as(Some(&pki.caller("theirs")), &["get", "k"]));
    pki.give("late", authority.sign(&pki::client(), Life::Past));
    fails(&nodes.run_as(Some(&pki.caller("late")), &["get", "k"]));
    pki.give("elsewhere", authority.sign(&Name::new("elsewhere", Role::Admin, "boss"), Life::Now));
    refused(&nodes.run_as(Some(&pki.caller("elsewhere")), &["get", "k"]), 2, "not known here");

    // Who trusts somebody else does not speak with these nodes.
    let trust = pki.write("theirs.pem", &other.pem);
    let strict = CallerFiles { trust, ..pki.caller("boss") };
    refused(&nodes.run_as(Some(&strict), &["get", "k"]), 2, "not trusted here");
    let renamed = CallerFiles { server_name: Some("node-1.shop".into()), ..pki.caller("boss") };
    refused(&nodes.run_as(Some(&renamed), &["get", "k"]), 2, "another host");
    let renamed = CallerFiles { server_name: Some("localhost".into()), ..pki.caller("boss") };
    assert!(nodes.run_as(Some(&renamed), &["get", "k"]).status.success());

    pki.give("shop", authority.sign(&pki::client(), Life::Now));
    assert_eq!(nodes.run_as(Some(&pki.caller("shop")), &["get", "k"]).stdout, b"v\n");
    refused(&nodes.run_as(Some(&pki.caller("shop")), &["bucket", "create", "b"]), 2, "not enough");
    nodes.ok(&["bucket", "create", "b"]);

    let http = nodes.http_address("node-1");
    assert!(get(&http, "/healthz").starts_with("HTTP/1.1 200") && get(&http, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(&http, "/metrics").starts_with("HTTP/1.1 403"));
    for address in [nodes.endpoint("node-1"), nodes.peer_address("node-1")] {
        assert!(!get(&address, "/metrics").starts_with("HTTP"), "{address} answers plaintext");
    }
    assert_eq!(nodes.ok(&["get", "k"]).trim_end(), "v");
}

/// Says something to a peer's port, in some node's name, with a certificate.
async fn tell(nodes: &Nodes, pki: &Pki, certificate: &str, says: &str) -> Result<(), Status> {
    let (certificate, key) = pki.caller(certificate).certificate.unwrap();
    let material = Material::load(&Files { certificate, key, trust: pki.path("trust") }).unwrap();
    let config = Arc::new(client::of_node(&material).unwrap());
    let connector = Connector::new(move || Ok(config.clone()), Dial::Node(Arc::new(|_: &[Name]| Ok(()))));
    let endpoint = Endpoint::from_shared(format!("http://{}", nodes.peer_address("node-1"))).unwrap();
    let channel = endpoint.connect_with_connector(connector).await.map_err(|error| Status::from_error(error.into()))?;
    let envelope = GossipEnvelope {
        cluster: CLUSTER.to_owned(),
        from: gossip_wire::id_to_wire(NodeId::initial(CLUSTER, says)),
        from_address: nodes.peer_address(says),
        ..GossipEnvelope::default()
    };
    GossipClient::new(channel).tell(envelope).await.map(drop)
}

#[test]
fn a_node_speaks_for_itself_and_nobody_else_for_it() {
    let authority = Authority::new("ours");
    let pki = Pki::new(3, &authority);
    pki.give("shop", authority.sign(&pki::client(), Life::Now));
    let nodes = Nodes::start_for(3, &pki.settings(&json!({})), Some(pki.caller("boss")));
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        tell(&nodes, &pki, "node-2", "node-2").await.unwrap();
        let refused = tell(&nodes, &pki, "node-3", "node-2").await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("node-3"), "{refused}");
        // An administrator is no node, nor is a client.
        for who in ["boss", "shop"] {
            tell(&nodes, &pki, who, "node-2").await.unwrap_err();
        }
    });
    nodes.ok(&["put", "k", "v"]);

    // Given another's certificate, a node does not start, and says which one it needs.
    nodes.kill("node-3");
    pki.give("node-3", authority.sign(&node("node-2"), Life::Now));
    let log = nodes.refuses_to_start("node-3");
    assert!(log.contains("it needs the URI dynamo:/ours/node/node-3"), "{log}");
    pki.give("node-3", authority.sign(&node("*"), Life::Now));
    nodes.restart("node-3");
    nodes.until_settled();
}

#[test]
fn a_node_whose_certificate_has_expired_is_out_until_it_has_another_and_needs_no_restart() {
    let authority = Authority::new("ours");
    let pki = Pki::new(3, &authority);
    let nodes = Nodes::start_for(3, &pki.settings(&json!({})), Some(pki.caller("boss")));
    nodes.kill("node-3");
    pki.give("node-3", authority.sign(&node("node-3"), Life::Past));
    nodes.restart("node-3");
    let state = |name: &str| {
        let status = nodes.json(&["status", "--endpoint", &nodes.endpoint("node-1")])?;
        let rows = status["nodes"].as_array().unwrap();
        rows.iter().find(|row| row["id"] == name).map(|row| row["state"].as_str().unwrap().to_owned())
    };
    nodes.until("node-3 is out", || state("node-3").as_deref() == Some("down"));
    nodes.ok(&["put", "k", "v", "--endpoint", &nodes.endpoint("node-1")]);
    assert!(nodes.log("node-3").contains("has expired"), "it says so itself");
    // What can't be used is told, and changes nothing.
    pki.write("node-3/key", "rubbish");
    nodes.until("it is told", || nodes.log("node-3").contains("can't be used"));
    pki.give("node-3", authority.sign(&node("node-3"), Life::Now));
    nodes.until("node-3 is back", || state("node-3").as_deref() == Some("up"));
    nodes.until_hints_drained();
    nodes.until_settled();
}

#[test]
fn a_good_certificate_is_not_given_up_for_one_that_nobody_takes() {
    let authority = Authority::new("ours");
    let pki = Pki::new(3, &authority);
    let nodes = Nodes::start_for(3, &pki.settings(&json!({})), Some(pki.caller("boss")));
    let before = all_say(&nodes);
    pki.give("node-2", authority.sign(&node("node-2"), Life::Past));
    nodes.until("it is told", || problem_of(&nodes, "node-2").is_some_and(|problem| problem.contains("has expired")));
    pki.give("node-3", authority.sign(&node("node-2"), Life::Now));
    let needs = "it needs the URI dynamo:/ours/node/node-3";
    nodes.until("that, too", || problem_of(&nodes, "node-3").is_some_and(|problem| problem.contains(needs)));
    nodes.ok(&["put", "k", "v"]);
    nodes.until("all show what they showed", || said(&nodes).is_some_and(|now| now == before));
    pki.renew(3, &authority);
    let is_well = |name| problem_of(&nodes, name).is_some_and(|problem: String| problem.is_empty());
    nodes.until("all is well", || is_well("node-2") && is_well("node-3"));
    nodes.until("others are shown", || said(&nodes).is_some_and(|now| now["node-2"] != before["node-2"]));
}

#[test]
fn a_certificate_that_ends_while_the_node_runs_is_told_and_followed_by_another() {
    let authority = Authority::new("ours");
    let pki = Pki::new(3, &authority);
    let nodes = Nodes::start_for(3, &pki.settings(&json!({})), Some(pki.caller("boss")));
    nodes.ok(&["put", "k", "v"]);
    pki.give("node-3", authority.sign(&node("node-3"), Life::Seconds(20)));
    nodes.until("it has ended", || nodes.log("node-3").contains("has expired, and nobody takes it"));
    // The rest goes on, and whoever connects is told why that one is not taken.
    nodes.ok(&["put", "k", "w", "--endpoint", &nodes.endpoint("node-1")]);
    refused(&nodes.run(&["get", "k", "--endpoint", &nodes.endpoint("node-3")]), 2, "has expired");
    pki.give("node-3", authority.sign(&node("node-3"), Life::Now));
    nodes.until("it is back", || nodes.run(&["get", "k", "--endpoint", &nodes.endpoint("node-3")]).status.success());
    nodes.until("all is well", || problem_of(&nodes, "node-3").is_some_and(|problem| problem.is_empty()));
    nodes.until_hints_drained();
    nodes.until_settled();
}
