//! The process: settings, the log, the API server, the Lease, the work.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use kube::{Client, Config, client::ClientBuilder};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

use crate::{
    authority::{Serving, signer},
    caches::Caches,
    context::{Clock, Context},
    controller,
    leader::Leadership,
    metrics::{self, CountWrites, Health},
    settings::{LogFormat, Settings},
};

/// Runs until it is told to stop, or may not work any more.
pub fn main_with(settings: Settings) -> ExitCode {
    if let Err(error) = log(&settings) {
        eprintln!("dynamo-operator: {error:#}");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.context("no threads can be had").and_then(|runtime| runtime.block_on(run(settings)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_level).with_context(|| {
        format!("--log-level {:?} is none: try info, or info,dynamo_operator=debug", settings.log_level)
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// A client that sends each request once: what is tried again is decided anew first.
///
/// # Errors
/// There is no API server to be found.
pub async fn client() -> anyhow::Result<Client> {
    let mut config =
        Config::infer().await.context("no API server is configured: run it in a pod, or set KUBECONFIG")?;
    config.default_retry = false;
    let builder = ClientBuilder::try_from(config).context("the API server's certificate or address can't be used")?;
    Ok(builder.with_layer(&CountWrites).build())
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    // Two implementations of cryptography may be linked in; this is the one that is used.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = client().await?;
    let leadership = Leadership::new(client.clone(), &settings.namespace, &settings.lease_name, &settings.identity);
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    tokio::pin!(stop);
    let ports = ports(client.clone(), settings.clone());
    tokio::pin!(ports);
    tokio::select! {
        () = leadership.win() => {}
        failed = &mut ports => return failed,
        () = &mut stop => return Ok(()),
    }
    let outcome = tokio::select! {
        () = work(client, settings, Clock::start()) => Err(anyhow::anyhow!("the work ended by itself")),
        lost = leadership.hold() => Err(anyhow::anyhow!("{lost}: this process ends, so that nothing is done by two")),
        failed = &mut ports => failed,
        () = &mut stop => Ok(()),
    };
    // Whatever was under way has been dropped by now.
    leadership.release().await;
    outcome
}

/// What every replica serves, whoever holds the Lease: the signer, metrics and health. Ends where a port can't be had.
async fn ports(client: Client, settings: Settings) -> anyhow::Result<()> {
    let handle = metrics::install()?;
    let (serving, health) =
        (Serving::new(client.clone(), &settings.namespace, &settings.signer_host()), Health::default());
    let ready = async {
        loop {
            health.set_ready(serving.is_ready());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let signer = signer::serve(settings.signer_listen, serving.clone(), client, std::future::pending());
    let (_stop, stopped) = watch::channel(false);
    tokio::select! {
        () = serving.clone().run() => Ok(()),
        () = ready => Ok(()),
        ended = signer => ended.with_context(|| format!("the signer's port {}", settings.signer_listen)),
        ended = metrics::serve(settings.http_listen, handle, health.clone(), stopped) => {
            ended.with_context(|| format!("the port of metrics and health {}", settings.http_listen))
        }
    }
}

/// Tends clusters for as long as it is polled; nothing of it goes on after that.
pub async fn work(client: Client, settings: Settings, clock: Clock) {
    let (caches, watches) = Caches::start(&client, &settings);
    let context = Arc::new(Context::new(client, caches, settings, clock));
    controller::run(context, watches).await;
}
