//! What is served on the clients' port and on the peers'.

use std::{sync::Arc, time::Duration};

use dynamo_wire::v1::{
    admin_server::AdminServer, gossip_server::GossipServer, kv_server::KvServer, replica_server::ReplicaServer,
    ring_admin_server::RingAdminServer,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::Server};
use tonic_health::pb::health_server::{Health, HealthServer};

use crate::{
    cluster::Cluster,
    config::LimitsConfig,
    connections::incoming,
    coordinator::Coordinator,
    link::PEER_MESSAGE_BYTES,
    membership::Membership,
    replica::Replicas,
    service::{
        admin::AdminService, gossip::GossipService, kv::KvService, replica::ReplicaService, ring::RingService,
        session::Sessions,
    },
    tls::{Acceptor, NodeTls, gated},
};

/// A peer holds four connections at most; a thousand peers are more than a ring can have.
const PEER_CONNECTIONS: usize = 4096;
const STREAM_WINDOW: u32 = 8 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// What clients are served with.
pub struct Clients {
    /// What they may ask for.
    pub limits: LimitsConfig,
    /// Who does it.
    pub coordinator: Arc<Coordinator>,
    /// Whom it knows.
    pub membership: Arc<Membership>,
    /// Changes of the ring.
    pub ring: RingService,
    /// Their open sessions.
    pub sessions: Sessions,
    /// With TLS: who may ask; and the figures, which are asked for here then.
    pub tls: Option<(Arc<NodeTls>, PrometheusHandle)>,
}

/// Serves clients until it fails.
pub async fn serve_clients(
    listener: TcpListener,
    clients: Clients,
    health: HealthServer<impl Health>,
) -> Result<(), tonic::transport::Error> {
    let Clients { limits, coordinator, membership, ring, sessions, tls } = clients;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(dynamo_wire::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptors were generated with the code");
    let kv = KvServer::new(KvService::new(coordinator.clone(), membership.clone(), sessions))
        .max_decoding_message_size(limits.message_bytes)
        .max_encoding_message_size(PEER_MESSAGE_BYTES);
    let routes = Routes::new(health)
        .add_service(reflection)
        .add_service(kv)
        .add_service(AdminServer::new(AdminService::new(coordinator, membership)))
        .add_service(RingAdminServer::new(ring));
    let (routes, acceptor) = match tls {
        None => (routes, None),
        Some((tls, metrics)) => (gated(routes, &tls, metrics), Some(tls.for_clients())),
    };
    let incoming = incoming(listener, "client", limits.connections, acceptor);
    server().add_routes(routes).serve_with_incoming(incoming).await
}

/// Serves peers until it fails.
pub async fn serve_peers(
    listener: TcpListener,
    cluster: Arc<Cluster>,
    replicas: Replicas,
    membership: Arc<Membership>,
    tls: Option<Acceptor>,
) -> Result<(), tonic::transport::Error> {
    let replica = ReplicaServer::new(ReplicaService::new(&cluster, Arc::new(replicas)))
        .max_decoding_message_size(PEER_MESSAGE_BYTES)
        .max_encoding_message_size(PEER_MESSAGE_BYTES);
    server()
        .add_service(replica)
        .add_service(GossipServer::new(GossipService::new(cluster.name.clone(), membership)))
        .serve_with_incoming(incoming(listener, "peer", PEER_CONNECTIONS, tls))
        .await
}

fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
}
