//! The kinds as the API server has them.

use std::{collections::BTreeMap, fmt};

use kube::{api::ApiResource, core::GroupVersionKind};
use serde_json::Value;

use crate::render::Kind;

/// What was asked of the API server: also the right that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `get`, `patch`, `delete` or `list`.
    pub verb: &'static str,
    /// `services`, `configmaps` and so on.
    pub resource: &'static str,
    /// Of which namespace.
    pub namespace: String,
    /// Of which object; empty: of several.
    pub name: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        write!(f, "{} {}{name} in namespace {}", self.verb, self.resource, self.namespace)
    }
}

impl Kind {
    /// The name of the resource.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmaps",
            Kind::ServiceAccount => "serviceaccounts",
            Kind::Service => "services",
            Kind::NetworkPolicy => "networkpolicies",
            Kind::ServiceMonitor => "servicemonitors",
        }
    }

    pub(super) fn resource(self) -> ApiResource {
        let (group, version, kind) = match self {
            Kind::ConfigMap => ("", "v1", "ConfigMap"),
            Kind::ServiceAccount => ("", "v1", "ServiceAccount"),
            Kind::Service => ("", "v1", "Service"),
            Kind::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy"),
            Kind::ServiceMonitor => ("monitoring.coreos.com", "v1", "ServiceMonitor"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), self.plural())
    }
}

/// Tells one document from another; the same whichever way this build's JSON maps go.
pub(super) fn hash(document: &Value) -> String {
    fn write(value: &Value, text: &mut String) {
        match value {
            Value::Object(map) => {
                let sorted: BTreeMap<_, _> = map.iter().collect();
                for (key, value) in sorted {
                    *text += &format!("{{{key:?}");
                    write(value, text);
                }
                text.push('}');
            }
            Value::Array(values) => {
                for value in values {
                    text.push('[');
                    write(value, text);
                }
                text.push(']');
            }
            plain => *text += &plain.to_string(),
        }
    }
    let mut text = String::new();
    write(document, &mut text);
    let fnv1a = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hash_tells_documents_apart_and_not_the_order_of_their_keys() {
        let text = |text: &str| hash(&serde_json::from_str(text).unwrap());
        assert_eq!(text(r#"{"a": 1, "b": [2]}"#), text(r#"{"b": [2], "a": 1}"#));
        let different =
            [json!({"a": 1}), json!({"a": "1"}), json!([1, 2]), json!([[1], 2]), json!({"a": {"b": 1}}), json!({})];
        let hashes: std::collections::BTreeSet<_> = different.iter().map(hash).collect();
        assert_eq!(hashes.len(), different.len());
    }
}
