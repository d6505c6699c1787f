//! What in the charts is made from the resource's definition: the definition as a template, so that `helm upgrade` upgrades it, and
//! the schema of the values of a chart whose values are the resource's keys.

use dynamo_crd::sorted;
use serde_json::{Map, Value, json};

const HEAD: &str = "{{- /* Made by `cargo run -p xtask -- generate` from crates/crd: change that, not this. */ -}}\n";

/// The definition as a template of charts/dynamo-operator. What is in a chart's crds/ folder is installed once and never upgraded; what
/// is a template goes with the release, and every resource with it, unless it is marked to stay.
pub fn definition_template(definition: &Value) -> String {
    let mut definition = definition.clone();
    definition["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
    let text = serde_yaml::to_string(&definition).expect("plain data can be written");
    // Two braces would be a template's.
    let text = text.replace("{{", "{{ \"{{\" }}");
    format!("{HEAD}{{{{- if .Values.crds.install }}}}\n{text}{{{{- end }}}}\n")
}

/// values.schema.json of charts/dynamo-cluster: keys of the resource's spec, and those of the chart.
pub fn cluster_values(definition: &Value) -> String {
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut values = plain(&schema["properties"]["spec"]);
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let own = [
        ("global", json!({"type": "object"})),
        ("nameOverride", json!({"type": "string", "maxLength": 28, "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$"})),
        ("labels", texts.clone()),
        ("annotations", texts),
    ];
    for (key, schema) in own {
        let taken = values["properties"].as_object_mut().expect("properties").insert(key.to_owned(), schema);
        assert!(taken.is_none(), "{key} is a key of the chart and of the spec");
    }
    values["$schema"] = json!("https://json-schema.org/draft-07/schema#");
    values["title"] = json!("Values of dynamo-cluster");
    let text = serde_json::to_string_pretty(&sorted(values)).expect("plain data can be written");
    format!("{text}\n")
}

/// A schema of Kubernetes' as one of JSON alone, in which a key that is not known is refused: the API server would drop it
/// without a word.
fn plain(schema: &Value) -> Value {
    let mut kept = Map::new();
    for key in [
        "type",
        "description",
        "enum",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
    ] {
        if let Some(value) = schema.get(key) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    if schema["x-kubernetes-int-or-string"] == true {
        kept.remove("type");
        kept.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if let Some(properties) = schema["properties"].as_object() {
        let properties: Map<_, _> = properties.iter().map(|(key, value)| (key.clone(), plain(value))).collect();
        kept.insert("properties".to_owned(), Value::Object(properties));
        kept.insert("additionalProperties".to_owned(), json!(false));
    } else if schema["additionalProperties"].is_object() {
        kept.insert("additionalProperties".to_owned(), plain(&schema["additionalProperties"]));
    }
    for key in ["required", "maxProperties"] {
        if let Some(value) = schema.get(key) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    if schema["items"].is_object() {
        kept.insert("items".to_owned(), plain(&schema["items"]));
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use dynamo_crd::GROUP;

    use super::*;

    #[test]
    fn the_definition_stays_when_its_chart_goes() {
        let template = definition_template(&dynamo_crd::definition_yaml_value());
        assert!(template.contains("helm.sh/resource-policy: keep"));
        assert!(template.contains(&format!("name: dynamoclusters.{GROUP}")));
        let body: Vec<&str> = template.lines().filter(|line| !line.starts_with("{{-")).collect();
        assert!(
            body.iter().all(|line| !line.contains("{{")),
            "a rule has two braces: see that helm leaves them as they are"
        );
        let read: serde_yaml::Value = serde_yaml::from_str(&body.join("\n")).unwrap();
        assert_eq!(read["kind"], "CustomResourceDefinition");
    }

    #[test]
    fn values_are_the_keys_of_the_spec_and_no_others() {
        let schema: Value = serde_json::from_str(&cluster_values(&dynamo_crd::definition_yaml_value())).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        for key in ["replicas", "zones", "storage", "podTemplate", "nameOverride"] {
            assert!(properties.contains_key(key), "{key}");
        }
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["storage"]["additionalProperties"], false);
        assert_eq!(schema["properties"]["replicas"]["maximum"], 1000.0);
        let quantity = &schema["properties"]["resources"]["properties"]["limits"]["additionalProperties"];
        assert_eq!(quantity["type"], json!(["integer", "string"]));
    }
}
