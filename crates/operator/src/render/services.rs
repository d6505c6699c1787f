//! Where nodes are found: by each other, ready or not, and by clients, ready ones only.

use std::collections::BTreeMap;

use dynamo_crd::{ServiceType, names};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Basis, CLIENT_PORT, HTTP_PORT, LABEL_SERVICE, PEER_PORT};

/// Gives each node its stable host name. A node that is not ready has one, too: a quorum forms of nodes that find each other.
pub(super) fn nodes(basis: &Basis<'_>) -> Service {
    let cluster = basis.resource();
    let mut service = service(basis, names::nodes_service(&cluster), "nodes");
    service.spec = Some(ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        selector: Some(names::selector(&cluster)),
        ports: Some(vec![port("client", CLIENT_PORT), port("peer", PEER_PORT), port("http", HTTP_PORT)]),
        ..ServiceSpec::default()
    });
    service
}

/// For clients, and for what stands before the cluster.
pub(super) fn clients(basis: &Basis<'_>) -> Service {
    let cluster = basis.resource();
    let clients = &basis.cluster.spec.clients;
    let mut service = service(basis, names::client_service(&cluster), "clients");
    service.metadata.annotations =
        (!clients.service_annotations.is_empty()).then(|| clients.service_annotations.clone());
    service.spec = Some(ServiceSpec {
        type_: Some(type_of(clients.service_type).to_owned()),
        selector: Some(names::selector(&cluster)),
        ports: Some(vec![ServicePort { app_protocol: Some("grpc".to_owned()), ..port("client", CLIENT_PORT) }]),
        ..ServiceSpec::default()
    });
    service
}

fn service(basis: &Basis<'_>, name: String, which: &str) -> Service {
    let mut metadata = basis.metadata(name);
    let labels = metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert(LABEL_SERVICE.to_owned(), which.to_owned());
    Service { metadata, ..Service::default() }
}

fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}

fn type_of(service: ServiceType) -> &'static str {
    match service {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}
