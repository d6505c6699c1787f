//! What a command ends with when it does not succeed: one sentence for people, and the exit code for scripts; the same ones as
//! `dynamo` has.

use std::{fmt, io, process::ExitCode};

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// There is no such thing.
    NotFound(String),
    /// The command line is wrong: the same again fails again.
    Usage(String),
    /// Kubernetes or the nodes can't be reached, or refuse.
    Unavailable(String),
    /// Whoever read our output went away (`kubectl dynamo status | head`): no failure at all.
    BrokenPipe,
}

impl Failure {
    /// What the API server said, and what was tried.
    pub fn api(doing: impl fmt::Display, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 403 => Self::Unavailable(format!(
                "{doing}: you have no right to: {}. Nothing was changed; ask who manages this namespace",
                status.message
            )),
            kube::Error::Api(status) => Self::Unavailable(format!("{doing}: {}", status.message)),
            error => Self::Unavailable(format!("{doing}: Kubernetes does not answer ({error}); nothing was changed")),
        }
    }

    /// Says it on standard error and gives the code.
    pub fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::NotFound(message) => (1, message),
            Self::Usage(message) => (2, message),
            Self::Unavailable(message) => (3, message),
            Self::BrokenPipe => return ExitCode::SUCCESS,
        };
        eprintln!("error: {message}");
        ExitCode::from(code)
    }
}

/// Errors of writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Unavailable(format!("can't write to standard output: {error}")),
        }
    }
}
