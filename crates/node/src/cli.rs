//! The command line of `dynamo-node`, also what `dynamo local` runs for each of its nodes.

use std::{ffi::OsString, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use tokio::sync::watch;

use crate::{
    config::{self, Config, ENV_PREFIX, Setting, Taken},
    handover,
    machine::Machine,
    prestop,
    server::{self, Ended},
    signals::Signals,
    telemetry,
};

/// A storage node of a Dynamo cluster.
///
/// Without a command it runs the node.
///
/// Configuration comes from defaults, then the file, then DYNAMO_NODE__SECTION__KEY variables, then flags. See
/// docs/CONFIGURATION.md for every key.
#[derive(Debug, Parser)]
#[command(name = "dynamo-node", version, no_binary_name = true, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(flatten)]
    sources: Sources,
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the configuration that results, without the secret, with what was taken by the limits, and exit
    #[arg(long)]
    print_config: bool,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
    /// Stop when standard input is closed: the process that started this one has ended
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// What is done instead of running a node.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask the node that runs here to hand over, before it is told to stop
    ///
    /// It is no more ready, its peers turn to others, and it delivers the hints that it holds for nodes that are up; meanwhile
    /// it answers whoever still asks. Give the configuration that the node has. For Kubernetes' preStop: exit code 0 also
    /// when the time was too short, 1 if the node could not be asked.
    Prestop(Prestop),
}

#[derive(Debug, clap::Args)]
struct Prestop {
    #[command(flatten)]
    sources: Sources,
    /// For how long at most; some of the time until it is killed has to be left to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(..=handover::PATIENCE_MAX_S))]
    seconds: u64,
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
struct Sources {
    /// YAML file to read
    #[arg(long, value_name = "FILE", env = "DYNAMO_NODE_CONFIG")]
    config: Option<PathBuf>,
    /// Set one key, for example --set storage.durability=interval
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
    #[command(flatten)]
    common: CommonKeys,
}

/// Flags of their own for the keys that most nodes are told; they win over --set. Taken as text, like the environment,
/// so that all sources go one way.
#[derive(Debug, clap::Args)]
struct CommonKeys {
    /// This node's name: one of cluster.members', or a new one of a node that is to join (node.name; required)
    #[arg(long)]
    name: Option<String>,
    /// Its zone; a node that is to join has to say it (node.zone) [default: what cluster.members says]
    #[arg(long)]
    zone: Option<String>,
    /// Where data and identity are kept (node.data_dir) [default: /var/lib/dynamo]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where clients connect (node.client_listen) [default: 0.0.0.0:7400]
    #[arg(long, value_name = "HOST:PORT")]
    client_listen: Option<String>,
    /// Where peers connect (node.peer_listen) [default: 0.0.0.0:8400]
    #[arg(long, value_name = "HOST:PORT")]
    peer_listen: Option<String>,
    /// Where metrics and probes are served (node.http_listen) [default: 0.0.0.0:9400]
    #[arg(long, value_name = "HOST:PORT")]
    http_listen: Option<String>,
    /// text or json (log.format) [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// error, warn, info, debug, trace, or a filter (log.level) [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

impl CommonKeys {
    /// Each flag, its key, and what was given.
    fn each(&self) -> [(&'static str, &'static str, &Option<String>); 8] {
        [
            ("--name", "node.name", &self.name),
            ("--zone", "node.zone", &self.zone),
            ("--data-dir", "node.data_dir", &self.data_dir),
            ("--client-listen", "node.client_listen", &self.client_listen),
            ("--peer-listen", "node.peer_listen", &self.peer_listen),
            ("--http-listen", "node.http_listen", &self.http_listen),
            ("--log-format", "log.format", &self.log_format),
            ("--log-level", "log.level", &self.log_level),
        ]
    }

