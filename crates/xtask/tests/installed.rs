//! The charts and the manifests, installed: by a real helm and kubectl into a real API server. Where one of them is missing a test says so
//! and does nothing; `DYNAMO_REQUIRE_HELM=1` and `DYNAMO_REQUIRE_CONTROL_PLANE=1` make that a failure.

#[path = "../src/helm.rs"]
mod helm;

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use dynamo_control_plane::{ADMIN, ControlPlane, Controllers};
use dynamo_crd::DynamoCluster;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::Api;

const DEFINITION: &str = "dynamoclusters.dynamo-k8s.io";
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn ran(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.current_dir(ROOT).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {said}");
    said
}

/// The chart as it may have been before: with a definition that says less.
fn former_chart(folder: &Path) -> String {
    let mut copy = Command::new("cp");
    copy.args(["-r", "charts/dynamo-operator"]).arg(folder);
    ran(copy);
    let chart = folder.join("dynamo-operator");
    let template = chart.join("templates/crds.yaml");
    let text = fs::read_to_string(&template).unwrap();
    let former = text.replace("    shortNames:\n    - dc\n", "");
    assert_ne!(text, former);
    fs::write(&template, former).unwrap();
    chart.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_definition_is_upgraded_with_the_release_and_outlives_it() {
    let Some(helm) = helm::helm() else {
        assert!(
            env::var("DYNAMO_REQUIRE_HELM").as_deref() != Ok("1"),
            "helm is not found, and DYNAMO_REQUIRE_HELM is 1"
        );
        eprintln!("NOT RUN: the definition is upgraded with the release: helm is not found");
        return;
    };
    let Some(plane) = ControlPlane::start("the definition is upgraded", Controllers::None).await else { return };
    let (kubeconfig, home) = (plane.kubeconfig(ADMIN, Some("system:masters")), tempfile::tempdir().unwrap());
    let helm = |arguments: &[&str]| {
        let mut command = Command::new(&helm);
        command.args(arguments).args(["--namespace", "dynamo-system"]).env("HOME", home.path());
        command.env("KUBECONFIG", &kubeconfig).env_remove("XDG_CACHE_HOME");
        ran(command)
    };
    let short_names = async || {
        let definitions: Api<CustomResourceDefinition> = Api::all(plane.admin());
        definitions.get(DEFINITION).await.unwrap().spec.names.short_names.unwrap_or_default()
    };
    let former = former_chart(home.path());
    helm(&["install", "dynamo-operator", &former, "--create-namespace"]);
    assert!(short_names().await.is_empty());
    helm(&["upgrade", "dynamo-operator", "charts/dynamo-operator"]);
    assert_eq!(short_names().await, ["dc"]);

    let said = helm(&["install", "shop", "charts/dynamo-cluster", "--set-json", r#"zones=[{"name": "a"}]"#]);
    assert!(said.contains("kubectl get dc -n dynamo-system shop"), "{said}");
    let clusters: Api<DynamoCluster> = Api::namespaced(plane.admin(), "dynamo-system");
    assert_eq!(clusters.get("shop").await.unwrap().spec.zones[0].name, "a");

    helm(&["uninstall", "dynamo-operator"]);
    let deployments: Api<Deployment> = Api::namespaced(plane.admin(), "dynamo-system");
    assert!(deployments.get_opt("dynamo-operator").await.unwrap().is_none());
    assert_eq!(short_names().await, ["dc"]);
    assert!(clusters.get_opt("shop").await.unwrap().is_some(), "a cluster went with its operator");
}

#[tokio::test]
async fn the_manifests_install_without_helm() {
    let Some(plane) = ControlPlane::start("the manifests install", Controllers::None).await else { return };
    let Some(mut apply) = plane.kubectl() else {
        eprintln!("NOT RUN: the manifests install without helm: kubectl is not found");
        return;
    };
    apply.args(["apply", "-k", "manifests/operator"]);
    ran(apply);
    let deployments: Api<Deployment> = Api::namespaced(plane.admin(), "dynamo-system");
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.admin(), "dynamo-system");
    let pod = deployments.get("dynamo-operator").await.unwrap().spec.unwrap().template.spec.unwrap();
    accounts.get(&pod.service_account_name.unwrap()).await.unwrap();
    let mut again = plane.kubectl().unwrap();
    again.args(["apply", "-k", "manifests/operator"]);
    let said = ran(again);
    assert!(said.lines().filter(|line| line.contains('/')).all(|line| line.ends_with("unchanged")), "{said}");
}
