//! Whom this node talks to: a peer and its two links for each node of the ring and each that is to be, made when it is
//! first heard of and retired when it has left.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use dynamo_ring::NodeId;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::watch};

use crate::{
    clock::Clock,
    cluster::{Links, Peer},
    link::{Class, Link, LinkEvents, StreamIdentity},
};

/// The peers that there are.
pub struct Network {
    me: NodeId,
    stream: StreamIdentity,
    clock: Clock,
    runtime: Handle,
    /// Turns true when the node stops.
    end: watch::Sender<bool>,
    events: OnceLock<Arc<dyn LinkEvents>>,
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
}

impl Network {
    /// Nobody yet but this node. Its links run once [`Network::start`] was called.
    pub fn new(me: NodeId, stream: StreamIdentity, clock: Clock, runtime: Handle) -> Arc<Self> {
        let (end, events) = (watch::Sender::new(false), OnceLock::new());
        let peers = Mutex::new(BTreeMap::from([(me, Arc::new(Peer::new(me, None)))]));
        Arc::new(Self { me, stream, clock, runtime, end, events, peers })
    }

    /// Runs the links, of those that are known and of those that come.
    pub fn start(&self, events: Arc<dyn LinkEvents>) {
        let peers = self.peers.lock();
        if self.events.set(events).is_ok() {
            peers.values().for_each(|peer| self.run(peer));
        }
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// Ends all links.
    pub fn stop(&self) {
        self.end.send_replace(true);
    }

    /// Exactly these and this node are talked to from now on: new ones at the address that is known of them.
    pub fn set(&self, ids: impl IntoIterator<Item = NodeId>, address: impl Fn(NodeId) -> String) -> Vec<Arc<Peer>> {
        let mut peers = self.peers.lock();
        let mut kept = BTreeMap::new();
        for id in ids.into_iter().chain([self.me]) {
            let peer = peers.remove(&id).or_else(|| kept.get(&id).cloned()).unwrap_or_else(|| {
                let peer = Arc::new(Peer::new(id, Some(self.links(id, &address(id)))));
                if self.events.get().is_some() {
                    self.run(&peer);
                }
                peer
            });
            kept.insert(id, peer);
        }
        for links in peers.values().filter_map(|peer| peer.links.as_ref()) {
            links.foreground.retire();
            links.background.retire();
        }
        *peers = kept;
        peers.values().cloned().collect()
    }

    fn links(&self, id: NodeId, address: &str) -> Links {
        let link = |class| Arc::new(Link::new(id, class, address.to_owned(), self.clock));
        Links { foreground: link(Class::Foreground), background: link(Class::Background) }
    }

    fn run(&self, peer: &Peer) {
        let (Some(links), Some(events)) = (&peer.links, self.events.get()) else { return };
        for link in [&links.foreground, &links.background] {
            self.runtime.spawn(link.clone().run(self.stream.clone(), events.clone(), self.end.subscribe()));
        }
    }
}