    fn settings(&self) -> impl Iterator<Item = Setting> {
        let given = self.each().map(|(flag, key, value)| {
            value.clone().map(|value| Setting { source: flag.to_owned(), key: key.to_owned(), value })
        });
        given.into_iter().flatten()
    }
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
    let sources = match &args.command {
        Some(Command::Prestop(prestop)) => &prestop.sources,
        None => &args.sources,
    };
    let mut config = match load(sources) {
        Ok(config) => config,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    if let Some(Command::Prestop(prestop)) = &args.command {
        return hand_over(&config, prestop.seconds);
    }
    let taken = config.fit(&Machine::here());
    if args.print_config {
        // A reader that has seen enough and closed the pipe is no failure.
        let _ = std::io::stdout().write_all(printed(&config, &taken).as_bytes());
        return ExitCode::SUCCESS;
    }
    if args.check {
        return ExitCode::SUCCESS;
    }
    let log = config.log.clone();
    match start(config, &taken, args.exit_with_stdin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words(&log, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn hand_over(config: &Config, seconds: u64) -> ExitCode {
    match prestop::ask(&config.node.http_listen, seconds) {
        Ok(said) => {
            let _ = std::io::stdout().write_all(said.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: no node could be asked on node.http_listen, {}: {error}", config.node.http_listen);
            ExitCode::FAILURE
        }
    }
}

/// As YAML, with what nobody has set in comments at its end.
fn printed(config: &Config, taken: &[Taken]) -> String {
    let comment = |Taken { key, value, why }: &Taken| format!("# {key}: {value} was not set; {why}\n");
    config.to_yaml() + &taken.iter().map(comment).collect::<String>()
}

fn load(args: &Sources) -> Result<Config, String> {
    let text = match &args.config {
        None => None,
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("the configuration file {name} can't be read: {error}"))?;
            Some((name, text))
        }
    };
    let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let mut flags = args.sets.iter().map(|flag| Setting::from_flag(flag)).collect::<Result<Vec<_>, _>>();
    if let Ok(flags) = &mut flags {
        flags.extend(args.common.settings());
    }
    let load = |flags: Vec<Setting>| config::load(file, variables()?, &flags);
    flags.and_then(load).map_err(|error| error.to_string())
}

/// Our variables; those of other programs need be no text.
fn variables() -> Result<Vec<(String, String)>, config::ConfigError> {
    let ours = std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(ENV_PREFIX.as_bytes()));
    let as_text = |(name, value): (OsString, OsString)| match (name.into_string(), value.into_string()) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        (Ok(name), Err(_)) => Err(format!("environment variable {name}: its value is not UTF-8 text").into()),
        (Err(name), _) => Err(format!("environment variable {}: no key", name.display()).into()),
    };
    ours.map(as_text).collect()
}

fn start(config: Config, taken: &[Taken], exit_with_stdin: bool) -> anyhow::Result<()> {
    telemetry::init(&config.log).map_err(|message| anyhow::anyhow!(message))?;
    raise_file_limit();
    for Taken { key, value, why } in taken {
        tracing::debug!(key, value, why, "taken by the limits");
    }
    // Signals are heard by a thread of their own: a node may begin anew in this process.
    let listening = runtime(1)?;
    let (stop, stopped) = watch::channel(false);
    listening.block_on(async {
        let signals = Signals::listen(exit_with_stdin).context("signals can't be listened to")?;
        tokio::spawn(async move {
            signals.told_twice(stop).await;
            tracing::warn!("told to stop twice: stopping at once; nothing acknowledged is lost");
            std::process::exit(1);
        });
        anyhow::Ok(())
    })?;
    let outcome = loop {
        let runtime = runtime(config.runtime.threads)?;
        let ended = runtime.block_on(server::run(config.clone(), stopped.clone()));
        // Whatever still serves a connection of the life that has ended goes with its threads.
        runtime.shutdown_timeout(Duration::from_secs(2));
        match ended {
            Ok(Ended::AsAnOldCopy) => {}
            Ok(Ended::Stopped) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // The task that reads standard input can't be cancelled.
    listening.shutdown_background();
    outcome
}

fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads).enable_all().build().context("the runtime's threads can't be started")
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Args {
        Args::try_parse_from(args).unwrap()
    }

    #[test]
    fn each_common_key_has_a_flag_whose_help_and_documentation_name_key_and_default() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFIGURATION.md");
        let page = std::fs::read_to_string(page).unwrap();
        let defaults: serde_yaml::Value = serde_yaml::to_value(Config::default()).unwrap();
        let command = Args::command();
        for (flag, key, _) in parse(&[]).sources.common.each() {
            let arg = command.get_arguments().find(|arg| arg.get_long() == flag.strip_prefix("--")).unwrap();
            let help = arg.get_help().unwrap().to_string();
            let (section, name) = key.split_once('.').unwrap();
            let says = match defaults[section][name].as_str().unwrap() {
                "" if key == "node.name" => "required".to_owned(),
                "" => "[default: what cluster.members says]".to_owned(),
                default => format!("[default: {default}]"),
            };
            assert!(help.contains(&format!("({key}")) && help.contains(&says), "{flag}: {help}");
            assert!(page.contains(&format!("| `{flag}` | `{key}` |")), "docs/CONFIGURATION.md lacks {flag}");
        }
    }

    #[test]
    fn flags_of_their_own_win_over_set_and_are_blamed_by_name() {
        let given = parse(&["--set", "node.name=a", "--name", "7", "--log-level", "x"]);
        let settings: Vec<_> = given.sources.common.settings().collect();
        assert_eq!(settings[0], Setting { source: "--name".into(), key: "node.name".into(), value: "7".into() });
        let error = load(&given.sources).unwrap_err();
        assert!(error.contains("log.level") && error.contains("\"x\" is from --log-level"), "{error}");
    }
}
