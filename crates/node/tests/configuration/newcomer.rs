//! A node that `cluster.members` does not name: what it has to say of itself.

use dynamo_node::config::Config;

use super::load_with;

/// All that a node needs to join those of FILE.
const NEWCOMER: [(&str, &str); 4] = [
    ("node.name", "e"),
    ("node.zone", "z"),
    ("node.advertise_peer", "e.shop:8400"),
    ("node.advertise_client", "e.shop:7400"),
];

fn newcomer(change: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let kept = NEWCOMER.iter().filter(|(key, _)| !change.iter().any(|(changed, _)| changed == key));
    let flags: Vec<_> = kept.chain(change).copied().collect();
    load_with(&[], &flags).map_err(|error| error.problems)
}

#[test]
fn a_newcomer_is_what_its_own_keys_say() {
    let config = newcomer(&[("node.weight", "3")]).unwrap();
    assert!(config.me().is_none());
    let this = config.this_node();
    assert_eq!((this.name.as_str(), this.zone.as_str(), this.weight), ("e", "z", 3));
    assert_eq!((this.address.as_str(), this.client_address.as_str()), ("e.shop:8400", "e.shop:7400"));
    assert_eq!(newcomer(&[]).unwrap().this_node().weight, 1);
    assert_eq!(config.first_ring().unwrap().members().len(), 2, "the first ring is the founders'");
}

#[test]
fn a_newcomer_is_where_it_listens_unless_that_is_everywhere() {
    let listens = [
        ("node.advertise_peer", ""),
        ("node.peer_listen", "10.0.0.5:8400"),
        ("node.advertise_client", ""),
        ("node.client_listen", "e.shop:7400"),
    ];
    let this = newcomer(&listens).unwrap().this_node();
    assert_eq!((this.address.as_str(), this.client_address.as_str()), ("10.0.0.5:8400", "e.shop:7400"));
    for (key, listen_key, listen) in [
        ("node.advertise_peer", "node.peer_listen", "0.0.0.0:8400"),
        ("node.advertise_peer", "node.peer_listen", "127.0.0.1:0"),
        ("node.advertise_client", "node.client_listen", "[::]:7400"),
    ] {
        let problems = newcomer(&[(key, ""), (listen_key, listen)]).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(problem.starts_with(&format!("{key}: ")) && problem.contains(listen), "{problem}");
    }
}

#[test]
fn each_thing_that_a_newcomer_lacks_is_named() {
    for (key, value, says) in [
        ("node.zone", "", "say which zone"),
        ("cluster.seeds", "[]", "say where some of them are"),
        ("node.weight", "0", "1 to 1000000"),
    ] {
        let problems = newcomer(&[(key, value)]).unwrap_err();
        let [problem] = problems.as_slice() else { panic!("{problems:?}") };
        assert!(problem.starts_with(&format!("{key}: ")) && problem.contains(says), "{problem}");
    }
}

#[test]
fn a_misspelt_name_is_answered_with_the_members() {
    let problems = load_with(&[], &[("node.name", "A"), ("cluster.seeds", "[]")]).unwrap_err().problems;
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.starts_with("node.name: ") && problem.contains("no member \"A\"; they are a, b."), "{problem}");
    assert!(problem.contains("node.zone and cluster.seeds"), "{problem}");
}

#[test]
fn a_founder_is_what_the_list_says_and_no_other() {
    let this = load_with(&[], &[]).unwrap().this_node();
    assert_eq!((this.zone.as_str(), this.weight, this.address.as_str()), ("x", 2, "a.shop:8400"));
    assert!(load_with(&[], &[("node.weight", "2"), ("node.zone", "x")]).is_ok());
    for (key, value) in [("node.weight", "3"), ("node.zone", "y")] {
        let problems = load_with(&[], &[(key, value)]).unwrap_err().problems;
        assert!(problems[0].starts_with(key) && problems[0].contains("leave the key out"), "{problems:?}");
    }
    let moved = load_with(&[], &[("node.advertise_peer", "moved:8400")]).unwrap();
    assert_eq!(moved.this_node().address, "moved:8400");
}
