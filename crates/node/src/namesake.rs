//! Two processes with one name: the second is refused, by whoever it meets, as long as the first is alive.
//!
//! A node's id is made of its name, so that two of the same name would take turns at being one node: each would be told
//! what is meant for the other, and neither would have all that it acknowledged. A node that comes back at another
//! address, with its disk or an empty one, is no namesake: nobody answers for it where it was.

use std::{sync::Arc, time::Duration};

use dynamo_gossip::Message;
use dynamo_ring::NodeId;
use dynamo_wire::v1::GossipReceipt;
use futures_util::future::join_all;
use tonic::{Code, Status};

use crate::{gossip_wire, membership::Membership};

/// A host that is gone may not even refuse; who asks waits for this and its own receipt.
const PATIENCE: Duration = Duration::from_millis(250);

/// Means nothing to who takes it, but says who sends it, and from where.
const GREETING: Message = Message::Ping { seq: 0 };

impl Membership {
    /// Says who this is, wherever others may be found; and who answered.
    ///
    /// # Errors
    /// Somebody knows another process that bears this name, and is alive.
    pub async fn introduce(self: &Arc<Self>, addresses: Vec<String>) -> anyhow::Result<Vec<NodeId>> {
        let greet = async |address: String| {
            let receipt = self.hand_over((&address, None), self.my_address(), GREETING).await;
            (address, receipt)
        };
        let mut answered = Vec::new();
        for (address, receipt) in join_all(addresses.into_iter().map(greet)).await {
            let refusal = match receipt {
                Ok(receipt) => {
                    answered.extend(gossip_wire::id_from_wire(&receipt.from));
                    continue;
                }
                Err(refusal) => refusal,
            };
            match refusal.code() {
                Code::AlreadyExists => return Err(anyhow::anyhow!("{}", refusal.message())),
                Code::FailedPrecondition => tracing::error!(address, "refused: {}", refusal.message()),
                // Not up yet, or not to be reached: it hears of this node by gossip.
                _ => {}
            }
        }
        Ok(answered)
    }

    /// That this node is alive, who it is, and where.
    pub fn receipt(&self) -> GossipReceipt {
        GossipReceipt { from: gossip_wire::id_to_wire(self.me()), address: self.my_address().to_owned() }
    }

    /// A node speaks from `address`. If another address is known of it, it has moved, unless it answers there.
    ///
    /// # Errors
    /// It does.
    pub async fn check_namesake(&self, from: NodeId, address: &str) -> Result<(), Status> {
        let known = self.address(from);
        if address.is_empty() || known.is_empty() || known == address {
            return Ok(());
        }
        if from != self.me() {
            // From nowhere: who is asked does not ask in turn.
            let asked = self.hand_over((&known, None), "", GREETING);
            let Ok(Ok(receipt)) = tokio::time::timeout(PATIENCE, asked).await else { return Ok(()) };
            // One process may be found at several addresses: the configured one, and the one that it gives.
            let is_another = gossip_wire::id_from_wire(&receipt.from) == Some(from) && receipt.address != address;
            if !is_another {
                return Ok(());
            }
        }
        let name = self.with(|machine| machine.info(from).map(|info| info.name.clone())).unwrap_or_default();
        Err(Status::already_exists(format!(
            "{name} is alive at {known}, and another node of the same name, at {address}, is refused: nothing was taken from it; stop the one that is alive, or give the other a node.name of its own"
        )))
    }
}
