//! One node's process: started, signalled, waited for.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, ChildStdin, Command},
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{layout::NodePlan, probe};
use crate::failure::Failure;

/// A node that is not ready by then is given up.
const READY_WITHIN: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// So much of a log is shown when a node ends early.
const LOG_TAIL_LINES: usize = 20;
const LOG_TAIL_BYTES: u64 = 16 << 10;

/// A process that was started. Dropping this stops the node: its standard input closes.
#[derive(Debug, Clone)]
pub struct NodeProcess {
    /// Its process id; another process may have it once this one has ended.
    pub pid: u32,
    /// Full means that signals are under way already.
    signals: mpsc::Sender<Signal>,
    ended: watch::Receiver<Option<ExitStatus>>,
    log: PathBuf,
    log_start: u64,
}

impl NodeProcess {
    /// Starts a node whose configuration is written. Its output goes to the end of its log.
    ///
    /// # Errors
    /// The log can't be opened, or the process not started.
    pub fn start(plan: &NodePlan) -> Result<Self, Failure> {
        let cannot = |error: io::Error| Failure::file(format!("can't start {}", plan.id), &error);
        let log = File::options().create(true).append(true).open(plan.log()).map_err(cannot)?;
        let log_start = log.metadata().map_err(cannot)?.len();
        let mut command = Command::new(this_program().map_err(cannot)?);
        command.arg("node").arg("--config").arg(plan.config()).arg("--exit-with-stdin");
        command.stdin(Stdio::piped()).stdout(log.try_clone().map_err(cannot)?).stderr(log);
        // A group of its own: Ctrl-C on the terminal reaches `dynamo local` alone, which stops the nodes in order.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(cannot)?;
        let pid = child.id().expect("nobody has waited for it");
        let stdin = child.stdin.take().expect("it is piped");
        let (signals, to_send) = mpsc::channel(4);
        let (ending, ended) = watch::channel(None);
        tokio::spawn(attend(child, stdin, to_send, ending));
        Ok(Self { pid, signals, ended, log: plan.log(), log_start })
    }

    /// Sends a signal, unless the process has ended.
    pub fn signal(&self, signal: Signal) {
        // Refused when the process ended, or when four signals wait to be sent: either way nothing is lost.
        let _ = self.signals.try_send(signal);
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.ended.borrow().is_none()
    }

    /// Waits for its end; says how it ended.
    pub async fn wait(&mut self) -> String {
        match self.ended.wait_for(Option::is_some).await {
            Ok(status) => status.map(|status| status.to_string()).unwrap_or_default(),
            Err(_) => "lost".to_owned(),
        }
    }

    /// Waits until the node serves.
    ///
    /// # Errors
    /// It ended, or was not ready in time: with the end of its log.
    pub async fn ready(&mut self, plan: &NodePlan) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        let http = plan.http();
        loop {
            let why = tokio::select! {
                status = self.wait() => format!("ended before it was ready ({status})"),
                ready = probe::is_ready(&http) => match ready {
                    true if self.is_running() => return Ok(()),
                    _ if Instant::now() < deadline => {
                        sleep(PROBE_EVERY).await;
                        continue;
                    }
                    _ => format!("was not ready within {} s", READY_WITHIN.as_secs()),
                },
            };
            let tail = log_tail(&self.log, self.log_start);
            let log = self.log.display();
            return Err(Failure::unavailable(format!("{} {why}. The end of its log, {log}:\n{tail}", plan.id)));
        }
    }
}

/// Owns the child: sends it signals while it lives, so that none can meet a stranger with its old pid, and reaps it.
async fn attend(
    mut child: Child,
    stdin: ChildStdin,
    mut to_send: mpsc::Receiver<Signal>,
    ending: watch::Sender<Option<ExitStatus>>,
) {
    loop {
        let signal = tokio::select! {
            status = child.wait() => {
                ending.send_replace(status.ok().or(Some(ExitStatus::default())));
                return;
            }
            signal = to_send.recv() => signal,
        };
        let Some(signal) = signal else { break };
        if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It fails only for a process that ended just now.
            let _ = kill_process(pid, signal);
        }
    }
    // Nobody is interested any more.
    drop(stdin);
    let status = child.wait().await;
    ending.send_replace(status.ok().or(Some(ExitStatus::default())));
}

/// This program, also where its file was replaced by a newer build since.
fn this_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.exists() { path } else { "/proc/self/exe".into() })
}

fn log_tail(log: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let length = fs::metadata(log)?.len();
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(LOG_TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        Ok(tail.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))
    };
    match read() {
        Ok(tail) if tail.is_empty() => "  (empty)".to_owned(),
        Ok(tail) => tail,
        Err(error) => format!("  (can't be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_of_this_start_only_and_of_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let old = "an earlier start\n";
        let new: String = (0..30).map(|number| format!("line {number}\n")).collect();
        fs::write(&log, format!("{old}{new}")).unwrap();
        let tail = log_tail(&log, old.len() as u64);
        assert_eq!(tail.lines().count(), LOG_TAIL_LINES);
        assert!(tail.ends_with("line 29") && !tail.contains("earlier"));
        assert_eq!(log_tail(&log, fs::metadata(&log).unwrap().len()), "  (empty)");
    }
}
