//! manifests/operator, for those without helm: what helm makes of the chart with its defaults. It is kept in the repository, so that
//! nobody needs helm to apply it; where helm is not found it can neither be made nor checked, which is said.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{helm::helm, made::Made};

/// The namespace that the manifests put the operator in, and the release's name.
const NAMESPACE: &str = "dynamo-system";
const RELEASE: &str = "dynamo-operator";
const HEAD: &str = "# Made by `cargo run -p xtask -- generate` from charts/dynamo-operator: change that, not this.\n";

/// The manifests; or why they can't be made.
///
/// # Errors
/// Helm fails.
pub fn made(root: &Path) -> Result<Result<Vec<Made>, &'static str>> {
    if !root.join("charts/dynamo-operator/Chart.yaml").is_file() {
        return Ok(Err("there is no chart"));
    }
    let Some(helm) = helm() else { return Ok(Err("helm is not found")) };
    let output = Command::new(&helm)
        .args(["template", RELEASE, "charts/dynamo-operator", "--namespace", NAMESPACE, "--skip-tests"])
        .args(["--set", "crds.install=false"])
        .current_dir(root)
        .output()
        .with_context(|| format!("running {}", helm.display()))?;
    ensure!(output.status.success(), "helm template failed: {}", String::from_utf8_lossy(&output.stderr));
    let rendered = String::from_utf8(output.stdout).context("helm prints text")?;
    Ok(Ok(vec![
        Made { path: "manifests/operator/operator.yaml", text: format!("{HEAD}{}", plain(&rendered)) },
        Made { path: "manifests/operator/namespace.yaml", text: namespace() },
        Made { path: "manifests/operator/kustomization.yaml", text: kustomization() },
    ]))
}

/// Without what only says that helm made it.
fn plain(rendered: &str) -> String {
    let told = |line: &&str| {
        let line = line.trim();
        !line.starts_with("# Source:") && !line.starts_with("helm.sh/chart:")
    };
    let managed =
        |line: &str| line.replace("app.kubernetes.io/managed-by: Helm", "app.kubernetes.io/managed-by: kustomize");
    let lines: Vec<String> = rendered.lines().filter(told).map(managed).collect();
    format!("{}\n", lines.join("\n").trim_start_matches("---\n").trim_end())
}

fn namespace() -> String {
    format!(
        "{HEAD}apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"
    )
}

fn kustomization() -> String {
    format!(
        "{HEAD}apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {NAMESPACE}
resources:
- namespace.yaml
- ../../crds
- operator.yaml
"
    )
}
