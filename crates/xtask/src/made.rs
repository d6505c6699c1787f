//! What is made from code, and where it goes.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{charts, reference};

const HEAD: &str = "# Made by `cargo run -p xtask -- generate` from crates/crd: change that, not this.\n";

/// A file.
pub struct Made {
    /// Its path from the top of the repository.
    pub path: &'static str,
    /// What stands in it.
    pub text: String,
}

impl Made {
    /// Whether it is there like that.
    pub fn is_as_made(&self, root: &Path) -> bool {
        fs::read_to_string(root.join(self.path)).is_ok_and(|found| found == self.text)
    }
}

/// All of them.
pub fn all() -> Vec<Made> {
    let definition = dynamo_crd::definition_yaml_value();
    vec![
        Made { path: "crds/dynamoclusters.dynamo-k8s.io.yaml", text: yaml(&definition) },
        Made { path: "crds/kustomization.yaml", text: kustomization(&["dynamoclusters.dynamo-k8s.io.yaml"]) },
        Made { path: "docs/DYNAMOCLUSTER.md", text: reference::page(&definition) },
        Made { path: "charts/dynamo-operator/templates/crds.yaml", text: charts::definition_template(&definition) },
        Made { path: "charts/dynamo-cluster/values.schema.json", text: charts::cluster_values(&definition) },
    ]
}

fn yaml(document: &Value) -> String {
    format!("{HEAD}{}", serde_yaml::to_string(document).expect("plain data can be written"))
}

/// For `kubectl apply -k`.
fn kustomization(resources: &[&str]) -> String {
    let document = serde_json::json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": resources,
    });
    yaml(&document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_made_the_same_again() {
        let texts = || all().into_iter().map(|made| made.text).collect::<Vec<_>>();
        assert_eq!(texts(), texts());
    }

    #[test]
    fn the_definition_is_small_enough_for_kubectl_to_remember() {
        // `kubectl apply` keeps the whole document in an annotation, of at most 256 KiB.
        let definition = dynamo_crd::definition_yaml_value().to_string();
        assert!(definition.len() < 256 << 10, "{} bytes", definition.len());
    }
}
