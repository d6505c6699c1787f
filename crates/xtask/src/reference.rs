//! docs/DYNAMOCLUSTER.md: every key of the resource, and everything that is refused, from the definition itself.

use std::fmt::Write;

use dynamo_crd::rules;
use serde_json::Value;

const HEAD: &str = "\
<!-- Made by `cargo run -p xtask -- generate` from crates/crd: change that, not this. -->

# DynamoCluster

`dynamo-k8s.io/v1alpha1`, short `dc`. The same is in `kubectl explain dynamocluster.spec --recursive`. Every key has a
default: `spec: {}` is three nodes over the zones that there are. Whole examples are in
[manifests/examples](../manifests/examples).
";

/// Parts that are Kubernetes' own types: they are named and not listed key by key.
const KUBERNETES_TYPES: [&str; 5] = [
    "spec.resources",
    "spec.podTemplate.affinity",
    "spec.podTemplate.tolerations[]",
    "spec.podTemplate.imagePullSecrets[]",
    "status.conditions[]",
];

/// The page.
pub fn page(definition: &Value) -> String {
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut page = HEAD.to_owned();
    for (title, part) in [("What is wanted", "spec"), ("What is", "status")] {
        write!(page, "\n## {title}: `{part}`\n\n| key | | default | meaning |\n| --- | --- | --- | --- |\n").unwrap();
        rows(part, part, &schema["properties"][part], &mut page);
    }
    page += "\n## What is refused\n\nBeside wrong types and values out of bounds. Nothing is changed when something is refused.\n\n";
    page += "| at | when | what it says |\n| --- | --- | --- |\n";
    for check in rules::ALL {
        let when = if check.transition { "changed" } else { "set" };
        let at =
            if check.field.is_empty() { String::new() } else { format!("`{}`", check.field.trim_start_matches('.')) };
        writeln!(page, "| {at} | {when} | {} |", cell(check.message)).unwrap();
    }
    page
}

/// A row for each key below a schema, those of its parts after it.
fn rows(part: &str, path: &str, schema: &Value, page: &mut String) {
    if KUBERNETES_TYPES.contains(&path) {
        return;
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let shown = path.trim_start_matches(part).trim_start_matches('.');
        let meaning = cell(property["description"].as_str().unwrap_or_default());
        writeln!(page, "| `{shown}` | {} | {} | {meaning} |", kind(property), default(property)).unwrap();
        rows(part, &path, property, page);
        rows(part, &format!("{path}[]"), &property["items"], page);
    }
}

/// Type and bounds, in few words.
fn kind(schema: &Value) -> String {
    let number = |key: &str| schema[key].as_f64();
    match schema["type"].as_str().unwrap_or_default() {
        "integer" => match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            _ => "number".to_owned(),
        },
        "boolean" => "true or false".to_owned(),
        "string" => match schema["enum"].as_array() {
            Some(words) => {
                let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
                words.join(", ")
            }
            None if schema["format"] == "date-time" => "time".to_owned(),
            None => "text".to_owned(),
        },
        "array" => match schema["maxItems"].as_u64() {
            Some(most) => format!("up to {most}"),
            None => "list".to_owned(),
        },
        _ => String::new(),
    }
}

/// The default, where it is one value: a part's is that of its keys.
fn default(schema: &Value) -> String {
    match &schema["default"] {
        Value::Null | Value::Object(_) | Value::Array(_) => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_every_rule_has_its_row() {
        let page = page(&dynamo_crd::definition_yaml_value());
        for row in
            ["| `replicas` | 1 to 1000 | `3` |", "| `zones[].weight` | 1 to 1000 | `1` |", "| `durability` | `fsync`,"]
        {
            assert!(page.contains(row), "{row}");
        }
        assert!(
            !page.contains("nodeAffinity") && !page.contains("lastTransitionTime"),
            "types of Kubernetes are listed"
        );
        for check in rules::ALL {
            assert!(page.contains(check.message), "{}", check.name);
        }
        assert!(
            page.lines().filter(|line| line.starts_with("| `")).all(|row| row.matches(" | ").count() >= 2),
            "{page}"
        );
    }
}
