//! Each source over the one before, values as the key's type wants them, errors that name their source.

use dynamo_node::config::{Config, load};
use proptest::prelude::*;
use serde_yaml::Value;

use super::{FILE, flag, keys, load_with, value_of, variable};

/// Looks like something else than a text to YAML.
const ODD_TEXTS: [&str; 16] =
    ["7", "007", "0x1F", "1e3", "-1", ".inf", "true", "no", "null", "~", "# x", "{a", "- b", "\"q\"", "c: d", " e "];

#[test]
fn a_text_key_takes_any_text_from_every_source() {
    for text in ODD_TEXTS {
        let quoted = in_quotes(text);
        let file = format!(
            "cluster: {{members: [{{name: {quoted}, zone: {quoted}, address: \"a:1\"}}], replication: 1}}\ntls: {{mode: plaintext}}"
        );
        let texts = ["cluster.name", "cluster.secret", "node.name", "node.zone", "node.data_dir"];
        let variables = texts.map(|key| (variable(key), text.to_owned()));
        let flags = texts.map(|key| flag(key, text));
        let from_variables = load(Some(("node.yaml", &file)), variables, &[]).unwrap();
        let from_flags = load(Some(("node.yaml", &file)), [], &flags).unwrap();
        assert_eq!(from_variables, from_flags);
        for key in texts {
            assert_eq!(value_of(&from_flags, key), Value::String(text.to_owned()), "{key}");
        }
    }
}

/// In double quotes, as YAML and JSON have it.
fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\\\""))
}

#[test]
fn every_key_can_be_given_by_variable_and_by_flag() {
    for (key, default) in keys() {
        let text = match &default {
            Value::Null if key == "tls.mode" => "plaintext".to_owned(),
            Value::Null => "a:1".to_owned(),
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Sequence(_) => "[]".to_owned(),
            other => panic!("{key} is {other:?}"),
        };
        // The whole need not make a node; but no source is blamed.
        for problems in [load(None, [(variable(&key), text.clone())], &[]), load(None, [], &[flag(&key, &text)])] {
            for problem in problems.unwrap_err().problems {
                let required = ["node.name: ", "cluster.members: ", "tls.mode: say tls"];
                assert!(required.iter().any(|key| problem.starts_with(key)), "{key}={text}: {problem}");
            }
        }
    }
}

#[test]
fn a_text_key_takes_digits_from_the_file_without_quotes() {
    let file = "cluster: {name: 1, secret: 0x10, members: [{name: 7, zone: true, address: \"a:1\"}], replication: 1}";
    let flags = [flag("node.name", "7"), flag("node.zone", "true"), flag("tls.mode", "plaintext")];
    let config = load(Some(("node.yaml", file)), [], &flags).unwrap();
    assert_eq!((config.cluster.name.as_str(), config.cluster.secret.as_deref()), ("1", Some("0x10")));
    let members = flag("cluster.members", "[{name: 7, zone: a, address: \"a:1\"}]");
    let error = load(None, [], &[members]).unwrap_err().to_string();
    assert!(error.contains("--set cluster.members: ") && error.contains("put it in quotes"), "{error}");
}

#[test]
fn what_is_no_number_in_bounds_is_answered_with_the_bounds() {
    for text in ["x", "-1", "1.5", "1000", "", "[3]"] {
        let error = load_with(&[], &[("cluster.replication", text)]).unwrap_err().to_string();
        assert!(error.contains("expected a whole number from 1 to 16"), "{text}: {error}");
    }
    let error = load(Some(("node.yaml", "cluster:\n  replication: x\n")), [], &[]).unwrap_err().to_string();
    assert!(error.ends_with("string \"x\", expected a whole number from 1 to 16 at line 2 column 16"), "{error}");
}

#[test]
fn an_empty_variable_leaves_an_optional_key_out_and_line_ends_are_dropped() {
    let secret = variable("cluster.secret");
    assert_eq!(load_with(&[(&secret, "")], &[]).unwrap().cluster.secret, None);
    assert_eq!(load_with(&[(&secret, "x\r\n")], &[]).unwrap().cluster.secret.as_deref(), Some("x"));
    assert_eq!(load_with(&[(&variable("node.advertise_client"), "")], &[]).unwrap().node.advertise_client, None);
    assert!(load_with(&[(&variable("storage.cache_mib"), "")], &[]).is_err());
    let error = load_with(&[(&secret, "\n")], &[]).unwrap_err().to_string();
    assert!(error.contains("cluster.secret: is empty"), "{error}");
}

