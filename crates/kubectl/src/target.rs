//! Which cluster is meant, in which Kubernetes.

use dynamo_crd::DynamoCluster;
use kube::{
    Api, Client, Config, ResourceExt,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{args::TargetArgs, failure::Failure};

/// A cluster that was found.
pub struct Target {
    pub client: Client,
    pub namespace: String,
    pub name: String,
    pub cluster: DynamoCluster,
}

impl Target {
    /// By its name, or the only one of the namespace.
    pub async fn find(args: &TargetArgs) -> Result<Self, Failure> {
        let config = config(args).await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|error| Failure::Unavailable(format!("the kubeconfig can't be used: {error}")))?;
        let cluster = find(&client, &namespace, args.cluster.as_deref()).await?;
        Ok(Self { client, namespace, name: cluster.name_any(), cluster })
    }

    pub fn clusters(&self) -> Api<DynamoCluster> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

async fn config(args: &TargetArgs) -> Result<Config, Failure> {
    let unusable = |error: &dyn std::fmt::Display| Failure::Usage(format!("the kubeconfig can't be used: {error}"));
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    match &args.kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(|error| unusable(&error))
        }
        None if args.context.is_some() => Config::from_kubeconfig(&options).await.map_err(|error| unusable(&error)),
        // In a pod, its own account.
        None => Config::infer().await.map_err(|error| unusable(&error)),
    }
}

async fn find(client: &Client, namespace: &str, name: Option<&str>) -> Result<DynamoCluster, Failure> {
    let clusters: Api<DynamoCluster> = Api::namespaced(client.clone(), namespace);
    if let Some(name) = name {
        let found = clusters.get_opt(name).await.map_err(|error| not_served(&error, namespace))?;
        let missing = || Failure::NotFound(format!("there is no DynamoCluster {name} in namespace {namespace}"));
        return found.ok_or_else(missing);
    }
    let found = clusters.list(&Default::default()).await.map_err(|error| not_served(&error, namespace))?.items;
    only(found, namespace)
}

fn only(mut found: Vec<DynamoCluster>, namespace: &str) -> Result<DynamoCluster, Failure> {
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
        let names = names.join(", ");
        return Err(Failure::Usage(format!(
            "namespace {namespace} has several DynamoClusters: name one with -c NAME: {names}"
        )));
    }
    let missing = || {
        let hint = "name another with -n, or see all with `kubectl get dynamoclusters --all-namespaces`";
        Failure::NotFound(format!("there is no DynamoCluster in namespace {namespace}: {hint}"))
    };
    found.pop().ok_or_else(missing)
}

fn not_served(error: &kube::Error, namespace: &str) -> Failure {
    match error {
        kube::Error::Api(status) if status.code == 404 => Failure::Unavailable(
            "this Kubernetes knows no DynamoClusters: install the operator, or choose another context with --context"
                .to_owned(),
        ),
        error => Failure::api(format!("looking for DynamoClusters in namespace {namespace}"), error),
    }
}

#[cfg(test)]
mod tests {
    use dynamo_crd::DynamoClusterSpec;

    use super::*;

    fn cluster(name: &str) -> DynamoCluster {
        DynamoCluster::new(name, DynamoClusterSpec::default())
    }

    #[test]
    fn the_only_cluster_is_meant_and_of_several_none() {
        assert_eq!(only(vec![cluster("a")], "n").unwrap().name_any(), "a");
        assert!(matches!(only(vec![], "n"), Err(Failure::NotFound(_))));
        match only(vec![cluster("a"), cluster("b")], "n") {
            Err(Failure::Usage(message)) => assert!(message.ends_with("a, b"), "{message}"),
            other => panic!("{:?}", other.map(|cluster| cluster.name_any())),
        }
    }
}
