//! What a client knows of its cluster: the ring, and where its members are reached.

use std::{sync::Arc, time::Duration};

use dynamo_ring::{Position, Ring};
use dynamo_wire::v1::{DescribeRingRequest, DescribeRingResponse, kv_client::KvClient};
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::{
    error::{Code, Error, cause_of, no_node},
    nodes::{Nodes, unreachable, untrusted},
};

/// A map is learnt anew after this time, so that a client sees changes that it does not stumble upon.
const AGE_MAX: Duration = Duration::from_secs(60);
/// The same while it lacks addresses, as in a cluster that has just begun.
const AGE_INCOMPLETE: Duration = Duration::from_secs(1);
/// The ring's description is larger than this for no ring that can be made.
const DESCRIPTION_BYTES: usize = 64 << 20;

/// The ring, and where its members are reached.
pub(crate) struct Map {
    cluster: String,
    pub(crate) ring: Arc<Ring>,
    /// Client addresses, by index of the ring's members; empty while unknown.
    addresses: Vec<Arc<str>>,
    learnt: Instant,
    /// How long it is good.
    age_max: Duration,
}

impl Map {
    /// As a node describes it.
    pub(crate) fn of(description: &DescribeRingResponse) -> Result<Self, Error> {
        let ring = Ring::decode(&description.ring).map_err(|error| {
            let message = format!(
                "the ring of cluster {:?} can't be read ({error}): nothing was read or written; is this client older than the cluster?",
                description.cluster
            );
            Error::new(Code::Internal, message)
        })?;
        let address = |id: String| {
            let described = description.members.iter().find(|member| member.id == id);
            described.map_or("", |member| member.client_address.as_str()).into()
        };
        let addresses = ring.members().iter().map(|member| address(member.id.to_string())).collect();
        let cluster = description.cluster.clone();
        let map = Self { cluster, ring: Arc::new(ring), addresses, learnt: Instant::now(), age_max: AGE_MAX };
        Ok(map.with_age())
    }

    /// `newer` in place of this one, if it is one of the same cluster that a node which lags behind has not made up.
    /// Addresses that it lacks stay as they are.
    pub(crate) fn followed_by(&self, mut newer: Self) -> Result<Self, Error> {
        if newer.cluster != self.cluster {
            let message =
                format!("a node of cluster {:?} answers in place of one of {:?}", newer.cluster, self.cluster);
            return Err(Error::new(Code::BadEndpoint, message));
        }
        if newer.ring.epoch() < self.ring.epoch() {
            let (theirs, ours) = (newer.ring.epoch(), self.ring.epoch());
            return Err(Error::new(Code::NotReady, format!("the node has ring {theirs}, and ours is {ours}")));
        }
        for (member, address) in newer.ring.members().iter().zip(&mut newer.addresses) {
            if address.is_empty()
                && let Some(known) = self.ring.members().iter().position(|known| known.id == member.id)
            {
                *address = self.addresses[known].clone();
            }
        }
        Ok(newer.with_age())
    }

    fn with_age(mut self) -> Self {
        let complete = self.addresses.iter().all(|address| !address.is_empty());
        self.age_max = if complete { AGE_MAX } else { AGE_INCOMPLETE };
        self
    }

    /// Whether to learn it anew.
    pub(crate) fn is_old(&self) -> bool {
        self.learnt.elapsed() > self.age_max
    }

    /// The nodes for a key, as far as their addresses are known: its homes in order of preference, then the fallbacks.
    pub(crate) fn walk(&self, key: &[u8]) -> impl Iterator<Item = &Arc<str>> {
        let partition = self.ring.partitions().partition_of(Position::of(key));
        let walk = self.ring.walk_ids(partition).iter().map(|index| &self.addresses[usize::from(*index)]);
        walk.filter(|address| !address.is_empty())
    }

    /// All known addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Arc<str>> {
        self.addresses.iter().filter(|address| !address.is_empty())
    }
}

/// Asks a node for the ring, within the time of a connection.
pub(crate) async fn describe(nodes: &Nodes, address: &str) -> Result<DescribeRingResponse, Error> {
    let asking = async {
        let mut client = KvClient::new(nodes.line(address).await?).max_decoding_message_size(DESCRIPTION_BYTES);
        match client.describe_ring(DescribeRingRequest {}).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(not_described(&status, address)),
        }
    };
    timeout(nodes.connect_timeout(), asking).await.unwrap_or_else(|_| {
        let message = format!(
            "{address} does not answer: nothing was read or written; is it a node, and is it running? Try again, or name another endpoint"
        );
        Err(Error::new(Code::Unreachable, message))
    })
}

