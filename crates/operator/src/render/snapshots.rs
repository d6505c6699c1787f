//! Whole clusters as they are rendered, kept in tests/rendered/ so that a change of any object is seen by who reviews it.
//! `DYNAMO_RENDER=1 cargo test -p dynamo-operator snapshots` writes them anew.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use serde_json::{Map, Value};

use super::samples;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rendered"))
}

/// The same with the keys of all maps in alphabetical order, whichever way this build's JSON maps go.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[test]
fn clusters_are_rendered_as_they_are_kept() {
    let write = env::var("DYNAMO_RENDER").is_ok_and(|value| value == "1");
    let mut names = BTreeSet::new();
    for (name, sample) in samples::all() {
        let documents = sample.all().into_iter().map(|object| serde_yaml::to_string(&sorted(object)).unwrap());
        let text = documents.collect::<Vec<_>>().join("---\n");
        let file = folder().join(format!("{name}.yaml"));
        names.insert(file.clone());
        if write {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&file, &text).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let differs = text.lines().zip(kept.lines()).position(|(new, old)| new != old);
        assert!(
            kept == text,
            "{} is not as {name} is rendered now (first at line {}): look at the difference that DYNAMO_RENDER=1 makes",
            file.display(),
            differs.map_or(kept.lines().count().min(text.lines().count()), |line| line) + 1,
        );
    }
    let kept: BTreeSet<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(kept, names, "a file that nothing renders is kept");
}
