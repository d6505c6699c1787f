//! A port of this machine that leads to the nodes: each connection goes through the API server to a pod that is ready, to
//! another one when that is gone.

use dynamo_crd::names;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{failure::Failure, pass, target::Target};

/// Where nodes listen for clients.
const CLIENT_PORT: u16 = 7400;

/// Ends when it is dropped.
pub struct Forwarded {
    /// Of 127.0.0.1.
    pub port: u16,
    accepting: JoinHandle<()>,
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Begins to forward.
pub async fn begin(target: &Target, port: u16) -> Result<Forwarded, Failure> {
    let pods: Api<Pod> = Api::namespaced(target.client.clone(), &target.namespace);
    let params = ListParams::default().labels(&names::selector_text(&target.name));
    // Told at once where there is nobody to talk to.
    ready(&pods, &params).await?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        Failure::Usage(format!("port {port} of this machine can't be had ({error}): choose another with --port"))
    })?;
    let port = listener.local_addr()?.port();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (pods, params) = (pods.clone(), params.clone());
            tokio::spawn(async move {
                if let Err(error) = connection(&pods, &params, stream).await {
                    eprintln!("note: a forwarded connection failed: {error}");
                }
            });
        }
    });
    Ok(Forwarded { port, accepting })
}

/// Forwards, says how to use it, and ends with Ctrl-C.
pub async fn until_interrupted(target: &Target, port: u16) -> Result<(), Failure> {
    let forwarded = begin(target, port).await?;
    let (variables, _files) = pass::variables(target, forwarded.port).await?;
    println!("# {} is at 127.0.0.1:{} until Ctrl-C; in another shell:", target.name, forwarded.port);
    for (name, value) in variables {
        println!("export {name}={value}");
    }
    Ok(tokio::signal::ctrl_c().await?)
}

async fn connection(pods: &Api<Pod>, params: &ListParams, mut stream: TcpStream) -> anyhow::Result<()> {
    let mut last = anyhow::anyhow!("no pod is ready");
    for pod in ready(pods, params).await.map_err(|_| anyhow::anyhow!("no pod is ready"))? {
        match pods.portforward(&pod, &[CLIENT_PORT]).await {
            Ok(mut forwarder) => {
                let mut upstream = forwarder.take_stream(CLIENT_PORT).expect("it was asked for");
                // Either side may end it as it likes.
                let _ = copy_bidirectional(&mut stream, &mut upstream).await;
                drop(upstream);
                forwarder.abort();
                return Ok(());
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// The pods that are ready.
async fn ready(pods: &Api<Pod>, params: &ListParams) -> Result<Vec<String>, Failure> {
    let found = pods.list(params).await.map_err(|error| Failure::api("looking for the nodes' pods", &error))?;
    let ready: Vec<String> = found.iter().filter(|pod| is_ready(pod)).map(ResourceExt::name_any).collect();
    if ready.is_empty() {
        let why =
            format!("none of the {} pods of the nodes is ready: `kubectl dynamo why` says more", found.items.len());
        return Err(Failure::Unavailable(why));
    }
    Ok(ready)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is = conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    is && pod.metadata.deletion_timestamp.is_none()
}