/// Whatever listens there did not answer a node's call as a node does.
fn not_described(status: &Status, address: &str) -> Error {
    use std::error::Error as _;
    if let Some(error) = Error::named_by(status) {
        return error;
    }
    if let Some(why) = dynamo_tls::refusal(status) {
        return untrusted(address, &why);
    }
    let cause = cause_of(status);
    match status.code() {
        tonic::Code::Unimplemented => Error::new(Code::BadEndpoint, no_node(address)),
        // It was no HTTP/2 at all, or a gRPC server's own words.
        tonic::Code::Internal => bad(address, &cause),
        _ if status.source().is_none() => bad(address, &cause),
        _ => {
            let wants = "does it want TLS (--tls-ca), or a certificate of yours?";
            unreachable(address, &format!("it accepts the connection and ends it: {cause}; {wants}"))
        }
    }
}

fn bad(address: &str, cause: &str) -> Error {
    let message = format!(
        "{address} does not answer as a node of a Dynamo cluster ({cause}): nothing was read or written; check the address, and whether it wants TLS (--tls-ca) or has none"
    );
    Error::new(Code::BadEndpoint, message)
}

#[cfg(test)]
mod tests {
    use dynamo_ring::{Member, NodeId, PartitionCount};
    use dynamo_wire::v1::RingMember;

    use super::*;

    fn description(cluster: &str, addresses: [&str; 2]) -> DescribeRingResponse {
        let member = |name: &str| Member {
            id: NodeId::initial(cluster, name),
            name: name.to_owned(),
            zone: name.to_owned(),
            weight: 1,
        };
        let members = vec![member("one"), member("two")];
        let described = members.iter().zip(addresses).map(|(member, address)| RingMember {
            id: member.id.to_string(),
            client_address: address.to_owned(),
            ..RingMember::default()
        });
        let members_described = described.collect();
        let ring = Ring::bootstrap(2, PartitionCount::try_from(8).unwrap(), members).unwrap();
        DescribeRingResponse {
            cluster: cluster.to_owned(),
            members: members_described,
            ring: ring.encode().into(),
            ..DescribeRingResponse::default()
        }
    }

    fn map(cluster: &str, addresses: [&str; 2]) -> Map {
        Map::of(&description(cluster, addresses)).unwrap()
    }

    fn addresses(map: &Map) -> Vec<&str> {
        let mut addresses: Vec<&str> = map.addresses().map(AsRef::as_ref).collect();
        addresses.sort_unstable();
        addresses
    }

    #[tokio::test(start_paused = true)]
    async fn a_map_that_lacks_addresses_is_old_sooner_than_a_complete_one() {
        let (complete, incomplete) = (map("shop", ["a:1", "b:1"]), map("shop", ["a:1", ""]));
        assert!(!complete.is_old() && !incomplete.is_old());
        tokio::time::advance(AGE_INCOMPLETE * 2).await;
        assert!(!complete.is_old() && incomplete.is_old());
        tokio::time::advance(AGE_MAX).await;
        assert!(complete.is_old());
    }

    #[tokio::test]
    async fn a_newer_map_keeps_the_addresses_that_it_lacks() {
        let newer = map("shop", ["a:1", "b:1"]).followed_by(map("shop", ["a:2", ""])).unwrap();
        assert_eq!(addresses(&newer), ["a:2", "b:1"]);
    }

    #[tokio::test]
    async fn the_ring_of_another_cluster_at_a_known_address_is_not_taken() {
        let error = map("shop", ["a:1", "b:1"]).followed_by(map("farm", ["a:1", "b:1"])).map(|_| ()).unwrap_err();
        assert!(error.message.contains("farm") && error.message.contains("shop"), "{error}");
    }

    #[tokio::test]
    async fn a_ring_that_can_not_be_read_is_an_error_and_no_panic() {
        for ring in [&b""[..], b"ring", &[255; 100]] {
            let described = DescribeRingResponse {
                ring: bytes::Bytes::copy_from_slice(ring),
                ..description("shop", ["a:1", "b:1"])
            };
            assert_eq!(Map::of(&described).map(|_| ()).unwrap_err().code, Code::Internal);
        }
    }

    #[tokio::test]
    async fn a_walk_passes_over_members_whose_address_is_unknown() {
        let map = map("shop", ["a:1", ""]);
        assert_eq!(map.walk(b"key").map(AsRef::as_ref).collect::<Vec<&str>>(), ["a:1"]);
    }
}
