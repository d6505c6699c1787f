//! Ports for nodes that a test starts.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// One with which nobody listens now, on any of so many nodes' addresses; no two tests of this process get the same.
pub fn free(nodes: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 3100 + (std::process::id() % 80) as u16 * 10;
    let is_free = |port: u16| {
        let addresses =
            (1..=nodes).flat_map(|host| [0, 1000, 2000].map(|above| format!("127.0.0.{host}:{}", port + above)));
        addresses.into_iter().all(|address| TcpListener::bind(address).is_ok())
    };
    (0..500).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed)).find(|port| is_free(*port)).expect("a free port")
}
