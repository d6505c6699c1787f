//! Whom a node that starts meets before it takes requests: who began without the others would find too few replicas for its
//! first ones (§4.8). It waits for nobody for long, since somebody has to be the first, and may be the only one.

use std::time::Duration;

use dynamo_gossip::PeerState;
use dynamo_ring::NodeId;
use tokio::{sync::watch, time::timeout};

use crate::{
    cluster::{Peer, Standing},
    coordinator::Coordinator,
    keeping::Line,
    membership::Membership,
};

/// How often it is looked at who has come.
const LOOK: Duration = Duration::from_millis(5);

/// A node that starts, and what it knows of the others.
pub struct Meeting<'a> {
    pub coordinator: &'a Coordinator,
    pub membership: &'a Membership,
    /// Who has answered already.
    pub answered: &'a [NodeId],
    /// How long connecting may take.
    pub patience: Duration,
}

impl Meeting<'_> {
    /// Waits for those that are up, and for what they say of this node's disk. One that nobody answers waits until somebody
    /// does, as long as it suspects itself: its machine may be on the network a moment later only, and until then clients
    /// are better served by any other node.
    pub async fn wait(&self, line: &mut watch::Receiver<Line>) {
        let told = line.wait_for(|line| *line != Line::Asked);
        let met = async { tokio::join!(told, self.until(|peer| !self.is_awaited(peer))) };
        let _ = timeout(self.patience, met).await;
        if !self.is_alone() {
            return;
        }
        tracing::info!("nobody answers this node yet: requests are taken once somebody does, or soon without");
        while self.is_alone() {
            tokio::time::sleep(LOOK).await;
        }
        // Who has answered is seldom the only one to be there by now.
        let told = line.wait_for(|line| *line != Line::Asked);
        let met = async { tokio::join!(told, self.until(|peer| self.is_settled(peer))) };
        let _ = timeout(self.patience, met).await;
    }

    async fn until(&self, holds: impl Fn(&Peer) -> bool) {
        while !self.coordinator.cluster.view().peers().iter().all(|peer| holds(peer)) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_alone(&self) -> bool {
        let has_peers = self.coordinator.cluster.view().peers().len() > 1;
        has_peers && self.membership.with(|machine| machine.suspects_itself(self.coordinator.clock.now_us()))
    }

    /// Known to run, and not connected yet.
    fn is_awaited(&self, peer: &Peer) -> bool {
        self.answered.contains(&peer.id) && peer.links.is_some() && peer.standing() == Standing::Down
    }

    /// It is known whether it is there; and it is connected, if it is.
    fn is_settled(&self, peer: &Peer) -> bool {
        let Some(links) = &peer.links else { return true };
        match self.membership.with(|machine| machine.state(peer.id)) {
            PeerState::Unknown => false,
            PeerState::Up => links.foreground.is_open(),
            PeerState::Suspect | PeerState::Down => true,
        }
    }
}
