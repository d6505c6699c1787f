//! `dynamo`: a cluster on a laptop, and everything a person does with one. Each command is a file of `commands`.

mod args;
mod bench;
mod change;
mod commands;
mod failure;
mod local;
mod output;
mod records;

use std::process::ExitCode;

use clap::Parser;

/// The nodes of `dynamo local` run in this binary too, and allocate most of what they serve.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match commands::storage_node(std::env::args_os().skip(1)) {
        Some(args) => dynamo_node::cli::main_with(args),
        None => commands::Cli::parse().run(),
    }
}
