//! Whether an object has all that was rendered. What the API server fills in is no difference, nor what others set beside.

use serde_json::Value;

use crate::render::Kind;

/// How two lists or maps are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// Somebody may have added to it.
    Within,
    /// It is one value to the API server: what somebody added to it, they changed.
    Whole,
    /// A list of which each entry is told from the others by these keys.
    ByKeys(&'static [&'static str]),
}

/// The rule for what stands at a path, as the API server's schema has it.
fn rule(kind: Kind, path: &str) -> Rule {
    match (kind, path) {
        (_, "metadata.ownerReferences") => Rule::ByKeys(&["uid"]),
        (Kind::Service, "spec.ports") => Rule::ByKeys(&["port", "protocol"]),
        (Kind::Service, "spec.selector") => Rule::Whole,
        // Who may reach what is never a matter of containing: an entry more lets somebody in.
        (Kind::NetworkPolicy, "spec.podSelector" | "spec.ingress" | "spec.egress" | "spec.policyTypes") => Rule::Whole,
        (Kind::ServiceMonitor, "spec.selector") => Rule::Whole,
        _ => Rule::Within,
    }
}

/// Whether the object that is there has all that was rendered.
pub fn contained(kind: Kind, rendered: &Value, found: &Value) -> bool {
    difference(kind, rendered, found).is_none()
}

/// Where the object that is there first lacks something that was rendered.
pub fn difference(kind: Kind, rendered: &Value, found: &Value) -> Option<String> {
    at(kind, "", rendered, found)
}

fn at(kind: Kind, path: &str, rendered: &Value, found: &Value) -> Option<String> {
    // Where nothing was asked for, what is there is somebody else's. And entries of a list do not say what they are.
    if is_nothing(rendered) || ["apiVersion", "kind"].contains(&path) {
        return None;
    }
    let here = |same: bool| (!same).then(|| path.to_owned());
    let entry_path = format!("{path}[]");
    match (rendered, found, rule(kind, path)) {
        (rendered, found, Rule::Whole) => here(is_same(rendered, found)),
        (Value::Object(rendered), Value::Object(found), _) => rendered.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            at(kind, &path, value, found.get(key).unwrap_or(&Value::Null))
        }),
        (Value::Array(rendered), Value::Array(found), Rule::ByKeys(keys)) => rendered.iter().find_map(|entry| {
            let same = |other: &&Value| keys.iter().all(|key| entry.get(key) == other.get(key));
            let other = found.iter().find(same);
            other.map_or_else(|| here(false), |other| at(kind, &entry_path, entry, other))
        }),
        (Value::Array(rendered), Value::Array(found), Rule::Within) => here(rendered.len() == found.len())
            .or_else(|| rendered.iter().zip(found).find_map(|(entry, other)| at(kind, &entry_path, entry, other))),
        (rendered, found, _) => here(rendered == found),
    }
}

/// Whether two values say the same, where what is empty says as much as what is not there.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            let of = |map: &serde_json::Map<String, Value>, key: &str| map.get(key).cloned().unwrap_or(Value::Null);
            keys.into_iter().all(|key| is_same(&of(one, key), &of(other, key)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (one, other) => one == other || (is_nothing(one) && is_nothing(other)),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().all(is_nothing),
        Value::Array(values) => values.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Value {
        json!({
            "metadata": {"labels": {"a": "b"}, "ownerReferences": [{"uid": "1", "controller": true}]},
            "spec": {"selector": {"app": "x"}, "ports": [{"name": "client", "port": 7400, "protocol": "TCP"}]},
        })
    }

    /// What the API server makes of it.
    fn kept() -> Value {
        json!({
            "metadata": {
                "labels": {"a": "b"}, "ownerReferences": [{"uid": "1", "controller": true}],
                "resourceVersion": "7", "managedFields": [],
            },
            "spec": {
                "selector": {"app": "x"}, "clusterIP": "10.0.0.1", "sessionAffinity": "None",
                "ports": [{"name": "client", "port": 7400, "protocol": "TCP", "nodePort": 30_000}],
            },
            "status": {},
        })
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_difference() {
        assert!(contained(Kind::Service, &service(), &kept()));
    }

    #[test]
    fn an_entry_of_a_list_does_not_say_what_it_is() {
        let mut rendered = service();
        (rendered["apiVersion"], rendered["kind"]) = (json!("v1"), json!("Service"));
        assert!(contained(Kind::Service, &rendered, &kept()));
    }

    #[test]
    fn what_others_set_beside_is_no_difference() {
        let mut found = kept();
        found["metadata"]["labels"]["theirs"] = json!("yes");
        found["metadata"]["ownerReferences"].as_array_mut().unwrap().insert(0, json!({"uid": "2"}));
        found["spec"]["ports"].as_array_mut().unwrap().insert(0, json!({"port": 1, "protocol": "TCP"}));
        assert!(contained(Kind::Service, &service(), &found));
    }

    #[test]
    fn what_was_changed_or_taken_out_is_a_difference() {
        for (path, value) in [
            ("/metadata/labels/a", json!("c")),
            ("/metadata/labels", Value::Null),
            ("/metadata/ownerReferences", json!([])),
            ("/metadata/ownerReferences/0/controller", json!(false)),
            ("/spec/selector/app", json!("y")),
            ("/spec/ports/0/port", json!(1)),
            ("/spec/ports/0/name", json!("other")),
            ("/spec/ports", json!([])),
            ("/spec", Value::Null),
        ] {
            let mut found = kept();
            *found.pointer_mut(path).unwrap() = value;
            assert!(!contained(Kind::Service, &service(), &found), "{path}");
        }
    }

    #[test]
    fn a_selector_that_somebody_narrowed_is_a_difference() {
        let mut found = kept();
        found["spec"]["selector"]["only"] = json!("some");
        assert!(!contained(Kind::Service, &service(), &found));
    }

    #[test]
    fn a_policy_that_lets_somebody_else_in_is_a_difference() {
        let policy = json!({"spec": {
            "podSelector": {"matchLabels": {"app": "x"}},
            "ingress": [{"ports": [{"port": 8400, "protocol": "TCP"}], "from": [{"podSelector": {"matchLabels": {"app": "x"}}}]}],
            "policyTypes": ["Ingress"],
        }});
        assert!(contained(Kind::NetworkPolicy, &policy, &policy));
        for (path, value) in [
            ("/spec/ingress", json!([policy["spec"]["ingress"][0], {}])),
            ("/spec/ingress/0/from", json!([{"podSelector": {}}])),
            ("/spec/ingress/0/from", Value::Null),
            ("/spec/ingress/0/ports/0", json!({"port": 1, "endPort": 65535, "protocol": "TCP"})),
            ("/spec/ingress/0/ports/0", json!({"port": 8400, "endPort": 65535, "protocol": "TCP"})),
            ("/spec/podSelector/matchLabels", json!({"app": "x", "only": "some"})),
            ("/spec/policyTypes", json!(["Egress"])),
        ] {
            let mut found = policy.clone();
            *found.pointer_mut(path).unwrap() = value;
            assert!(!contained(Kind::NetworkPolicy, &policy, &found), "{path}");
        }
    }

    #[test]
    fn what_was_rendered_empty_is_asked_of_nobody() {
        assert!(contained(Kind::ConfigMap, &json!({"data": {}, "x": null}), &json!({"data": {"a": "b"}})));
        assert!(contained(Kind::ConfigMap, &json!({"metadata": {"annotations": {}}}), &json!({"metadata": {}})));
    }
}
