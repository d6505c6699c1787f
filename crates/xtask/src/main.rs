//! `cargo run -p xtask -- generate` writes what is made from code; `... -- check` says what is not as it would be written.

#![forbid(unsafe_code)]

mod charts;
mod helm;
mod made;
mod manifests;
mod reference;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use made::Made;

/// Makes the files of the repository that are made from its code.
#[derive(Parser)]
struct Cli {
    /// The repository; default: the one that this program was built from.
    #[arg(long, global = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes them.
    Generate,
    /// Changes nothing, and fails if one is not as it would be written.
    Check,
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let mut made = made::all();
    match cli.command {
        Command::Generate => {
            write_all(&cli.root, &made)?;
            // Of the charts as they are by now.
            match manifests::made(&cli.root)? {
                Ok(manifests) => write_all(&cli.root, &manifests)?,
                Err(why) => eprintln!("NOT MADE: manifests/operator, since {why}"),
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Check => {
            match manifests::made(&cli.root)? {
                Ok(manifests) => made.extend(manifests),
                Err(why) => eprintln!("NOT CHECKED: manifests/operator, since {why}"),
            }
            let stale: Vec<_> = made.iter().filter(|file| !file.is_as_made(&cli.root)).collect();
            for file in &stale {
                eprintln!("{} is not as it is made: run `cargo run -p xtask -- generate`", file.path);
            }
            Ok(if stale.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn write_all(root: &Path, made: &[Made]) -> Result<()> {
    made.iter().try_for_each(|file| write(root, file))
}

fn write(root: &Path, file: &Made) -> Result<()> {
    let path = root.join(file.path);
    if file.is_as_made(root) {
        return Ok(());
    }
    let folder = path.parent().context("a file stands in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(&path, &file.text).with_context(|| format!("writing {}", path.display()))?;
    println!("{}", file.path);
    Ok(())
}