#[test]
fn lists_are_yaml_and_are_replaced_whole() {
    let config = load_with(&[(&variable("cluster.seeds"), "[x:1, y:2]")], &[]).unwrap();
    assert_eq!(config.cluster.seeds, ["x:1", "y:2"]);
    let members = "[{name: a, zone: q, address: \"a:1\"}]";
    let config = load_with(&[], &[("cluster.members", members), ("cluster.replication", "1")]).unwrap();
    assert_eq!((config.cluster.members.len(), config.cluster.members[0].zone.as_str()), (1, "q"));
    let error = load_with(&[], &[("cluster.seeds", "x:1,y:2")]).unwrap_err().to_string();
    assert!(error.contains("--set cluster.seeds: ") && error.contains("a list is written [a, b]"), "{error}");
}

#[test]
fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
    let file = |text: &str| load(Some(("node.yaml", text)), [], &[]).unwrap_err().to_string();
    for (text, says) in [
        ("cluster: {partitons: 8}", "line 1 column 11; did you mean `partitions`?"),
        ("strorage:\n  cache_mib: 1", "line 1 column 1; did you mean `storage`?"),
        ("node:\n  replication: 1", "line 2 column 3; did you mean `replication` in the section `cluster`?"),
        ("storage.durability: fsync", "did you mean `durability` in the section `storage`?"),
        ("cluster: {members: [{nmae: a}]}", "did you mean `name`?"),
        ("storage: {durability: fsnc}", "did you mean `fsync`?"),
        ("cluster: {colour: red}", "unknown field `colour`"),
    ] {
        let error = file(text);
        assert!(error.contains("node.yaml: ") && error.contains(says), "{error}");
    }
    for (name, says) in [
        ("DYNAMO_NODE__STORAGE_DURABILITY", "did you mean storage.durability?"),
        ("DYNAMO_NODE__LOG__LEVL", "did you mean log.level?"),
        ("DYNAMO_NODE__CLUSTER__MEMBERS__0__NAME", "did you mean cluster.members?"),
        ("DYNAMO_NODE__CLUSTER", "cluster is a section"),
        ("DYNAMO_NODE__", "there is no key \"\""),
    ] {
        let error = load_with(&[(name, "1")], &[]).unwrap_err().to_string();
        assert!(error.contains(&format!("environment variable {name}: ")) && error.contains(says), "{error}");
    }
    let error = load_with(&[], &[("node.client_listn", "1")]).unwrap_err().to_string();
    assert!(
        error.contains("--set node.client_listn: ") && error.contains("did you mean node.client_listen?"),
        "{error}"
    );
}

#[test]
fn a_wrong_value_is_told_with_its_source_and_all_of_them_at_once() {
    let variables = [(variable("limits.key_bytes"), "1"), (variable("node.peer_listen"), "nowhere")];
    let variables = variables.each_ref().map(|(name, value)| (name.as_str(), *value));
    let error = load_with(&variables, &[("log.level", "inof"), ("timeouts.request_ms", "18446744073709551615")]);
    let problems = error.unwrap_err().problems;
    let says = [
        "limits.key_bytes: 16 to 32000 (1 is from environment variable DYNAMO_NODE__LIMITS__KEY_BYTES)",
        "timeouts.request_ms: 10 to 86400000 (18446744073709551615 is from --set timeouts.request_ms)",
        "(\"nowhere\" is from environment variable DYNAMO_NODE__NODE__PEER_LISTEN)",
        "(\"inof\" is from --set log.level)",
    ];
    assert_eq!(problems.len(), 4, "{problems:?}");
    for says in says {
        assert!(problems.iter().any(|problem| problem.contains(says)), "{problems:?}");
    }
    let file = FILE.replace("cache_mib: 16", "interval_ms: 0");
    let error = load(Some(("node.yaml", &file)), [], &[]).unwrap_err();
    assert_eq!(error.problems, ["storage.interval_ms: 1 to 86400000 (0 is from node.yaml)"]);
}

