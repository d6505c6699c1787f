//! `docs/CONFIGURATION.md` has every key as it is, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_node::config::{Config, MemberConfig, load};
use serde_yaml::Value;

use super::{flag, keys, variable};

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFIGURATION.md")).unwrap()
}

/// The cells of the table rows that begin with a word in backquotes, by that word.
fn rows(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")) {
        let mut cells = line.split(" | ").map(|cell| cell.trim().to_owned());
        let key = cells.next().unwrap().trim_end_matches('`').to_owned();
        assert!(rows.insert(key.clone(), cells.collect()).is_none(), "{key} is there twice");
    }
    rows
}

/// A default as the page has it.
fn shown(value: &Value, required: bool) -> String {
    match value {
        _ if required => "(required)".to_owned(),
        Value::Null => "(none)".to_owned(),
        Value::String(text) if text.is_empty() => "(empty)".to_owned(),
        Value::Sequence(list) if list.is_empty() => "`[]`".to_owned(),
        value => format!("`{}`", serde_yaml::to_string(value).unwrap().trim().trim_matches('\'')),
    }
}

#[test]
fn every_key_is_there_with_its_variable_default_and_bounds_and_no_other() {
    let page = page();
    let keys_begin = page.split_once("\n## Keys\n").unwrap().1;
    let (tables, _) = keys_begin.split_once("### A member of").unwrap();
    let mut rows = rows(tables);
    let problems = Config::default().check().unwrap_err().problems;
    let bounds: BTreeMap<_, _> =
        Config::default().numbers().into_iter().map(|(key, _, bounds)| (key, bounds)).collect();
    for (key, default) in keys() {
        let cells = rows.remove(&key).unwrap_or_else(|| panic!("docs/CONFIGURATION.md lacks {key}"));
        let required = problems.iter().any(|problem| problem.starts_with(&format!("{key}:")));
        let bounds = bounds.get(key.as_str()).map(|bounds| format!("{} to {}", bounds.start(), bounds.end()));
        let [name, written, unit, range, meaning] = cells.as_slice() else { panic!("{key}: {cells:?}") };
        assert_eq!(*name, format!("`{}`", variable(&key)), "{key}");
        assert_eq!(*written, shown(&default, required), "{key}");
        assert_eq!(*range, bounds.unwrap_or_default(), "{key}");
        assert_eq!(unit.is_empty(), !default.is_number(), "{key} has the unit {unit:?}");
        assert!(meaning.len() > 10, "{key}: {meaning:?}");
    }
    assert!(rows.is_empty(), "docs/CONFIGURATION.md has keys that there are not: {:?}", rows.keys());
}

#[test]
fn every_key_of_a_member_is_there_and_no_other() {
    let page = page();
    let (_, table) = page.split_once("### A member of").unwrap();
    let mut rows = rows(table);
    let member = "{name: a, zone: z, address: \"a:1\"}";
    let defaults: MemberConfig = serde_yaml::from_str(member).unwrap();
    let Value::Mapping(keys) = serde_yaml::to_value(defaults).unwrap() else { panic!("no mapping") };
    for (key, default) in keys {
        let key = key.as_str().unwrap();
        let cells = rows.remove(key).unwrap_or_else(|| panic!("docs/CONFIGURATION.md lacks {key} of a member"));
        assert_eq!(cells[0], shown(&default, member.contains(&format!("{key}:"))), "{key}");
    }
    assert!(rows.is_empty(), "docs/CONFIGURATION.md has keys of members that there are not: {:?}", rows.keys());
}

#[test]
fn no_key_or_variable_is_spoken_of_that_there_is_not() {
    let page = page();
    let known: BTreeSet<String> = keys().into_iter().map(|(key, _)| key).collect();
    let sections: BTreeSet<&str> = known.iter().map(|key| key.split_once('.').unwrap().0).collect();
    let variables: BTreeSet<String> = known.iter().map(|key| variable(key)).collect();
    let word = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '.');
    for word in page.split(word).map(|word| word.trim_matches('.')) {
        if word.starts_with("DYNAMO_NODE__") && word != "DYNAMO_NODE__SECTION__KEY" {
            assert!(variables.contains(word), "{word}");
        }
        if let Some((section, _)) = word.split_once('.').filter(|(section, _)| sections.contains(section)) {
            // `node.yaml` is a file.
            assert!(known.contains(word) || word == "node.yaml", "{section}: {word}");
        }
    }
}

#[test]
fn the_examples_are_configurations() {
    let page = page();
    let examples: Vec<&str> = page.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(examples.len(), 2);
    for (example, name) in examples.iter().flat_map(|example| [(example, "node-1"), (example, "node-3")]) {
        let members = flag(
            "cluster.members",
            "[{name: node-1, zone: a, address: \"a:1\"}, {name: node-3, zone: b, address: \"b:1\"}, {name: c, zone: c, address: \"c:1\"}]",
        );
        let flags = [
            vec![flag("node.name", name), flag("tls.mode", "plaintext")],
            if example.contains("members") { vec![] } else { vec![members] },
        ];
        load(Some(("example", example)), [], &flags.concat()).unwrap();
    }
}
