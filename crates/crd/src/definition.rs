//! The custom resource definition, as it is installed.
//!
//! What `kube` derives is right but for what only the API server minds; that is mended here, in the one place through which
//! the definition is got ([`DynamoCluster::crd`](kube::CustomResourceExt::crd) gives it unmended).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::{DynamoCluster, DynamoClusterSpec};

/// Formats of whole numbers that Kubernetes does not know and warns of. The bounds beside them say the same.
const UNKNOWN_FORMATS: [&str; 9] = ["uint8", "uint16", "uint32", "uint64", "uint", "int8", "int16", "int", "double"];

/// The definition.
pub fn definition() -> CustomResourceDefinition {
    serde_json::from_value(definition_yaml_value()).expect("a definition that was mended is one")
}

/// The definition as a document with its keys in alphabetical order, whichever way this build's JSON maps go: it is
/// compared with what is kept in the repository.
pub fn definition_yaml_value() -> Value {
    let mut document = serde_json::to_value(DynamoCluster::crd()).expect("a definition can be written");
    for version in document["spec"]["versions"].as_array_mut().expect("versions") {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        mend(schema);
        let properties = schema["properties"].as_object_mut().expect("properties");
        // An empty spec is fine, so none at all is. The default is written out, since the API server holds it against
        // the rules before it fills in what it leaves out.
        properties["spec"]["default"] = json!(DynamoClusterSpec::default());
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|name| name != "spec");
        }
        drop_empty(schema, "required");
    }
    sorted(document)
}

/// Takes out what Kubernetes does not know or would do otherwise than meant, everywhere in a schema.
fn mend(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if is_schema(object) {
                // `null` then means that the key is not given, instead of a value that rules stumble over.
                object.remove("nullable");
                // A Rust type's name says nothing to a user.
                object.remove("title");
                if object.get("format").and_then(Value::as_str).is_some_and(|format| UNKNOWN_FORMATS.contains(&format))
                {
                    object.remove("format");
                }
            }
            object.values_mut().for_each(mend);
        }
        Value::Array(values) => values.iter_mut().for_each(mend),
        _ => {}
    }
}

/// Whether this is a schema, rather than a map of properties by their names (of which one may be `nullable`).
fn is_schema(object: &Map<String, Value>) -> bool {
    object.get("type").is_some_and(Value::is_string) || object.contains_key("x-kubernetes-int-or-string")
}

fn drop_empty(schema: &mut Value, key: &str) {
    if schema.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
        schema.as_object_mut().expect("a schema").remove(key);
    }
}

