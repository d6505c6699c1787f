//! `dynamo-witness`: a client that writes and reads while things break. It keeps the history of what it did and saw in a
//! file, and the simulator's checkers judge it (`crates/history`).
//!
//! Deletes are not seen by a client, and what a write without an answer became is not known: where the simulator knows
//! the truth, the witness goes by what can be told from outside (`record.rs`), so that it may miss a fault, and never
//! finds one that is none.

mod line;
mod record;
mod report;
mod settle;
mod work;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use dynamo_client::{CallerFiles, Config};

use crate::{record::Past, report::Report};

/// A client that writes and reads while things break, and tells what the cluster made of it
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes and reads until it is told to stop: by SIGTERM, or by `finish`, after which it waits for SIGTERM
    ///
    /// Begun again with the same file, it goes on with what is in there.
    Run {
        #[command(flatten)]
        endpoint: Endpoint,
        #[command(flatten)]
        load: work::Load,
        /// Where the history is kept
        history: PathBuf,
    },
    /// Stops a running witness, reads every key through every node until all tell the same, and judges
    Finish {
        #[command(flatten)]
        endpoint: Endpoint,
        #[command(flatten)]
        output: Output,
        /// How long it may take until all nodes tell the same of all keys
        #[arg(long, default_value_t = 180, value_name = "SECONDS")]
        settle_within: u64,
        /// The history of the running witness
        history: PathBuf,
    },
    /// Judges a history. Exit code 1: something is wrong, and the report says what
    Check {
        #[command(flatten)]
        output: Output,
        /// The history
        history: PathBuf,
    },
    /// Prints a history, to keep it elsewhere
    Print {
        /// The history
        history: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Endpoint {
    /// Nodes to ask, host:port, comma separated
    #[arg(long, env = "DYNAMO_ENDPOINT", value_name = "HOST:PORT")]
    endpoint: String,
    /// Speak TLS with nodes whose certificates are of these authorities (PEM); read again when it changes
    #[arg(long, env = "DYNAMO_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Bearer token to show
    #[arg(long, env = "DYNAMO_TOKEN_FILE", value_name = "FILE", requires = "tls_ca")]
    token_file: Option<PathBuf>,
}

impl Endpoint {
    /// Where the nodes are, and whom they may be.
    fn config(&self) -> Result<Config, dynamo_client::Error> {
        let mut config = Config::parse(&self.endpoint)?;
        let token = self.token_file.clone();
        config.tls =
            self.tls_ca.clone().map(|trust| CallerFiles { trust, certificate: None, token, server_name: None });
        Ok(config)
    }
}

#[derive(Debug, Args)]
struct Output {
    /// For people or for programs
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Exit codes: 0 nothing is wrong, 1 something is, 2 the witness itself failed.
#[tokio::main]
async fn main() -> ExitCode {
    match carry_out(Cli::parse().command).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn carry_out(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Run { endpoint, load, history } => work::run(endpoint.config()?, &load, &history).await.map(|()| true),
        Command::Finish { endpoint, output, settle_within, history } => {
            record::stop(&history).await?;
            let past = Past::load(&history)?;
            settle::settle(&endpoint.config()?, &past, &history, Duration::from_secs(settle_within)).await?;
            judged(&Past::load(&history)?, output.output)
        }
        Command::Check { output, history } => judged(&Past::load(&history)?, output.output),
        Command::Print { history } => {
            let mut file = std::fs::File::open(&history).with_context(|| history.display().to_string())?;
            std::io::copy(&mut file, &mut std::io::stdout().lock())?;
            Ok(true)
        }
    }
}

fn judged(past: &Past, format: Format) -> anyhow::Result<bool> {
    let report = Report::of(past);
    match format {
        Format::Text => print!("{report}"),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(report.is_good())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn a_bundle_makes_it_speak_tls_and_a_token_is_shown_in_tls_only() {
        let endpoint = |more: &[&str]| {
            let line =
                ["dynamo-witness", "run", "--endpoint", "a:1", "/history"].into_iter().chain(more.iter().copied());
            super::Cli::try_parse_from(line).map(|cli| match cli.command {
                super::Command::Run { endpoint, .. } => endpoint.config().unwrap(),
                other => panic!("{other:?}"),
            })
        };
        assert!(endpoint(&[]).unwrap().tls.is_none());
        let tls = endpoint(&["--tls-ca", "/ca", "--token-file", "/token"]).unwrap().tls.unwrap();
        assert!(tls.trust.as_os_str() == "/ca" && tls.token.unwrap().as_os_str() == "/token");
        assert!(endpoint(&["--token-file", "/token"]).is_err());
    }
}
