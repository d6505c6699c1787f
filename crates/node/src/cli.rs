//! The command line of `dynamo-node`, also what `dynamo local` runs for each of its nodes.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::Parser;
use tokio::{
    io::AsyncReadExt,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    config::{self, Config},
    server, telemetry,
};

/// A storage node of a Dynamo cluster.
///
/// Configuration comes from defaults, then the file, then DYNAMO_NODE__SECTION__KEY variables, then flags. See
/// docs/CONFIGURATION.md for every key.
#[derive(Debug, Parser)]
#[command(name = "dynamo-node", version, no_binary_name = true)]
struct Args {
    /// YAML file to read
    #[arg(long, value_name = "FILE", env = "DYNAMO_NODE_CONFIG")]
    config: Option<PathBuf>,
    /// Set one key, for example --set storage.durability=interval
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
    /// Which of cluster.members this node is (node.name)
    #[arg(long)]
    name: Option<String>,
    /// Where data and identity are kept (node.data_dir)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print the configuration that results, without the secret, and exit
    #[arg(long)]
    print_config: bool,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
    /// Stop when standard input is closed: the process that started this one has ended
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// Runs a node with these arguments (without the program's name). Exit codes: 0 stopped as asked, 1 failed, 2 wrong
/// usage or configuration.
pub fn main_with(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let config = match load(&args) {
        Ok(config) => config,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    if args.print_config {
        print!("{}", config.to_yaml());
        return ExitCode::SUCCESS;
    }
    if args.check {
        return ExitCode::SUCCESS;
    }
    match start(config, args.exit_with_stdin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(args: &Args) -> Result<Config, String> {
    let text = match &args.config {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Some((path.display().to_string(), text))
        }
    };
    let mut sets = args.sets.clone();
    sets.extend(args.name.as_ref().map(|name| format!("node.name={name}")));
    sets.extend(args.data_dir.as_ref().map(|dir| format!("node.data_dir={}", dir.display())));
    let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    // What is no text can't be a configuration value, and other programs' variables are none of ours.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::load(file, variables, &sets).map_err(|error| error.to_string())
}

fn start(config: Config, exit_with_stdin: bool) -> anyhow::Result<()> {
    telemetry::init(&config.log).map_err(|message| anyhow::anyhow!(message))?;
    raise_file_limit();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.runtime.threads > 0 {
        runtime.worker_threads(config.runtime.threads);
    }
    let runtime = runtime.enable_all().build()?;
    let outcome = runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(until_told(stop, exit_with_stdin));
        server::run(config, stopped).await
    });
    // The task that reads standard input can't be cancelled.
    runtime.shutdown_background();
    outcome
}

async fn until_told(stop: watch::Sender<bool>, exit_with_stdin: bool) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        // `dynamo local` gets the terminal's Ctrl-C too, and stops its nodes in order.
        _ = interrupt.recv(), if !exit_with_stdin => {}
        () = stdin_closed(), if exit_with_stdin => {}
    }
    let _ = stop.send(true);
    terminate.recv().await;
    tracing::warn!("told to stop twice: stopping at once; nothing acknowledged is lost");
    std::process::exit(1);
}

async fn stdin_closed() {
    let mut buffer = [0; 64];
    let mut stdin = tokio::io::stdin();
    while stdin.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// As many connections as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(files = ?limit.current, "raised the limit of open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
