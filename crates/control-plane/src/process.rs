//! A program that runs beside the test, and ends with it.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Lines of a log that a failure shows.
const LINES: usize = 20;

/// It is killed when this is dropped.
pub struct Process {
    program: PathBuf,
    flags: Vec<OsString>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts it; what it says goes to the end of this file.
    pub fn start(program: &Path, flags: &[OsString], log: &Path) -> Self {
        let child = spawn(program, flags, log);
        Self { program: program.to_owned(), flags: flags.to_vec(), log: log.to_owned(), child }
    }

    /// Kills it, and waits until it is gone.
    pub fn stop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it once more, after it was stopped.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.program, &self.flags, &self.log);
    }

    /// Nothing; or how it ended, and its last words.
    pub fn running(&mut self) -> Result<(), String> {
        match self.child.try_wait().expect("the state of a child") {
            None => Ok(()),
            Some(status) => Err(format!("{} ended with {status}:\n{}", self.program.display(), self.end_of_log())),
        }
    }

    /// Fails if it has ended.
    pub fn expect_running(&mut self) {
        self.running().unwrap_or_else(|why| panic!("{why}"));
    }

    /// Its last words.
    pub fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(program: &Path, flags: &[OsString], log: &Path) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(log).expect("a log");
    let mut command = Command::new(program);
    command.args(flags).stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

/// Ports that nobody listens at.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    // All are held before the first is given back, so they differ.
    let held = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("its address").port())
}
