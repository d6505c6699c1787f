//! `dynamo-node prestop`: a node hands over before it is told to stop, and nobody notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use dynamo_client::{Client, Config, Put};

use crate::nodes::Nodes;

fn hints(nodes: &Nodes, name: &str) -> u64 {
    let status = nodes.json(&["status", "--endpoint", &nodes.endpoint(name)]).unwrap();
    status["nodes"].as_array().unwrap().iter().find(|row| row["id"] == name).unwrap()["hints"].as_u64().unwrap()
}

fn state(nodes: &Nodes, of: &str, by: &str) -> String {
    let status = nodes.json(&["status", "--endpoint", &nodes.endpoint(by)]).unwrap();
    let row = status["nodes"].as_array().unwrap().iter().find(|row| row["id"] == of).unwrap().clone();
    row["state"].as_str().unwrap().to_owned()
}

#[test]
fn hints_are_delivered_and_others_are_preferred_before_the_node_is_told_to_stop() {
    let nodes = Nodes::start(4);
    nodes.kill("node-3");
    (0..60).for_each(|number| drop(nodes.ok(&["put", &format!("key-{number}"), "v"])));
    let holder = ["node-1", "node-2", "node-4"].into_iter().find(|name| hints(&nodes, name) > 0).expect("a hint");
    nodes.restart("node-3");
    let output = nodes.run_beside(holder, &["prestop"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("0 hints are held still"), "{said}");
    assert_eq!(hints(&nodes, holder), 0);
    assert!(!nodes.is_ready(holder));
    for by in ["node-1", "node-2", "node-3", "node-4"] {
        nodes.until("all are told", || state(&nodes, holder, by) == "draining");
    }
    // It still answers who asks.
    assert_eq!(nodes.ok(&["get", "key-1", "--endpoint", &nodes.endpoint(holder)]).trim_end(), "v");
    let (ended, took) = nodes.terminate(holder);
    assert!(ended.success(), "{ended:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    nodes.restart(holder);
    nodes.until("it is one of them again", || state(&nodes, holder, "node-3") == "up");
}

#[test]
fn hints_for_who_is_down_are_not_waited_for_and_time_is_no_failure() {
    let nodes = Nodes::start(4);
    nodes.kill("node-3");
    (0..60).for_each(|number| drop(nodes.ok(&["put", &format!("key-{number}"), "v"])));
    let holder = ["node-1", "node-2", "node-4"].into_iter().find(|name| hints(&nodes, name) > 0).expect("a hint");
    let output = nodes.run_beside(holder, &["prestop", "--seconds", "600"]);
    assert!(output.status.success(), "{output:?}");
    assert!(hints(&nodes, holder) > 0);
    let output = nodes.run_beside(holder, &["prestop", "--seconds", "0"]);
    assert!(output.status.success(), "{output:?}");
    assert!(nodes.terminate(holder).0.success());
    // Nobody is there to be asked.
    let output = nodes.run_beside(holder, &["prestop"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("node.http_listen"), "{said}");
    // What it holds it delivers when it is back.
    nodes.restart("node-3");
    nodes.restart(holder);
    nodes.until_hints_drained();
}

#[test]
fn each_node_is_handed_over_and_restarted_in_turn_and_no_write_is_refused() {
    let nodes = Nodes::start(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (config, stop, written) = (Config::new(nodes.endpoints()), stop.clone(), written.clone());
            runtime.spawn(async move {
                let client = Client::connect(config).await.expect("the nodes are up");
                let mut failed = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("key-{writer}-{number}");
                    match client.put(Put::new("", key.clone(), "v")).await {
                        Ok(_) => written.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            failed.push(format!("{key}: {error}"));
                            0
                        }
                    };
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                failed
            })
        })
        .collect();
    for name in ["node-1", "node-2", "node-3", "node-4"] {
        assert!(nodes.run_beside(name, &["prestop"]).status.success());
        assert!(nodes.terminate(name).0.success());
        nodes.restart(name);
        nodes.until("it is up for the others", || {
            state(&nodes, name, if name == "node-1" { "node-2" } else { "node-1" }) == "up"
        });
    }
    stop.store(true, Ordering::Relaxed);
    let failed: Vec<String> = writers.into_iter().flat_map(|writer| runtime.block_on(writer).unwrap()).collect();
    let written = written.load(Ordering::Relaxed);
    assert!(failed.is_empty() && written > 200, "{} of {written} failed: {failed:?}", failed.len());
    nodes.until_hints_drained();
}
