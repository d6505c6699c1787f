//! `dynamo ring` by itself: who holds how much of the ring, and where a key lives (§4.2, §4.3).

use clap::Args;
use dynamo_ring::{Position, Ring};
use dynamo_wire::v1;
use serde_json::{Value, json};

use crate::{args, change::preview::counted, failure::Failure, output};

#[derive(Debug, Args)]
pub struct Show {
    /// Show the partition and the preference list of this key
    #[arg(long, allow_hyphen_values = true)]
    key: Option<String>,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Show {
    pub async fn run(self) -> Result<(), Failure> {
        let mut described = self.endpoint.connect().await?.describe_ring().await?;
        // The ring has them by id, which nobody looks for.
        described.members.sort_by(|one, other| one.name.cmp(&other.name));
        match &self.key {
            Some(key) => self.show_key(key, &described),
            None => self.show_ring(&described),
        }
    }

    fn show_ring(&self, described: &v1::DescribeRingResponse) -> Result<(), Failure> {
        if self.output.json() {
            return output::document(&ring_document(described));
        }
        output::line(format!(
            "Cluster {}, ring epoch {}: {}, {} of each",
            described.cluster,
            described.epoch,
            counted(described.partitions, "partition"),
            counted(described.replicas, "replica")
        ))?;
        let rows = described
            .members
            .iter()
            .map(|member| {
                let share = format!("{:.1}%", 100.0 * share(member, described));
                let tokens = member.tokens.to_string();
                vec![
                    member.name.clone(),
                    member.zone.clone(),
                    member.state.clone(),
                    tokens,
                    share,
                    member.client_address.clone(),
                ]
            })
            .collect();
        let header = ["ID", "ZONE", "STATE", "TOKENS", "SHARE", "ENDPOINT"];
        output::print_table(&output::table(&header, &["TOKENS", "SHARE"], rows))
    }

    fn show_key(&self, key: &str, described: &v1::DescribeRingResponse) -> Result<(), Failure> {
        let ring = Ring::decode(&described.ring)
            .map_err(|error| Failure::unavailable(format!("the node's ring can't be read: {error}")))?;
        let document = key_document(key, &ring, described);
        if self.output.json() {
            return output::document(&document);
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        output::line(format!(
            "{key} is at {} on the ring, in partition {} of {}",
            text(&document["position"]),
            document["partition"],
            described.partitions
        ))?;
        let mut rows = Vec::new();
        for (role, list) in [("home", "preference_list"), ("fallback", "fallbacks")] {
            for node in document[list].as_array().into_iter().flatten() {
                rows.push(vec![
                    role.to_owned(),
                    text(&node["id"]),
                    text(&node["zone"]),
                    text(&node["state"]),
                    text(&node["endpoint"]),
                ]);
            }
        }
        output::print_table(&output::table(&["ROLE", "ID", "ZONE", "STATE", "ENDPOINT"], &[], rows))
    }
}

/// The part of the ring's partitions whose token the member holds.
fn share(member: &v1::RingMember, ring: &v1::DescribeRingResponse) -> f64 {
    f64::from(member.tokens) / f64::from(ring.partitions.max(1))
}

fn ring_document(ring: &v1::DescribeRingResponse) -> Value {
    let members: Vec<Value> = ring
        .members
        .iter()
        .map(|member| {
            json!({
                "id": member.name,
                "node_id": member.id,
                "zone": member.zone,
                "weight": member.weight,
                "state": member.state,
                "tokens": member.tokens,
                "share": share(member, ring),
                "endpoint": member.client_address,
            })
        })
        .collect();
    json!({
        "cluster": ring.cluster, "epoch": ring.epoch, "partitions": ring.partitions, "replicas": ring.replicas,
        "members": members,
    })
}

fn key_document(key: &str, ring: &Ring, described: &v1::DescribeRingResponse) -> Value {
    let position = Position::of(key.as_bytes());
    let partition = ring.partitions().partition_of(position);
    let nodes: Vec<Value> = ring
        .walk(partition)
        .map(|member| {
            let known = described.members.iter().find(|known| known.name == member.name);
            json!({
                "id": member.name,
                "zone": member.zone,
                "state": known.map_or("unknown", |known| known.state.as_str()),
                "endpoint": known.map_or("", |known| known.client_address.as_str()),
            })
        })
        .collect();
    let (homes, fallbacks) = nodes.split_at(ring.homes().min(nodes.len()));
    json!({
        "key": key, "position": format!("{:032x}", position.0), "partition": partition.0,
        "preference_list": homes, "fallbacks": fallbacks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynamo_ring::{Member, NodeId, PartitionCount};

    #[test]
    fn a_key_shows_its_homes_first_and_every_other_node_once() {
        let members = ["a", "b", "c", "d", "e"].map(|name| Member {
            id: NodeId::initial("test", name),
            name: name.into(),
            zone: format!("zone-{name}"),
            weight: 1,
        });
        let partitions = PartitionCount::try_from(64).unwrap();
        let ring = Ring::bootstrap(3, partitions, members.to_vec()).unwrap();
        let document = key_document("cart:alice", &ring, &v1::DescribeRingResponse::default());
        let (homes, fallbacks) = (&document["preference_list"], &document["fallbacks"]);
        assert_eq!((homes.as_array().unwrap().len(), fallbacks.as_array().unwrap().len()), (3, 2));
        let partition = partitions.partition_of(Position::of(b"cart:alice"));
        assert_eq!(homes[0]["id"], ring.walk(partition).next().unwrap().name.as_str());
        assert_eq!(document["partition"], partition.0);
    }
}
