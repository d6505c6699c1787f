//! Time for the requests in flight: one task that sweeps them every millisecond while there are any, and sleeps else.
//!
//! A sweep costs some nanoseconds an entry; a timer per request would cost more and need a task to wait on it.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};

use super::{Coordinator, Entry};

const TICK: Duration = Duration::from_millis(1);

/// Wakes the sweeping task when the first request arrives.
#[derive(Default)]
pub struct Ticker {
    wake: Notify,
}

impl Ticker {
    /// There is a request in flight.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Coordinator {
    /// Sweeps until `stop` turns true.
    pub async fn run_ticker(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            if self.in_flight() == 0 {
                tokio::select! {
                    () = self.ticker.wake.notified() => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
            tokio::time::sleep(TICK).await;
            self.sweep();
            if *stop.borrow() && self.in_flight() == 0 {
                return;
            }
        }
    }

    fn sweep(self: &Arc<Self>) {
        let now = self.clock.now_us();
        self.table.sweep(|id, entry| match entry {
            Entry::Put(entry) => self.put_time(id, entry, now),
            Entry::Get(entry) => self.get_time(id, entry, now),
            Entry::Forward(entry) => self.forward_time(id, entry, now),
        });
        self.begin_again(now);
    }
}