/// The same with the keys of all its maps in alphabetical order, so that it is written the same each time.
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    /// Each schema of the definition with its path.
    fn schemas() -> Vec<(String, Value)> {
        fn walk(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
            found.push((path.to_owned(), schema.clone()));
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                walk(&format!("{path}.{name}"), property, found);
            }
            for part in ["items", "additionalProperties"] {
                if schema[part].is_object() {
                    walk(&format!("{path}[]"), &schema[part], found);
                }
            }
        }
        let document = definition_yaml_value();
        let mut found = vec![];
        walk("", &document["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
        assert!(found.len() > 100, "the definition was not understood");
        found
    }

    /// Whether this is a part of ours, rather than a type of Kubernetes' own.
    fn is_ours(path: &str) -> bool {
        const THEIRS: [&str; 5] = [
            ".spec.resources.",
            ".spec.podTemplate.affinity.",
            ".spec.podTemplate.tolerations[]",
            ".spec.podTemplate.imagePullSecrets[]",
            ".status.conditions[]",
        ];
        !THEIRS.iter().any(|theirs| path.starts_with(theirs))
    }

    #[test]
    fn every_rule_stands_somewhere_in_the_definition() {
        let there = definition_yaml_value().to_string();
        for check in rules::ALL {
            let message = serde_json::to_string(check.message).unwrap();
            assert!(there.contains(&message), "{} is checked nowhere", check.name);
        }
        let count = there.matches("\"messageExpression\"").count() + there.matches("\"rule\":").count();
        // One stands in two places.
        assert_eq!(count, rules::ALL.len() + 1, "a rule stands in the definition and not in rules::ALL");
    }

    #[test]
    fn everything_is_described_and_has_a_type() {
        for (path, schema) in schemas().into_iter().filter(|(path, _)| is_ours(path)) {
            let is_item = path.ends_with("[]");
            assert!(is_item || schema["description"].as_str().is_some_and(|text| text.len() > 8), "{path}");
            assert!(schema["type"].is_string(), "{path} has no type");
        }
    }

    #[test]
    fn nothing_stands_in_it_that_kubernetes_does_not_know() {
        for (path, schema) in schemas() {
            for unknown in ["nullable", "anyOf", "oneOf", "const", "$ref", "title", "uniqueItems"] {
                assert!(schema.get(unknown).is_none() || !is_ours(&path), "{path} has {unknown}");
            }
            let format = schema["format"].as_str().unwrap_or("int32");
            assert!(["int32", "int64", "date-time"].contains(&format), "{path} has the format {format}");
        }
    }

    #[test]
    fn nothing_is_called_what_yaml_reads_as_something_else() {
        // Kubernetes reads YAML 1.1: unquoted, these are no texts, not even as keys.
        const TAKEN: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"];
        for (path, schema) in schemas() {
            let keys = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            for name in keys.chain(words).filter(|_| is_ours(&path)) {
                assert!(!TAKEN.contains(&name.to_lowercase().as_str()), "{path}: {name}");
            }
        }
    }

    #[test]
    fn every_list_and_map_of_ours_and_every_text_of_the_spec_has_a_bound() {
        for (path, schema) in schemas().into_iter().filter(|(path, _)| is_ours(path)) {
            if schema["type"] == "array" {
                assert!(schema["maxItems"].is_u64(), "{path} has no bound");
            }
            if schema["additionalProperties"].is_object() {
                assert!(schema["maxProperties"].is_u64(), "{path} has no bound");
            }
            let is_text = schema["type"] == "string" && schema["enum"].is_null() && schema["format"].is_null();
            if is_text && path.starts_with(".spec.") && !path.ends_with("[]") {
                assert!(schema["maxLength"].is_u64(), "{path} has no bound");
            }
            if schema["type"] == "integer" && path.starts_with(".spec.") {
                assert!(schema["minimum"].is_number() && schema["maximum"].is_number(), "{path} has no bounds");
            }
        }
    }

    #[test]
    fn lists_of_objects_are_maps_by_a_name() {
        for (path, schema) in schemas().into_iter().filter(|(path, _)| is_ours(path)) {
            if schema["type"] != "array" || schema["items"]["type"] != "object" {
                continue;
            }
            // Their order counts and nobody else writes them; or they are Kubernetes' own.
            let as_a_whole =
                [".status.plan.steps", ".spec.podTemplate.tolerations", ".spec.podTemplate.imagePullSecrets"];
            if as_a_whole.contains(&path.as_str()) {
                continue;
            }
            assert_eq!(schema["x-kubernetes-list-type"], "map", "{path}");
            for key in schema["x-kubernetes-list-map-keys"].as_array().expect("keys") {
                let required = schema["items"]["required"].as_array().expect("required keys");
                assert!(required.contains(key), "{path}: {key} may be left out");
            }
        }
    }

    #[test]
    fn what_is_compared_with_before_is_always_there() {
        let defaults = serde_json::to_value(DynamoClusterSpec::default()).unwrap();
        for part in ["replicas", "replication", "partitions", "durability", "storage", "tls"] {
            let path = format!(".spec.{part}");
            let (_, schema) = schemas().into_iter().find(|(found, _)| *found == path).unwrap();
            assert_eq!(schema["default"], defaults[part], "{path}");
        }
    }
}
