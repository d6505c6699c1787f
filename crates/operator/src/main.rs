//! `dynamo-operator`.

use std::process::ExitCode;

use clap::Parser;
use dynamo_operator::{
    operator, probe,
    settings::{Command, Invocation},
};

fn main() -> ExitCode {
    let given = Invocation::parse();
    match given.command {
        None => operator::main_with(given.settings),
        Some(Command::Probe { url }) => probe::main_with(&url),
    }
}