#[test]
fn the_secret_is_shown_nowhere() {
    for error in [
        load_with(&[], &[("cluster.secrets", "hunter2")]).unwrap_err(),
        load_with(&[], &[("cluster.secret", "hunter2"), ("log.level", "loud")]).unwrap_err(),
        load(None, [(variable("cluster.secret"), "(hidden)".to_owned())], &[]).unwrap_err(),
    ] {
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let config = load_with(&[], &[("cluster.secret", "hunter2")]).unwrap();
    assert!(!config.to_yaml().contains("hunter2"));
    // What --print-config shows is no secret to start with.
    let error = load(Some(("printed.yaml", &config.to_yaml())), [], &[]).unwrap_err().to_string();
    assert!(
        error.contains("cluster.secret: is what --print-config shows") && error.contains("printed.yaml"),
        "{error}"
    );
}

#[test]
fn host_names_are_addresses_to_listen_on() {
    for address in ["localhost:7400", "node-1.shop:7400", "[::1]:7400", "127.0.0.1:0"] {
        assert_eq!(load_with(&[], &[("node.http_listen", address)]).unwrap().node.http_listen, address);
    }
    for address in ["localhost", ":7400", "7400", "a:b", "http://a:7400"] {
        let error = load_with(&[], &[("node.http_listen", address)]).unwrap_err().to_string();
        assert!(error.contains("node.http_listen: ") && error.contains("localhost:9400"), "{error}");
    }
}

/// Keys, and three values of each.
const VALUES: [(&str, [&str; 3]); 9] = [
    ("cluster.name", ["shop", "true", "7"]),
    ("cluster.secret", ["a", "null", "12"]),
    ("cluster.seeds", ["[a:1]", "[b:1, c:1]", "[]"]),
    ("node.data_dir", ["/a", "./b", "3"]),
    ("node.client_listen", ["localhost:1", "[::1]:2", "0.0.0.0:3"]),
    ("storage.cache_mib", ["0", "1", "4096"]),
    ("storage.durability", ["fsync", "interval", "one-fsync"]),
    ("log.level", ["warn", "off", "info,dynamo_node=debug"]),
    ("runtime.threads", ["0", "1", "8"]),
];

/// What such a text is for its key.
fn typed(key: &str, text: &str) -> Value {
    let is_yaml = ["cluster.seeds", "storage.cache_mib", "runtime.threads"].contains(&key);
    if is_yaml { serde_yaml::from_str(text).unwrap() } else { Value::String(text.to_owned()) }
}

type Given = Vec<(usize, usize)>;

fn given() -> impl Strategy<Value = Given> {
    proptest::collection::vec((0..VALUES.len(), 0..3_usize), 0..12)
}

fn picked((key, value): &(usize, usize)) -> (&'static str, &'static str) {
    (VALUES[*key].0, VALUES[*key].1[*value])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flags_win_over_variables_over_the_file_over_defaults(file in given(), env in given(), flags in given()) {
        let mut document: Value = serde_yaml::from_str(FILE).unwrap();
        let mut expected: Config = load(Some(("node.yaml", FILE)), [], &[]).unwrap();
        let mut expect = |key: &str, text: &str| {
            let (section, name) = key.split_once('.').unwrap();
            let mut value = serde_yaml::to_value(&expected).unwrap();
            value[section][name] = typed(key, text);
            expected = serde_yaml::from_value(value).unwrap();
        };
        for (key, text) in file.iter().map(picked) {
            let (section, name) = key.split_once('.').unwrap();
            document.as_mapping_mut().unwrap().entry(section.into()).or_insert_with(|| Value::Mapping(Default::default()))[name] = typed(key, text);
            expect(key, text);
        }
        // One variable has one value: the last.
        let variables: std::collections::BTreeMap<_, _> = env.iter().map(picked).collect();
        variables.iter().for_each(|(key, text)| expect(key, text));
        flags.iter().map(picked).for_each(|(key, text)| expect(key, text));

        let text = serde_yaml::to_string(&document).unwrap();
        let variables = variables.iter().map(|(key, text)| (variable(key), text.to_string()));
        let flags: Vec<_> = flags.iter().map(picked).map(|(key, text)| flag(key, text)).collect();
        prop_assert_eq!(load(Some(("node.yaml", &text)), variables, &flags).unwrap(), expected);
    }
}
