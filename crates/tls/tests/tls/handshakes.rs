//! Both ends of a connection: who accepts whom, and what is said otherwise.

use std::sync::Arc;

use dynamo_tls::{Connector, Dial, Material, Name, client, names_of, refusal, server, tokio_rustls::TlsAcceptor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::authority::{Authority, Folder, node};

/// What both ends think of it: the names that the one that is connected to sees, and whether the one that connects can read.
struct Met {
    server: Result<Vec<Name>, String>,
    client: Result<(), String>,
}

async fn meet(server: &Material, client: Connector, certificates: server::Certificates) -> Met {
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(server::config(server, certificates).unwrap()));
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.map_err(|error| refusal(&error).unwrap_or_default())?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = shown.map(names_of).unwrap_or_default();
        stream.write_all(b"hello").await.map_err(|error| error.to_string())?;
        let _ = stream.shutdown().await;
        Ok::<_, String>(names)
    };
    let connecting = async {
        let words = |error: std::io::Error| refusal(&error).unwrap_or_else(|| error.to_string());
        let mut stream = client.connect("localhost", port).await.map_err(words)?;
        // Whether one's own certificate is accepted is heard after that.
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).await.map(drop).map_err(words)
    };
    let (server, client) = tokio::join!(accepting, connecting);
    Met { server, client }
}

fn as_node(material: &Material, whom: &'static str) -> Connector {
    let config = Arc::new(client::of_node(material).unwrap());
    let check = move |names: &[Name]| match names.iter().any(|name| name.is_node("shop", |name| name == whom)) {
        true => Ok(()),
        false => Err(format!("{names:?} is not {whom}")),
    };
    Connector::new(move || Ok(config.clone()), Dial::Node(Arc::new(check)))
}

fn material(authority: &Authority, name: &str, expired: bool, trusted: &Authority) -> Material {
    Material::load(&Folder::new().files_of(authority.sign(&node(name), expired), trusted)).unwrap()
}

const REQUIRED: server::Certificates = server::Certificates::Required;

#[tokio::test]
async fn nodes_of_one_authority_meet_by_name_wherever_they_are() {
    let ours = Authority::new("ours");
    let (one, two) = (material(&ours, "one", false, &ours), material(&ours, "two", false, &ours));
    let met = meet(&two, as_node(&one, "two"), REQUIRED).await;
    assert_eq!((met.server, met.client), (Ok(vec![node("one")]), Ok(())));
    let met = meet(&two, as_node(&one, "three"), REQUIRED).await;
    assert!(met.client.unwrap_err().contains("is not three"));
}

#[tokio::test]
async fn another_authority_and_an_expired_certificate_are_refused_by_whichever_end_sees_it() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let one = material(&ours, "one", false, &ours);
    let met = meet(&one, as_node(&material(&theirs, "two", false, &ours), "one"), REQUIRED).await;
    assert!(met.server.unwrap_err().contains("not trusted here"));
    assert!(met.client.is_err());
    let met = meet(&one, as_node(&material(&ours, "two", true, &ours), "one"), REQUIRED).await;
    assert!(met.server.unwrap_err().contains("expired"));
    let met = meet(&one, as_node(&material(&ours, "two", false, &theirs), "one"), REQUIRED).await;
    assert!(met.client.unwrap_err().contains("not trusted here"));
    let met =
        meet(&material(&ours, "one", true, &ours), as_node(&material(&ours, "two", false, &ours), "one"), REQUIRED)
            .await;
    assert!(met.client.unwrap_err().contains("expired"));
}

#[tokio::test]
async fn a_client_without_a_certificate_gets_in_where_none_is_required_and_names_the_host() {
    let ours = Authority::new("ours");
    let one = material(&ours, "one", false, &ours);
    let client = |name: Option<&str>| {
        let config = Arc::new(client::of_client(&one.trust, None).unwrap());
        let name = name.map(|name| name.to_owned().try_into().unwrap());
        Connector::new(move || Ok(config.clone()), Dial::Host(name))
    };
    let met = meet(&one, client(None), server::Certificates::Asked).await;
    assert_eq!((met.server, met.client), (Ok(vec![]), Ok(())));
    let met = meet(&one, client(None), REQUIRED).await;
    assert!(met.server.unwrap_err().contains("showed no certificate") && met.client.is_err());
    let met = meet(&one, client(Some("elsewhere")), server::Certificates::Asked).await;
    assert!(met.client.unwrap_err().contains("another host"));
}
