//! All keys by name, and which of them somebody meant who wrote another.

use serde_yaml::Value;

use super::Config;

/// Longer words are no misspelt key, and comparing them costs the square of their length.
const WORD_MAX: usize = 64;

/// Every `section.key` with its default, in the order of the structures.
pub(super) fn all() -> Vec<(String, Value)> {
    let Ok(Value::Mapping(sections)) = serde_yaml::to_value(Config::default()) else {
        unreachable!("the configuration is sections of keys");
    };
    let mut all = Vec::new();
    for (section, keys) in sections {
        let (Value::String(section), Value::Mapping(keys)) = (section, keys) else {
            unreachable!("the configuration is sections of keys");
        };
        all.extend(keys.into_iter().filter_map(|(key, value)| Some((format!("{section}.{}", key.as_str()?), value))));
    }
    all
}

/// The section and the key's name in it, of a key that there is.
///
/// # Errors
/// What is wrong with it otherwise, and which one was probably meant.
pub(super) fn split(key: &str) -> Result<(&str, &str), String> {
    let all: Vec<String> = all().into_iter().map(|(key, _)| key).collect();
    match key.split_once('.') {
        Some((section, name)) if all.iter().any(|known| known == key) => Ok((section, name)),
        None if all.iter().any(|known| known.split_once('.').is_some_and(|(section, _)| section == key)) => {
            Err(format!("{key} is a section: set one of its keys, section.key"))
        }
        _ => {
            let parent = all
                .iter()
                .find(|known| key.strip_prefix(known.as_str()).is_some_and(|rest| rest.starts_with(['.', '['])));
            let meant = parent.cloned().or_else(|| nearest(key, &all)).or_else(|| of_another_section(key, &all));
            Err(match meant {
                Some(meant) => format!("there is no key {key:?}; did you mean {meant}?"),
                None => format!("there is no key {key:?}; docs/CONFIGURATION.md has them all"),
            })
        }
    }
}

/// What was probably meant, when the parser's error is about an unknown word and lists the known ones.
pub(super) fn hint(error: &str) -> Option<String> {
    let (_, after) = ["unknown field `", "unknown variant `"].iter().find_map(|start| error.split_once(start))?;
    let (word, expected) = after.split_once('`')?;
    let known: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    if let Some(meant) = nearest(word, &known) {
        return Some(format!("did you mean `{meant}`?"));
    }
    let all: Vec<String> = all().into_iter().map(|(key, _)| key).collect();
    let meant = all.iter().find(|key| *key == word).cloned().or_else(|| of_another_section(word, &all))?;
    let (section, name) = meant.split_once('.')?;
    Some(format!("did you mean `{name}` in the section `{section}`?"))
}

/// The known word that differs least, if it differs by no more than a slip of the fingers.
pub(super) fn nearest(word: &str, known: &[String]) -> Option<String> {
    if word.len() > WORD_MAX {
        return None;
    }
    let word = word.to_lowercase();
    let distances = known.iter().map(|known| (strsim::osa_distance(&word, known), known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + nearest.len().min(word.len()) / 5).then(|| nearest.clone())
}

/// A key that is there, only elsewhere: `node.replication` is `cluster.replication`.
fn of_another_section(key: &str, all: &[String]) -> Option<String> {
    let name = key.rsplit('.').next()?;
    all.iter().find(|known| known.split_once('.').is_some_and(|(_, known)| known == name)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known: Vec<String> = ["durability", "engine", "interval_ms"].map(str::to_owned).into();
        assert_eq!(nearest("durabilty", &known).as_deref(), Some("durability"));
        assert_eq!(nearest("Engine", &known).as_deref(), Some("engine"));
        assert_eq!(nearest("intreval_ms", &known).as_deref(), Some("interval_ms"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest(&"durability".repeat(10_000), &known), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn keys_are_found_where_they_are_and_where_they_were_sought() {
        assert_eq!(split("storage.durability"), Ok(("storage", "durability")));
        for (sought, says) in [
            ("storage_durability", "did you mean storage.durability?"),
            ("storage.durabilty", "did you mean storage.durability?"),
            ("node.replication", "did you mean cluster.replication?"),
            ("partitions", "did you mean cluster.partitions?"),
            ("cluster.members.0.name", "did you mean cluster.members?"),
            ("cluster.members[0].name", "did you mean cluster.members?"),
            ("storage", "is a section"),
            ("colour", "there is no key \"colour\"; docs"),
            ("", "there is no key \"\""),
        ] {
            let error = split(sought).unwrap_err();
            assert!(error.contains(says), "{sought}: {error}");
        }
    }
}
