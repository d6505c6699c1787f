//! Whatever the sources hold, loading ends with a configuration or an error; and what was loaded can be written.

use dynamo_node::config::{Config, ConfigError, Setting, load};
use proptest::prelude::*;

use super::{FILE, flag, keys, variable};

/// Errors are for people: never empty, and from the file with line and column.
fn is_told(outcome: Result<Config, ConfigError>) {
    let Err(error) = outcome else { return };
    assert!(!error.problems.is_empty());
    assert!(error.problems.iter().all(|problem| problem.len() > 10), "{error}");
}

fn has_line_and_column(problem: &str) -> bool {
    let after = problem.split(" line ").skip(1);
    after.into_iter().any(|rest| {
        let mut words = rest.split([' ', ';', ',']);
        let number = |word: Option<&str>| word.is_some_and(|word| word.parse::<usize>().is_ok());
        number(words.next()) && words.next() == Some("column") && number(words.next())
    })
}

#[test]
fn arbitrary_text_in_any_source_never_panics() {
    let keys = keys();
    bolero::check!().with_iterations(1_500).for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (key, _) = &keys[bytes.first().copied().unwrap_or_default() as usize % keys.len()];
        is_told(load(Some(("node.yaml", &text)), [], &[]));
        is_told(load(Some(("node.yaml", FILE)), [(variable(key), text.clone())], &[]));
        is_told(load(Some(("node.yaml", FILE)), [(format!("DYNAMO_NODE__{text}"), "1".to_owned())], &[]));
        is_told(load(Some(("node.yaml", FILE)), [], &[flag(key, &text)]));
        is_told(Setting::from_flag(&text).and_then(|setting| load(None, [], &[setting])));
    });
}

#[test]
fn a_half_written_file_is_told_with_line_and_column() {
    let mut refused = 0;
    for (end, _) in FILE.char_indices() {
        let flags = [flag("node.name", "a")];
        let Err(error) = load(Some(("node.yaml", &FILE[..end])), [], &flags) else { continue };
        for problem in error.problems.iter().filter(|problem| problem.starts_with("node.yaml: ")) {
            assert!(has_line_and_column(problem), "after {end} bytes: {problem}");
            refused += 1;
        }
    }
    assert!(refused > FILE.len() / 4, "{refused}");
}

#[test]
fn nesting_without_end_and_aliases_that_explode_are_errors() {
    let deep = format!("cluster: {}", "[".repeat(2_000));
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (one, next) in ('a'..'i').zip('b'..='i') {
        let many = format!("*{one},").repeat(9);
        laughs.push_str(&format!("{next}: &{next} [{many}]\n"));
    }
    for text in [&deep, &laughs, "--- {}\n--- {}\n", "\u{feff}cluster: {}", "\0", "&a *a", "!x {}", "- 1", "text"] {
        is_told(load(Some(("node.yaml", text)), [], &[]));
        is_told(load(None, [], &[flag("cluster.seeds", text), flag("cluster.members", text)]));
        is_told(load(None, [], &[flag("storage.cache_mib", text)]));
    }
}

#[test]
fn a_file_of_nothing_or_of_empty_sections_is_the_defaults() {
    for text in ["", "\n", "# nothing\n", "---\n", "cluster:\nlog:\n", "{}", "cluster: {}\r\n"] {
        let error = load(Some(("node.yaml", text)), [], &[]).unwrap_err();
        assert_eq!(error.problems, load(None, [], &[]).unwrap_err().problems, "{text:?}");
    }
    let flags = [flag("cluster.members", "[{name: a, zone: z, address: \"a:1\"}]"), flag("node.name", "a")];
    let sections = "cluster:\nnode:\ntls: {mode: plaintext}\n";
    assert!(load(Some(("node.yaml", sections)), [], &flags).is_ok());
}

#[derive(Debug, Clone)]
enum Damage {
    Delete(usize),
    Insert(usize, char),
    Replace(usize, char),
    Cut(usize),
    Double(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0..FILE.len();
    let letter = || {
        prop_oneof![
            3 => proptest::sample::select("{}[]:,-#&*!|>'\"%@` \n\t0~<".chars().collect::<Vec<_>>()),
            1 => any::<char>(),
        ]
    };
    prop_oneof![
        at().prop_map(Damage::Delete),
        (at(), letter()).prop_map(|(at, letter)| Damage::Insert(at, letter)),
        (at(), letter()).prop_map(|(at, letter)| Damage::Replace(at, letter)),
        at().prop_map(Damage::Cut),
        (at(), at()).prop_map(|(from, to)| Damage::Double(from.min(to), from.max(to))),
    ]
}

fn damaged(damages: &[Damage]) -> String {
    let mut text: Vec<char> = FILE.chars().collect();
    for damage in damages {
        let last = text.len().saturating_sub(1);
        match *damage {
            Damage::Delete(at) if at <= last && !text.is_empty() => drop(text.remove(at)),
            Damage::Insert(at, letter) => text.insert(at.min(text.len()), letter),
            Damage::Replace(at, letter) if at < text.len() => text[at] = letter,
            Damage::Cut(at) => text.truncate(at),
            Damage::Double(from, to) if to < text.len() => text.extend_from_within(from..to),
            _ => {}
        }
    }
    text.into_iter().collect()
}

/// Numbers that depend on no other key.
fn numbers() -> Vec<(&'static str, u64, u64)> {
    let bound_together =
        ["cluster.partitions", "cluster.replication", "node.weight", "limits.message_bytes", "timeouts.replica_ms"];
    let numbers = Config::default().numbers().into_iter().filter(|(key, ..)| !bound_together.contains(key));
    numbers
        .filter(|(key, ..)| !["limits.value_bytes", "timeouts.request_ms"].contains(key))
        .map(|(key, _, bounds)| (key, *bounds.start(), *bounds.end()))
        .collect()
}

fn settings() -> impl Strategy<Value = Vec<Setting>> {
    let numbers = numbers();
    let number = (0..numbers.len(), any::<u64>()).prop_map(move |(index, value)| {
        let (key, least, most) = numbers[index];
        flag(key, &(least + value % (most - least + 1)).to_string())
    });
    // Control characters, quotes, line ends within, other scripts: all are text.
    let text = || prop_oneof![any::<String>(), "[ -~]{1,20}", "[\\x00-\\x7f\\u{80}-\\u{a0}\\u{2028}\\u{feff}]{1,8}"];
    let some_text = (proptest::sample::select(vec!["cluster.secret", "node.data_dir"]), text())
        .prop_filter("empty is refused, and line ends after a value are dropped", |(_, text)| {
            !text.is_empty() && !text.ends_with(['\r', '\n'])
        })
        .prop_map(|(key, text)| flag(key, &text));
    proptest::collection::vec(prop_oneof![number, some_text], 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_never_panics(damages in proptest::collection::vec(damage(), 1..6)) {
        is_told(load(Some(("node.yaml", &damaged(&damages))), [], &[]));
    }

    #[test]
    fn what_was_loaded_and_written_loads_the_same(settings in settings(), name in any::<String>()) {
        let mut loaded = load(Some(("node.yaml", FILE)), [], &settings).unwrap();
        if (1..=253).contains(&name.len()) && name != "a" {
            loaded.cluster.members[1].zone = name.clone();
            loaded.cluster.members[1].name = name;
        }
        let secret = flag("cluster.secret", loaded.cluster.secret.as_deref().unwrap());
        let again = load(Some(("written.yaml", &loaded.to_yaml())), [], &[secret]);
        prop_assert_eq!(again, Ok(loaded));
    }
}
