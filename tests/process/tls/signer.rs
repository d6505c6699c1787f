//! Nodes that make their own keys, and a signer that is there, away, or of another mind.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
};

use dynamo_tls::{Files, Material, server, tokio_rustls::TlsAcceptor};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Runtime,
};

use super::{
    pki::{Authority, Pki},
    rotation::{all_say, said, until_said},
};
use crate::nodes::Nodes;

const TOKEN: &str = "token-of-the-pod";

/// Signs for whoever has the token, as long as it lives.
struct Signer {
    _runtime: Runtime,
    authority: Arc<Mutex<Arc<Authority>>>,
}

impl Signer {
    fn start(pki: &Pki, own: &Authority, port: u16, authority: &Arc<Authority>) -> Self {
        let (certificate, key) = own.sign_server();
        let files = Files {
            certificate: pki.write("signer-certificate", &certificate),
            key: pki.write("signer-key", &key),
            trust: pki.write("signer-trust", &own.pem),
        };
        let material = Material::load(&files).unwrap();
        let mut config = server::config(&material, server::Certificates::Asked).unwrap();
        config.alpn_protocols.clear();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = Runtime::new().unwrap();
        let signs = Arc::new(Mutex::new(authority.clone()));
        let authority = signs.clone();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, authority) = (acceptor.clone(), authority.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let request = read(&mut stream).await;
                    let allowed = request.to_lowercase().contains(&format!("authorization: bearer {TOKEN}\r\n"));
                    let body = request.split_once("\r\n\r\n").unwrap().1.to_owned();
                    let (status, answer) = match allowed {
                        true => ("200 OK", authority.lock().unwrap().clone().sign_request(&body)),
                        false => ("401 Unauthorized", "who are you?".to_owned()),
                    };
                    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", answer.len());
                    stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { _runtime: runtime, authority: signs }
    }
}

/// A whole request: its body ends as PEM does.
async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let (mut request, mut buffer) = (String::new(), [0; 4096]);
    while !request.contains("-----END CERTIFICATE REQUEST-----") {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "{request}");
        request.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    request
}

#[test]
fn nodes_make_their_keys_restart_without_the_signer_and_follow_it_to_another_authority() {
    let (own, old, new) = (Authority::new("signer"), Authority::new("old"), Arc::new(Authority::new("new")));
    let old = Arc::new(old);
    let pki = Pki::new(0, &old);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = pki.settings(&json!({
        "certificate_file": null, "key_file": null,
        "signer_url": format!("https://127.0.0.1:{port}/sign"),
        "signer_trust_file": pki.write("signer-trust", &own.pem),
        "signer_token_file": pki.write("token", TOKEN),
    }));
    let signer = Signer::start(&pki, &own, port, &old);
    let nodes = Nodes::start_for(3, &settings, Some(pki.caller("boss")));
    nodes.ok(&["put", "k", "v"]);
    let before = all_say(&nodes);
    assert!(before.values().all(|said| said.signed_by == old.fingerprint), "{before:?}");
    let mine = nodes.data_dir("node-1").join("tls/node.pem");
    assert_eq!(std::fs::metadata(&mine).unwrap().permissions().mode() & 0o777, 0o600);

    drop(signer);
    nodes.kill("node-2");
    nodes.restart("node-2");
    nodes.until("node-2 is who it was", || said(&nodes).is_some_and(|now| now == before));

    // To another authority, without a word to the nodes but the bundle.
    let signer = Signer::start(&pki, &own, port, &old);
    pki.trust(&[&old, &new]);
    until_said(&nodes, "both are trusted", |said| said.trusted.len() == 2);
    *signer.authority.lock().unwrap() = new.clone();
    pki.trust(&[&new, &old]);
    until_said(&nodes, "the new one has signed", |said| said.signed_by == new.fingerprint);
    pki.give("boss", new.sign(&super::pki::admin(), super::pki::Life::Now));
    pki.trust(&[&new]);
    until_said(&nodes, "the new one alone is trusted", |said| said.trusted.len() == 1);

    // A node that can't say who it is gets nothing, says so, and waits.
    nodes.kill("node-3");
    nodes.wipe("node-3");
    pki.write("token", "another");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| nodes.restart("node-3"));
        nodes.until("the signer refuses", || nodes.log("node-3").contains("refuses (401"));
        pki.write("token", TOKEN);
        starting.join().unwrap();
    });
    nodes.until_settled();
    assert_eq!(nodes.ok(&["get", "k"]).trim_end(), "v");
}
