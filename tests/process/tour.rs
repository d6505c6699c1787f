//! What the README's tour shows, with what a program sees of it: exit codes, JSON, siblings, carts.

use crate::cluster::Cluster;

#[test]
fn values_are_put_read_superseded_and_deleted() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    let context = cluster.ok(&["put", "k", "one"]);
    assert_eq!(cluster.ok(&["get", "k"]).trim_end(), "one");
    cluster.ok(&["put", "k", "two", "--context", context.trim()]);
    let found = cluster.json(&["get", "k"]);
    assert_eq!((found["key"].as_str(), found["values"][0].as_str()), (Some("k"), Some("two")));
    assert_eq!(found["values"].as_array().unwrap().len(), 1);

    let binary = cluster.run_with(&["put", "bytes"], Some(&[0xff, 0, 0x80]));
    assert!(binary.status.success());
    assert_eq!(cluster.json(&["get", "bytes"])["values"][0]["base64"], "/wCA");

    cluster.ok(&["delete", "k"]);
    assert_eq!(cluster.run(&["get", "k"]).status.code(), Some(1));
    assert_eq!(cluster.run(&["delete", "k"]).status.code(), Some(1));
}

#[test]
fn concurrent_writes_become_siblings_and_a_context_merges_them() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    cluster.ok(&["put", "k", "a"]);
    cluster.ok(&["put", "k", "b"]);
    let found = cluster.json(&["get", "k"]);
    let mut values: Vec<_> = found["values"].as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, ["a", "b"]);
    cluster.ok(&["put", "k", "a+b", "--context", found["context"].as_str().unwrap()]);
    assert_eq!(cluster.json(&["get", "k"])["values"].as_array().unwrap().len(), 1);

    cluster.ok(&["bucket", "create", "latest", "--mode", "last-write-wins"]);
    cluster.ok(&["put", "k", "a", "--bucket", "latest"]);
    cluster.ok(&["put", "k", "b", "--bucket", "latest"]);
    assert_eq!(cluster.ok(&["get", "k", "--bucket", "latest"]).trim_end(), "b");
}

#[test]
fn the_cart_stays_writable_while_nodes_are_down_and_no_item_is_lost() {
    let cluster = Cluster::start(5, &["--zones", "3"]);
    cluster.ok(&["cart", "add", "alice", "book"]);
    cluster.kill("node-1");
    cluster.ok(&["cart", "add", "alice", "pen"]);
    cluster.kill("node-3");
    cluster.ok(&["cart", "add", "alice", "lamp"]);
    cluster.restart("node-1");
    cluster.restart("node-3");
    let shown = cluster.ok(&["cart", "show", "alice"]);
    assert!(["book", "pen", "lamp"].iter().all(|item| shown.contains(item)), "{shown}");
}

#[test]
fn a_strict_bucket_says_at_once_when_its_homes_are_down_and_a_sloppy_one_goes_on() {
    let cluster = Cluster::start(5, &["--zones", "3"]);
    cluster.ok(&["bucket", "create", "strict", "--strict", "-r", "3", "-w", "3"]);
    cluster.kill("node-4");
    cluster.kill("node-5");
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    let codes: Vec<_> =
        keys.iter().map(|key| cluster.run(&["put", key, "v", "--bucket", "strict"]).status.code()).collect();
    assert!(codes.contains(&Some(3)) && codes.iter().all(|code| matches!(code, Some(0 | 3))), "{codes:?}");
    for key in &keys {
        cluster.ok(&["put", key, "v", "-w", "3"]);
    }
}

#[test]
fn the_same_folder_again_has_the_same_data() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    cluster.ok(&["put", "k", "kept"]);
    for node in ["node-1", "node-2", "node-3"] {
        cluster.kill(node);
    }
    for node in ["node-1", "node-2", "node-3"] {
        cluster.restart(node);
    }
    assert_eq!(cluster.ok(&["get", "k"]).trim_end(), "kept");
}
