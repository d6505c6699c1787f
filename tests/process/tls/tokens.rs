//! Bearer tokens: what each opens, and how one is replaced by another.

use std::time::Duration;

use dynamo_client::{Client, Config};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{
    pki::{Authority, Pki},
    problem_of, refused,
};
use crate::nodes::Nodes;

const CLIENT: &str = "client-token-0123456789";
const NEXT: &str = "next-client-token-0123456789";
const ADMIN: &str = "admin-token-0123456789";
const READER: &str = "reader-token-0123456789";
const METRICS: &str = "metrics-token-0123456789";

/// The Secret as it is at first, with this in place of the clients' tokens.
fn secret(clients: &str) -> [(&'static str, String); 4] {
    [
        ("client", clients.to_owned()),
        ("admin.operator", format!("# the operator\n{ADMIN}\n")),
        ("metrics.prometheus", METRICS.to_owned()),
        ("read.dashboard", READER.to_owned()),
    ]
}

fn mount(pki: &Pki, files: &[(&str, String)]) -> std::path::PathBuf {
    pki.mount("tokens", &files.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>())
}

#[test]
fn each_token_opens_what_it_is_for() {
    let authority = Authority::new("ours");
    let pki = Pki::new(3, &authority);
    let settings = pki.settings(&json!({ "client_auth": "token", "tokens_dir": mount(&pki, &secret(CLIENT)) }));
    let nodes = Nodes::start_for(3, &settings, Some(pki.caller("boss")));
    let run = |token: Option<&str>, args: &[&str]| nodes.run_as(Some(&pki.bearer(token)), args);

    assert!(run(Some(CLIENT), &["put", "k", "v"]).status.success());
    refused(&run(None, &["get", "k"]), 2, "you have not shown who you are");
    refused(&run(Some("wrong-token-0123456789"), &["get", "k"]), 2, "not known here");
    refused(&run(Some(&CLIENT[..CLIENT.len() - 1]), &["get", "k"]), 2, "not known here");
    refused(&run(Some(METRICS), &["get", "k"]), 2, "not enough");
    refused(&run(Some(CLIENT), &["bucket", "create", "b"]), 2, "not enough");
    refused(
        &run(Some(CLIENT), &["ring", "apply", "--leave", "node-3", "--allow-fewer-than-n", "--yes"]),
        2,
        "not enough",
    );
    assert!(run(Some(ADMIN), &["bucket", "create", "b"]).status.success());
    assert!(run(Some(CLIENT), &["status"]).status.success());
    assert!(nodes.run(&["bucket", "create", "c"]).status.success(), "a certificate is as good");

    // Who reads does not write, over whatever calls.
    assert_eq!(run(Some(READER), &["get", "k"]).stdout, b"v\n");
    assert!(run(Some(READER), &["status"]).status.success());
    refused(&run(Some(READER), &["put", "k", "w"]), 2, "not enough");
    refused(&run(Some(READER), &["delete", "k"]), 2, "not enough");
    refused(&run(Some(READER), &["bucket", "create", "d"]), 2, "not enough");
    assert_eq!(nodes.ok(&["get", "k"]).trim_end(), "v");
}

#[test]
fn a_token_is_followed_by_another_and_one_that_is_taken_back_opens_nothing() {
    let authority = Authority::new("ours");
    let pki = Pki::new(3, &authority);
    let settings = pki.settings(&json!({ "client_auth": "token", "tokens_dir": mount(&pki, &secret(CLIENT)) }));
    let nodes = Nodes::start_for(3, &settings, Some(pki.caller("boss")));
    let run = |token: &str, args: &[&str]| nodes.run_as(Some(&pki.bearer(Some(token))), args);
    assert!(run(CLIENT, &["put", "k", "v"]).status.success());

    // A session lasts: what it was opened with has to hold for each request.
    let runtime = Runtime::new().unwrap();
    let tls = Some(pki.bearer(Some(CLIENT)));
    let config = Config { tls, timeout: Duration::from_secs(3), ..nodes.client_config() };
    let session = runtime.block_on(Client::connect(config)).unwrap();
    let read = || runtime.block_on(session.get("default", "k", None));
    assert_eq!(read().unwrap().values, ["v"]);

    // The next one is taken before the last one is dropped.
    mount(&pki, &secret(&format!("{CLIENT}\n{NEXT}\n")));
    nodes.until("the next token is taken", || run(NEXT, &["get", "k"]).status.success());
    assert!(run(CLIENT, &["get", "k"]).status.success() && read().is_ok());
    mount(&pki, &secret(NEXT));
    nodes.until("the last token is dropped", || run(CLIENT, &["get", "k"]).status.code() == Some(2));
    assert_eq!(run(NEXT, &["get", "k"]).stdout, b"v\n");
    nodes.until("the session has ended", || read().is_err());

    // Files that can't be used change nothing, and are told without what is in them.
    mount(&pki, &secret("hunter2"));
    nodes.until("it is told", || nodes.log("node-1").contains("could be guessed"));
    nodes.until("its status says so", || problem_of(&nodes, "node-1").is_some_and(|it| it.contains("be guessed")));
    assert!(!nodes.log("node-1").contains("hunter2"));
    assert_eq!(run(NEXT, &["get", "k"]).stdout, b"v\n");
    mount(&pki, &[("clients", CLIENT.to_owned())]);
    nodes.until("that is told", || nodes.log("node-1").contains("says no right"));
    assert_eq!(run(NEXT, &["get", "k"]).stdout, b"v\n");
    // A file that is gone has taken its tokens with it.
    mount(&pki, &secret(NEXT)[1..]);
    nodes.until("no client is known", || run(NEXT, &["get", "k"]).status.code() == Some(2));
    assert_eq!(run(READER, &["get", "k"]).stdout, b"v\n");
    nodes.until("all is well", || problem_of(&nodes, "node-1").is_some_and(|problem| problem.is_empty()));
}

#[test]
fn who_needs_nothing_reads_and_writes_and_still_changes_nothing_else() {
    let authority = Authority::new("ours");
    let pki = Pki::new(3, &authority);
    let settings = pki.settings(&json!({ "client_auth": "none" }));
    let nodes = Nodes::start_for(3, &settings, Some(pki.caller("boss")));
    let open = |args: &[&str]| nodes.run_as(Some(&pki.bearer(None)), args);
    assert!(open(&["put", "k", "v"]).status.success());
    assert_eq!(open(&["get", "k"]).stdout, b"v\n");
    refused(&open(&["bucket", "create", "b"]), 2, "not enough");
    refused(&open(&["ring", "apply", "--leave", "node-3", "--allow-fewer-than-n", "--yes"]), 2, "not enough");
    nodes.ok(&["bucket", "create", "b"]);
}
