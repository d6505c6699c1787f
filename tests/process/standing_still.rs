//! A process that stood still for a while (a paused machine, a debugger, a long swap) and goes on.

use std::time::{Duration, Instant};

use dynamo_client::{Client, Config, Put, Routing};

use crate::nodes::Nodes;

/// Longer than connections live whose other end says nothing: at the end that stands still they are all found broken.
const STANDS: Duration = Duration::from_secs(45);

#[test]
fn who_stood_still_refuses_nothing_when_it_goes_on() {
    let nodes = Nodes::start(3);
    nodes.signal("node-3", "STOP");
    std::thread::sleep(STANDS);
    nodes.signal("node-3", "CONT");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { routing: Routing::Server, ..Config::new(vec![nodes.endpoint("node-3")]) };
    let failed = runtime.block_on(async {
        let client = Client::connect(config).await.expect("it goes on");
        let (began, mut failed) = (Instant::now(), Vec::new());
        for number in 0.. {
            if began.elapsed() > Duration::from_secs(2) {
                break;
            }
            if let Err(error) = client.put(Put::new("", format!("key-{number}"), "v")).await {
                failed.push(format!("after {:?}: {error}", began.elapsed()));
            }
        }
        failed
    });
    assert!(failed.is_empty(), "{}: {:?}", failed.len(), failed.first());
    nodes.until_hints_drained();
}
