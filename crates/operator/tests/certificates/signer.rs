//! The signer, asked by pods and by others.

use std::{net::SocketAddr, sync::Arc};

use dynamo_operator::authority::{AUDIENCE, SIGNER_KEY, TRUST_KEY, signer};
use kube::ResourceExt;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;
use x509_parser::parse_x509_certificate;

use crate::stage::{CALLED, Stage};

struct Port {
    address: SocketAddr,
    connector: TlsConnector,
    serving: JoinHandle<()>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Port {
    /// The signer's, believed by what stands in the cluster's trust.
    async fn open(stage: &Stage) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (serving, client) = (stage.serving.clone(), stage.client.clone());
        let serving = tokio::spawn(async move {
            signer::serve_at(listener, serving, client, std::future::pending()).await.unwrap();
        });
        let bundle = stage.trust().await.unwrap().data.unwrap()[SIGNER_KEY].clone();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&bundle))
            .with_no_client_auth();
        Port { address, connector: TlsConnector::from(Arc::new(config)), serving }
    }

    async fn post(&self, token: Option<&str>, body: &str) -> (u16, String) {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let length = body.len();
        self.send(&format!(
            "POST /sign HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn send(&self, request: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.connector.connect(name, stream).await.unwrap();
        // A body that is too large is not read to its end.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }
}

/// A request that asks for these names.
fn request(key: &KeyPair, hosts: &[&str], uri: &str) -> String {
    let mut params = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
    params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let (_, parsed) = parse_x509_certificate(certificate).unwrap();
    parsed.subject_alternative_name().unwrap().unwrap().value.general_names.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_node_gets_a_certificate_of_its_own_name_whatever_it_asks_for() {
    let Some(stage) = Stage::set("signer").await else { return };
    stage.settle(dynamo_operator::authority::wall_s()).await;
    let port = Port::open(&stage).await;
    let pod = stage.pod("shop-a-0", |_| {}).await;
    let token = stage.token(&pod, AUDIENCE).await;
    let key = KeyPair::generate().unwrap();
    let foreign = "dynamo:/prod%2Fshop%2F1a2b3c4d/admin/boss";
    let asked = request(&key, &["bank.prod.svc", "shop-b-0.shop-nodes.prod.svc"], foreign);
    let (status, answer) = port.post(Some(&token), &asked).await;
    assert_eq!(status, 200, "{answer}");
    let certificate = CertificateDer::from_pem_slice(answer.as_bytes()).unwrap();
    let found = names(&certificate).join(" ");
    assert!(found.contains("dynamo:/prod%2Fshop%2F1a2b3c4d/node/shop-a-0"), "{CALLED}: {found}");
    assert!(found.contains("shop-a-0.shop-nodes.prod.svc"), "{found}");
    for not in ["admin", "boss", "bank", "shop-b-0"] {
        assert!(!found.contains(not), "{not}: {found}");
    }
    // It is of the authority that nodes trust, and is of the key that was sent.
    let bundle = stage.trust().await.unwrap().data.unwrap()[TRUST_KEY].clone();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(&bundle)), provider()).build().unwrap();
    let host = ServerName::try_from("shop-a-0.shop-nodes.prod.svc").unwrap();
    rustls::client::danger::ServerCertVerifier::verify_server_cert(
        &*verifier,
        &certificate,
        &[],
        &host,
        &[],
        UnixTime::now(),
    )
    .unwrap();
    let (_, parsed) = parse_x509_certificate(&certificate).unwrap();
    assert_eq!(parsed.public_key().subject_public_key.data.as_ref(), key.public_key_raw());

    // The signer goes on for other pods while one asks all the time.
    let mut statuses = vec![];
    for _ in 0..6 {
        statuses.push(port.post(Some(&token), &asked).await.0);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    let other = stage.pod("shop-a-1", |_| {}).await;
    let token = stage.token(&other, AUDIENCE).await;
    assert_eq!(port.post(Some(&token), &asked).await.0, 200);
}

#[tokio::test]
async fn everybody_else_is_refused_with_a_sentence() {
    let Some(stage) = Stage::set("signer's refusals").await else { return };
    let port_needs = stage.authority.keep(&stage.cluster).await.unwrap();
    drop(port_needs);
    let port = Port::open(&stage).await;
    let asked = request(&KeyPair::generate().unwrap(), &[], "dynamo:/c/node/a");
    let refused = async |token: Option<&str>, body: &str, status: u16, says: &str| {
        let (is, answer) = port.post(token, body).await;
        assert_eq!(is, status, "{answer}");
        assert!(answer.contains(says) && !answer.contains("BEGIN"), "{answer}");
    };
    let pod = stage.pod("shop-a-0", |_| {}).await;
    let good = stage.token(&pod, AUDIENCE).await;
    refused(Some(&good), &asked, 503, "no authority of this cluster signs yet").await;
    stage.settle(dynamo_operator::authority::wall_s()).await;

    refused(None, &asked, 401, "no bearer token").await;
    refused(Some("nonsense"), &asked, 401, "does not accept the token").await;
    refused(Some(&good), "nonsense", 400, "no certificate request").await;
    refused(Some(&good), &"x".repeat(100 << 10), 413, "at most").await;
    let other = stage.token(&pod, "https://somebody.else").await;
    refused(Some(&other), &asked, 401, "does not accept the token").await;
    let unbound = stage.ask_token("shop-node", AUDIENCE, None).await;
    refused(Some(&unbound), &asked, 401, "not bound to a pod").await;

    let refuse_pod = async |name: &str, change: &dyn Fn(&mut Value), status: u16, says: &str| {
        let pod = stage.pod(name, |pod| change(pod)).await;
        let token = stage.token(&pod, AUDIENCE).await;
        let (is, answer) = port.post(Some(&token), &asked).await;
        assert_eq!(is, status, "{name}: {answer}");
        assert!(answer.contains(says), "{name}: {answer}");
    };
    let account = |pod: &mut Value| pod["spec"]["serviceAccountName"] = json!("stranger");
    refuse_pod("shop-a-1", &account, 403, "does not run as ServiceAccount shop-node").await;
    refuse_pod("shop-a-2", &|pod| pod["metadata"]["labels"] = json!({}), 403, "no node of a cluster").await;
    refuse_pod("by-hand", &|pod| pod["metadata"]["ownerReferences"] = json!([]), 503, "belongs to no StatefulSet")
        .await;
    refuse_pod("shop-a-x", &|_| {}, 403, "not called as the pods").await;
    let bank = |pod: &mut Value| pod["metadata"]["labels"]["dynamo-k8s.io/cluster"] = json!("bank");
    refuse_pod("shop-a-3", &bank, 403, "does not run as ServiceAccount bank-node").await;

    assert_eq!(port.send("GET /sign HTTP/1.1\r\nHost: localhost\r\n\r\n").await.0, 405);
    let (status, answer) = port.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((status, answer.trim()), (404, "there is only POST /sign here"));

    // The pod is gone, and another of its name is there.
    stage.delete_pod("shop-a-0").await;
    let successor = stage.pod("shop-a-0", |_| {}).await;
    assert_ne!(successor.uid(), pod.uid());
    let (status, answer) = port.post(Some(&good), &asked).await;
    assert!(matches!(status, 401 | 403), "{status}: {answer}");
}
