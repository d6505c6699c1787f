//! What a command ends with when it does not succeed: one sentence for people, and the exit code for scripts.

use std::{fmt, io, process::ExitCode};

use dynamo_client::Code;

/// The exit codes, as `dynamo --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Nothing there; a load or verify with failures; or a node that must not be switched off.
    NotFound = 1,
    /// The command line, the bucket or the context is wrong: the same again fails again.
    Usage = 2,
    /// Not enough replicas, nobody reached, or something broke: the same again may succeed.
    Unavailable = 3,
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// Tell the person, exit with the code.
    Told(Exit, String),
    /// Everything was said already.
    Silent(Exit),
    /// Whoever read our output went away (`dynamo ring | head`): no failure at all.
    BrokenPipe,
}

impl Failure {
    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Told(Exit::Usage, message.into())
    }

    /// Something that may pass, or that nobody expected.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Told(Exit::Unavailable, message.into())
    }

    /// Nothing there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::Told(Exit::NotFound, message.into())
    }

    /// A file that can't be used: `doing` says what was tried.
    pub fn file(doing: impl fmt::Display, error: &io::Error) -> Self {
        Self::Told(Exit::Unavailable, format!("{doing}: {error}"))
    }

    /// Says it on standard error and gives the code.
    pub fn report(self) -> ExitCode {
        match self {
            Self::Told(exit, message) => {
                eprintln!("error: {message}");
                ExitCode::from(exit as u8)
            }
            Self::Silent(exit) => ExitCode::from(exit as u8),
            Self::BrokenPipe => ExitCode::SUCCESS,
        }
    }
}

impl From<dynamo_client::Error> for Failure {
    fn from(error: dynamo_client::Error) -> Self {
        Self::Told(exit_of(&error.code), error.to_string())
    }
}

/// The exit code of a refused request.
pub fn exit_of(code: &Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::UnknownBucket | Code::BadContext | Code::BucketConflict => Exit::Usage,
        Code::BadEndpoint | Code::NotAllowed | Code::BadCredentials | Code::Untrusted => Exit::Usage,
        Code::UnknownNode => Exit::NotFound,
        _ => Exit::Unavailable,
    }
}

/// Errors of writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::unavailable(format!("can't write to standard output: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_same_request_would_meet_again_is_wrong_usage_and_the_rest_is_not() {
        for code in [
            Code::InvalidArgument,
            Code::UnknownBucket,
            Code::BadContext,
            Code::BucketConflict,
            Code::BadEndpoint,
            Code::NotAllowed,
            Code::BadCredentials,
            Code::Untrusted,
        ] {
            assert_eq!(exit_of(&code), Exit::Usage);
        }
        for code in [Code::NotEnoughReplicas, Code::Unreachable, Code::Timeout, Code::DiskFull, Code::RingConflict] {
            assert_eq!(exit_of(&code), Exit::Unavailable);
        }
        assert_eq!(exit_of(&Code::UnknownNode), Exit::NotFound);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let broken = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(broken, Failure::BrokenPipe));
        assert!(matches!(Failure::from(io::Error::other("disk")), Failure::Told(Exit::Unavailable, _)));
    }
}
