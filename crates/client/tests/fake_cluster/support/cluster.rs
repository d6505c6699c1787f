//! A cluster of fake nodes with a real ring.

use dynamo_client::{Client, Config};
use dynamo_ring::{Member, NodeId, PartitionCount, Position, Ring};
use dynamo_wire::v1::{DescribeRingResponse, RingMember, session_request::Request};

use super::{LONG, node::Node, script::Reply};

/// Q.
const PARTITIONS: u32 = 64;
/// N.
const REPLICAS: u8 = 3;

/// A cluster of fake nodes.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub ring: Ring,
}

impl Cluster {
    /// So many nodes, in three zones, all of which know all.
    pub async fn start(nodes: usize) -> Self {
        Self::named("fake", nodes).await
    }

    /// The same, under a name.
    pub async fn named(cluster: &str, nodes: usize) -> Self {
        let mut started = Vec::new();
        for number in 1..=nodes {
            started.push(Node::start(&format!("node-{number}")).await);
        }
        let member = |(number, node): (usize, &Node)| Member {
            id: NodeId::initial(cluster, &node.name),
            name: node.name.clone(),
            zone: ["a", "b", "c"][number % 3].to_owned(),
            weight: 1,
        };
        let members = started.iter().enumerate().map(member).collect();
        let ring = Ring::bootstrap(REPLICAS, PartitionCount::try_from(PARTITIONS).unwrap(), members).unwrap();
        let started_cluster = Self { nodes: started, ring };
        started_cluster.describe_as(cluster, &started_cluster.addresses());
        started_cluster
    }

    /// Where the nodes really are, by name.
    pub fn addresses(&self) -> Vec<(String, String)> {
        self.nodes.iter().map(|node| (node.name.clone(), node.address.clone())).collect()
    }

    /// All nodes say from now on that this is the cluster, and these are the addresses of its nodes, by name.
    pub fn describe_as(&self, cluster: &str, addresses: &[(String, String)]) {
        for node in &self.nodes {
            *node.state.description.lock().unwrap() = Ok(self.description(cluster, addresses));
        }
    }

    fn description(&self, cluster: &str, addresses: &[(String, String)]) -> DescribeRingResponse {
        let address = |member: &Member| {
            let found = addresses.iter().find(|(name, _)| *name == member.name);
            found.map(|(_, address)| address.clone()).unwrap_or_default()
        };
        let members = self.ring.members().iter().map(|member| RingMember {
            id: member.id.to_string(),
            name: member.name.clone(),
            client_address: address(member),
            ..RingMember::default()
        });
        DescribeRingResponse {
            cluster: cluster.to_owned(),
            epoch: self.ring.epoch(),
            partitions: PARTITIONS,
            replicas: REPLICAS.into(),
            members: members.collect(),
            ring: self.ring.encode().into(),
        }
    }

    /// The nodes for a key: its homes, then those that stand in for them.
    pub fn walk(&self, key: &str) -> Vec<&Node> {
        let partition = self.ring.partitions().partition_of(Position::of(key.as_bytes()));
        let node = |name: &str| self.nodes.iter().find(|node| node.name == name).unwrap();
        self.ring.walk(partition).map(|member| node(&member.name)).collect()
    }

    /// A key of which this node is the first home.
    pub fn key_of(&self, node: usize) -> String {
        let first = |key: &String| self.walk(key)[0].name == self.nodes[node].name;
        (0..).map(|number| format!("key-{number}")).find(first).unwrap()
    }

    /// All nodes, in their order; and patience, for a machine that has much else to do.
    pub fn config(&self) -> Config {
        Config { timeout: 2 * LONG, connect_timeout: LONG, ..self.default_config() }
    }

    /// All nodes, in their order.
    pub fn default_config(&self) -> Config {
        Config::new(self.nodes.iter().map(|node| node.address.clone()).collect())
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.config()).await.unwrap()
    }

    /// All nodes do this from now on.
    pub fn all_do(&self, script: impl Fn(&Request) -> Reply + Clone + Send + Sync + 'static) {
        self.nodes.iter().for_each(|node| node.does(script.clone()));
    }

    /// How many requests came, at all nodes.
    pub fn asked(&self) -> usize {
        self.nodes.iter().map(Node::asked).sum()
    }

    /// Forgets what came so far.
    pub fn forget(&self) {
        self.nodes.iter().for_each(Node::forget);
    }
}
