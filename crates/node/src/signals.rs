//! When the process is told to stop: once to stop in order, twice to end at once.

use std::io;

use tokio::{
    io::AsyncReadExt,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// The signals that mean "stop".
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    with_stdin: bool,
}

impl Signals {
    /// From now on, signals are held back until somebody listens. `with_stdin`: the end of standard input means "stop"
    /// too, and SIGINT means nothing: the parent process gets the terminal's Ctrl-C as well, and stops its nodes in order.
    ///
    /// # Errors
    /// The system refused.
    pub fn listen(with_stdin: bool) -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, with_stdin })
    }

    /// Sends `stop` when told to stop; returns when told again.
    pub async fn told_twice(mut self, stop: watch::Sender<bool>) {
        tokio::select! {
            () = self.told() => {}
            () = stdin_closed(), if self.with_stdin => {}
        }
        let _ = stop.send(true);
        self.told().await;
    }

    async fn told(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => if !self.with_stdin { return },
            }
        }
    }
}

async fn stdin_closed() {
    let mut buffer = [0; 64];
    let mut stdin = tokio::io::stdin();
    while stdin.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rustix::process::{Signal as Number, getpid, kill_process};

    use super::*;

    fn send(number: Number) {
        kill_process(getpid(), number).unwrap();
    }

    /// One test: signals go to the whole process.
    #[tokio::test]
    async fn the_second_of_either_signal_ends_at_once_and_the_parents_ctrl_c_is_ignored() {
        for first in [Number::TERM, Number::INT] {
            for second in [Number::TERM, Number::INT] {
                let (stop, mut stopped) = watch::channel(false);
                let told = tokio::spawn(Signals::listen(false).unwrap().told_twice(stop));
                send(first);
                stopped.wait_for(|stop| *stop).await.unwrap();
                assert!(!told.is_finished());
                send(second);
                told.await.unwrap();
            }
        }
        let mut under_a_parent = Signals::listen(true).unwrap();
        let mut delivered = signal(SignalKind::interrupt()).unwrap();
        send(Number::INT);
        delivered.recv().await;
        assert!(under_a_parent.told().now_or_never().is_none());
        send(Number::TERM);
        under_a_parent.told().await;
    }
}
