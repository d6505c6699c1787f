//! `kubectl dynamo`: what a person asks of a DynamoCluster, from anywhere that kubectl reaches.
//!
//! What is to be known stands in the resource's status, and what is asked for is written into its spec: it needs rights on the
//! DynamoCluster and nothing else, and the operator alone changes the ring. Data goes through a forwarded port, by the
//! `dynamo` command beside this one.
//!
//! Where things are: `args` the command line, `target` which cluster, `show` what its status says, `ask` what is written into
//! its spec, `forward` the port, `pass` the commands that `dynamo` has.

#![forbid(unsafe_code)]

mod args;
mod ask;
mod failure;
mod forward;
mod pass;
mod show;
mod target;

use std::process::ExitCode;

use clap::CommandFactory;

use args::{Cli, Command};
use failure::Failure;
use target::Target;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::of(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match run(cli).await {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    if let Command::Completion { shell } = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "kubectl-dynamo", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    let target = Target::find(&cli.target).await?;
    match cli.command {
        Command::Status(output) => show::status(&target.cluster, output.json())?,
        Command::Plan(output) => show::plan(&target.cluster, output.json())?,
        Command::Why(output) => show::why(&target.cluster, output.json())?,
        Command::Restart { anyway, sure } => ask::restart(&target, anyway, &sure).await?,
        Command::Replace { nodes, sure } => ask::replace(&target, &nodes, &sure).await?,
        Command::Drain { machine, sure } => ask::drain(&target, &machine, &sure).await?,
        Command::Cancel => ask::cancel(&target).await?,
        Command::Rotate { authority, sure } => ask::rotate(&target, authority, &sure).await?,
        Command::Pause { plan_only } => ask::pause(&target, plan_only).await?,
        Command::Resume => ask::resume(&target).await?,
        Command::Forward { port } => forward::until_interrupted(&target, port).await?,
        Command::Ring { arguments } => return pass::run(&target, "ring", &arguments).await,
        Command::Get { arguments } => return pass::run(&target, "get", &arguments).await,
        Command::Put { arguments } => return pass::run(&target, "put", &arguments).await,
        Command::Delete { arguments } => return pass::run(&target, "delete", &arguments).await,
        Command::Bucket { arguments } => return pass::run(&target, "bucket", &arguments).await,
        Command::Nodes { arguments } => return pass::run(&target, "status", &arguments).await,
        Command::Bench { arguments } => return pass::run(&target, "bench", &arguments).await,
        Command::Completion { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}
