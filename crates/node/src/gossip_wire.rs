//! Gossip's messages to and from protobuf. What makes no sense is dropped: it came from outside.

use bytes::Bytes;
use dynamo_gossip::{Bucket, BucketMode, Digest, Disk, Load, Message, NodeInfo, Phase, Version};
use dynamo_ring::NodeId;
use dynamo_wire::v1::{
    GossipAck, GossipBucket, GossipBuckets, GossipDelta, GossipDigest, GossipMessage, GossipNode, GossipPing,
    GossipPingReply, GossipPingRequest, GossipVersion, gossip_digest::Entry, gossip_message::Message as Wire,
};

/// A node id as 16 bytes.
pub fn id_to_wire(id: NodeId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

/// A node id from 16 bytes.
pub fn id_from_wire(bytes: &[u8]) -> Option<NodeId> {
    Some(NodeId(u128::from_be_bytes(bytes.try_into().ok()?)))
}

/// A message for a peer.
pub fn to_wire(message: Message) -> GossipMessage {
    let message = match message {
        Message::Digest(digest) => Wire::Digest(digest_to_wire(digest)),
        Message::Delta { nodes, digest } => Wire::Delta(GossipDelta {
            nodes: nodes.into_iter().map(node_to_wire).collect(),
            digest: digest.map(digest_to_wire),
        }),
        Message::Ping { seq } => Wire::Ping(GossipPing { seq }),
        Message::Ack { seq } => Wire::Ack(GossipAck { seq }),
        Message::PingRequest { target, seq } => {
            Wire::PingRequest(GossipPingRequest { target: id_to_wire(target), seq })
        }
        Message::PingReply { target, seq } => {
            Wire::PingReply(GossipPingReply { target: id_to_wire(target), seq, reached: true })
        }
        Message::Buckets(buckets) => {
            Wire::Buckets(GossipBuckets { buckets: buckets.iter().map(bucket_to_wire).collect() })
        }
    };
    GossipMessage { message: Some(message) }
}

/// A peer's message.
pub fn from_wire(message: Wire) -> Option<Message> {
    Some(match message {
        Wire::Digest(digest) => Message::Digest(digest_from_wire(digest)),
        Wire::Delta(delta) => Message::Delta {
            nodes: delta.nodes.into_iter().filter_map(node_from_wire).collect(),
            digest: delta.digest.map(digest_from_wire),
        },
        Wire::Ping(ping) => Message::Ping { seq: ping.seq },
        Wire::Ack(ack) => Message::Ack { seq: ack.seq },
        Wire::PingRequest(request) => Message::PingRequest { target: id_from_wire(&request.target)?, seq: request.seq },
        Wire::PingReply(reply) if reply.reached => {
            Message::PingReply { target: id_from_wire(&reply.target)?, seq: reply.seq }
        }
        Wire::PingReply(_) => return None,
        Wire::Buckets(buckets) => Message::Buckets(buckets.buckets.into_iter().filter_map(bucket_from_wire).collect()),
    })
}

fn digest_to_wire(digest: Digest) -> GossipDigest {
    let entry = |(id, version)| Entry { id: id_to_wire(id), version: Some(version_to_wire(version)) };
    GossipDigest { entries: digest.entries.into_iter().map(entry).collect(), buckets: digest.buckets, answer: true }
}

fn digest_from_wire(digest: GossipDigest) -> Digest {
    let entry = |entry: Entry| Some((id_from_wire(&entry.id)?, version_from_wire(entry.version)));
    Digest { entries: digest.entries.into_iter().filter_map(entry).collect(), buckets: digest.buckets }
}

fn version_to_wire(Version { generation, number }: Version) -> GossipVersion {
    GossipVersion { generation, number }
}

fn version_from_wire(version: Option<GossipVersion>) -> Version {
    version.map(|GossipVersion { generation, number }| Version { generation, number }).unwrap_or_default()
}

fn node_to_wire((info, version): (NodeInfo, Version)) -> GossipNode {
    GossipNode {
        id: id_to_wire(info.id),
        version: Some(version_to_wire(version)),
        name: info.name,
        zone: info.zone,
        weight: info.weight,
        incarnation: info.incarnation,
        peer_address: info.peer_addr,
        client_address: info.client_addr,
        phase: info.phase as u32,
        disk: info.disk as u32,
        keys: info.load.keys,
        tombstones: info.load.tombstones,
        bytes: info.load.bytes,
        hints: info.load.hints_held,
        disk_free: info.load.disk_free,
        ring_epoch: info.ring_epoch,
        ring_version: info.ring_version,
        leftovers: info.leftovers,
        refilling: info.refilling,
        protocol: info.protocol,
        protocol_lowest: info.protocol_lowest,
        certificate_problem: info.certificate_problem,
        certificate: info.certificate,
        certificate_until_s: info.certificate_until_s,
        trusted: info.trusted,
        certificate_signed_by: info.certificate_signed_by,
    }
}

fn node_from_wire(node: GossipNode) -> Option<(NodeInfo, Version)> {
    let info = NodeInfo {
        id: id_from_wire(&node.id)?,
        name: node.name,
        zone: node.zone,
        weight: node.weight,
        incarnation: node.incarnation,
        peer_addr: node.peer_address,
        client_addr: node.client_address,
        phase: match node.phase {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        },
        disk: match node.disk {
            0 => Disk::Ok,
            1 => Disk::Full,
            _ => Disk::Failing,
        },
        load: Load {
            keys: node.keys,
            tombstones: node.tombstones,
            bytes: node.bytes,
            hints_held: node.hints,
            disk_free: node.disk_free,
        },
        ring_epoch: node.ring_epoch,
        ring_version: node.ring_version,
        leftovers: node.leftovers,
        refilling: node.refilling,
        protocol: node.protocol,
        protocol_lowest: node.protocol_lowest,
        certificate_problem: node.certificate_problem,
        certificate: node.certificate,
        certificate_until_s: node.certificate_until_s,
        trusted: node.trusted,
        certificate_signed_by: node.certificate_signed_by,
    };
    Some((info, version_from_wire(node.version)))
}

/// A bucket for a peer, or for this node's disk.
pub fn bucket_to_wire(bucket: &Bucket) -> GossipBucket {
    GossipBucket {
        name: bucket.name.clone(),
        mode: match bucket.mode {
            BucketMode::Siblings => 1,
            BucketMode::LastWriteWins => 2,
        },
        r: bucket.r.unwrap_or(0).into(),
        w: bucket.w.unwrap_or(0).into(),
        strict: bucket.strict,
        created_ms: bucket.created.0,
        created_by: id_to_wire(bucket.created.1),
    }
}

/// A bucket from a peer, or from this node's disk.
pub fn bucket_from_wire(bucket: GossipBucket) -> Option<Bucket> {
    crate::buckets::check_name(&bucket.name).ok()?;
    let quorum = |value: u32| u8::try_from(value).ok().map(|value| (value > 0).then_some(value));
    Some(Bucket {
        mode: match bucket.mode {
            1 => BucketMode::Siblings,
            2 => BucketMode::LastWriteWins,
            _ => return None,
        },
        r: quorum(bucket.r)?,
        w: quorum(bucket.w)?,
        strict: bucket.strict,
        created: (bucket.created_ms, id_from_wire(&bucket.created_by)?),
        name: bucket.name,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn decoded(bytes: &[u8]) -> Option<Message> {
        from_wire(GossipMessage::decode(bytes).ok()?.message?)
    }

    /// One message of each kind, with something in every field.
    fn examples() -> Vec<Message> {
        let info = NodeInfo {
            id: NodeId(7),
            name: "node-1".into(),
            zone: "zone-a".into(),
            weight: 3,
            incarnation: 1_700_000_000_000,
            peer_addr: "node-1:8400".into(),
            client_addr: "node-1:7400".into(),
            phase: Phase::Draining,
            disk: Disk::Failing,
            load: Load { keys: 1, tombstones: 2, bytes: 3, hints_held: 4, disk_free: 5 },
            ring_epoch: 6,
            ring_version: 21,
            leftovers: 22,
            refilling: 23,
            protocol: 24,
            protocol_lowest: 22,
            certificate_problem: "it has expired".into(),
            certificate: "ab".repeat(32),
            certificate_until_s: 25,
            trusted: vec!["cd".repeat(32), "ef".repeat(32)],
            certificate_signed_by: "cd".repeat(32),
        };
        let version = Version { generation: 8, number: 9 };
        let digest =
            Digest { entries: vec![(NodeId(7), version), (NodeId(u128::MAX), Version::default())], buckets: 11 };
        let bucket =
            |mode, r| Bucket { name: "carts".into(), mode, r, w: None, strict: true, created: (12, NodeId(7)) };
        vec![
            Message::Digest(digest.clone()),
            Message::Delta { nodes: vec![(info, version)], digest: Some(digest) },
            Message::Delta { nodes: vec![], digest: None },
            Message::Ping { seq: 1 },
            Message::Ack { seq: u64::MAX },
            Message::PingRequest { target: NodeId(7), seq: 2 },
            Message::PingReply { target: NodeId(7), seq: 3 },
            Message::Buckets(vec![bucket(BucketMode::Siblings, None), bucket(BucketMode::LastWriteWins, Some(2))]),
        ]
    }

    #[test]
    fn every_kind_of_message_comes_back_as_it_was_sent() {
        for message in examples() {
            assert_eq!(decoded(&to_wire(message.clone()).encode_to_vec()), Some(message));
        }
    }

    #[test]
    fn rubbish_is_no_message_or_one_that_can_be_sent_on() {
        let examples: Vec<_> = examples().into_iter().map(|message| to_wire(message).encode_to_vec()).collect();
        bolero::check!().with_iterations(50_000).with_type::<(u8, Vec<(u16, u8)>, Vec<u8>)>().for_each(
            |(which, flips, tail)| {
                let mut bytes = examples.get(usize::from(*which) % (examples.len() + 1)).cloned().unwrap_or_default();
                for (place, flip) in flips {
                    let place = usize::from(*place) % bytes.len().max(1);
                    bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= flip);
                }
                bytes.extend_from_slice(tail);
                if let Some(message) = decoded(&bytes) {
                    assert_eq!(decoded(&to_wire(message.clone()).encode_to_vec()), Some(message));
                }
            },
        );
    }
}
