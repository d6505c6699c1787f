//! `dynamo ring`, `dynamo node`, and what `dynamo local` does to the ring, against a fake node: what is asked of it, what a person and a program see of its answers.

mod asked;
mod fake;
mod local;
mod made;
mod refused;
mod seen;
mod watched;

use std::{
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use fake::Fake;
use serde_json::Value;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A fake node that serves.
fn fake() -> Fake {
    RUNTIME.block_on(Fake::start())
}

/// `dynamo` with these arguments, against the fake; nobody sits at its input.
fn command(fake: &Fake, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dynamo"));
    command.args(line.split_whitespace()).env("DYNAMO_ENDPOINT", &fake.address);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a command ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn run(fake: &Fake, line: &str) -> Ended {
    command(fake, line).output().unwrap().into()
}

/// Standard output of a command that succeeds.
fn ok(fake: &Fake, line: &str) -> String {
    let Ended { code, out, err } = run(fake, line);
    assert_eq!(code, 0, "{line}: {out}{err}");
    out
}

fn json(fake: &Fake, line: &str) -> Value {
    serde_json::from_str(&ok(fake, &format!("{line} -o json"))).unwrap()
}
