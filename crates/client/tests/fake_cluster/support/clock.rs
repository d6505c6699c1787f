//! Time that passes when the test says so, while sockets go on in real time.

use std::{future::Future, pin::pin, sync::mpsc, time::Duration};

use tokio::time::Instant;

/// So much passes at once.
const STEP: Duration = Duration::from_millis(250);
/// Real time after each step, for messages on their way.
const SETTLE: Duration = Duration::from_millis(5);

/// A stopped clock.
pub struct Clock {
    /// Tokio moves a stopped clock by itself when it has nothing to do, and waiting for a socket looks like that. It
    /// does not while there is blocking work: this is some, until it is dropped.
    _work: mpsc::Sender<()>,
}

impl Clock {
    /// Stops the clock of this test. Only on a runtime of one thread.
    pub fn stop() -> Self {
        let (work, ended) = mpsc::channel();
        tokio::task::spawn_blocking(move || ended.recv());
        tokio::time::pause();
        Self { _work: work }
    }

    /// Lets time pass until the future is ready, and says how much that was.
    pub async fn pass<F: Future>(&self, future: F) -> (F::Output, Duration) {
        let began = Instant::now();
        let mut future = pin!(future);
        loop {
            let settled = tokio::task::spawn_blocking(|| std::thread::sleep(SETTLE));
            tokio::select! {
                biased;
                ready = &mut future => return (ready, began.elapsed()),
                _ = settled => {}
            }
            tokio::time::advance(STEP).await;
            assert!(began.elapsed() < Duration::from_secs(3600), "it waits for ever");
        }
    }
}
