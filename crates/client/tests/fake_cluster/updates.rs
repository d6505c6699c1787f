//! Read, merge, write (§4.4).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dynamo_client::{Client, Code};
use dynamo_wire::v1::{ErrorCode, GetResponse, PutRequest, session_request::Request, session_response::Response};

use crate::support::{Clock, Cluster, Reply, bytes, fail, get, normal};

/// All siblings, in their order, with a plus between them.
fn join(values: Vec<Bytes>) -> Bytes {
    Bytes::from(values.iter().map(|value| &value[..]).collect::<Vec<_>>().join(&b'+'))
}

/// A cluster whose key has two siblings, and whose first writes are refused.
async fn with_siblings(refused: usize, code: ErrorCode) -> Cluster {
    let cluster = Cluster::start(3).await;
    let writes = Arc::new(AtomicUsize::new(0));
    cluster.all_do(move |request| match request {
        Request::Get(_) => {
            let context = Bytes::from(format!("read after {} writes", writes.load(Ordering::Relaxed)));
            Reply::Say(Response::Get(GetResponse { values: vec![bytes("book"), bytes("pen")], context }))
        }
        _ if writes.fetch_add(1, Ordering::Relaxed) < refused => Reply::Say(fail(code)),
        write => Reply::Say(normal(write)),
    });
    cluster
}

fn puts(cluster: &Cluster) -> Vec<PutRequest> {
    let seen = cluster.nodes.iter().flat_map(|node| node.state.seen.lock().unwrap().clone());
    seen.filter_map(|(request, _)| if let Request::Put(put) = request { Some(put) } else { None }).collect()
}

#[tokio::test]
async fn an_update_writes_the_merged_siblings_with_the_context_of_all_of_them() {
    let cluster = with_siblings(0, ErrorCode::Unspecified).await;
    let client = cluster.client().await;
    let written = client.update("carts", "k", join).await.unwrap();
    assert_eq!(written.context, "context of k");
    let puts = puts(&cluster);
    assert_eq!(puts.len(), 1);
    assert_eq!((puts[0].bucket.as_str(), &puts[0].key[..]), ("carts", &b"k"[..]));
    assert_eq!((&puts[0].value[..], &puts[0].context[..]), (&b"book+pen"[..], &b"read after 0 writes"[..]));
}

#[tokio::test]
async fn an_update_of_a_key_that_was_never_written_merges_nothing() {
    let cluster = Cluster::start(1).await;
    cluster.all_do(|request| match request {
        Request::Get(_) => Reply::Say(Response::Get(GetResponse::default())),
        write => Reply::Say(normal(write)),
    });
    let merge = |values: Vec<Bytes>| {
        assert!(values.is_empty());
        bytes("first")
    };
    cluster.client().await.update("default", "k", merge).await.unwrap();
    let puts = puts(&cluster);
    assert_eq!((&puts[0].value[..], &puts[0].context[..]), (&b"first"[..], &b""[..]));
}

#[tokio::test]
async fn an_update_reads_and_merges_again_when_its_write_was_refused_for_what_it_had_read() {
    for code in [ErrorCode::TooManySiblings, ErrorCode::BadContext] {
        let cluster = with_siblings(2, code).await;
        let mut merges = 0;
        let merge = |values| {
            merges += 1;
            join(values)
        };
        cluster.client().await.update("default", "k", merge).await.unwrap();
        let contexts: Vec<Bytes> = puts(&cluster).into_iter().map(|put| put.context).collect();
        assert_eq!(contexts, ["read after 0 writes", "read after 1 writes", "read after 2 writes"]);
        assert_eq!(merges, 3);
    }
}

#[tokio::test]
async fn an_update_does_not_begin_anew_for_ever() {
    let cluster = with_siblings(usize::MAX, ErrorCode::TooManySiblings).await;
    let error = cluster.client().await.update("default", "k", join).await.unwrap_err();
    assert_eq!((error.code, puts(&cluster).len()), (Code::TooManySiblings, 3));
}

#[tokio::test]
async fn an_update_whose_write_may_have_happened_is_not_made_again() {
    for code in [ErrorCode::CoordinatorLost, ErrorCode::MayBeWritten] {
        let cluster = with_siblings(usize::MAX, code).await;
        let error = cluster.client().await.update("default", "k", join).await.unwrap_err();
        assert!(error.may_have_happened());
        assert_eq!(puts(&cluster).len(), 1);
    }
}

#[tokio::test]
async fn an_update_goes_on_at_the_next_node_where_nothing_was_written() {
    let cluster = with_siblings(2, ErrorCode::NotReady).await;
    cluster.client().await.update("default", "k", join).await.unwrap();
    let contexts: Vec<Bytes> = puts(&cluster).into_iter().map(|put| put.context).collect();
    assert_eq!(contexts, ["read after 0 writes"; 3], "the same write, not a new one");
}

#[tokio::test]
async fn an_update_has_the_time_of_one_request() {
    let cluster = Cluster::start(1).await;
    let client = Client::connect(cluster.default_config()).await.unwrap();
    get(&client, "k").await.unwrap();
    cluster.all_do(|request| match request {
        Request::Get(_) => Reply::Late(Duration::from_secs(5), normal(request)),
        _ => Reply::Never,
    });
    let clock = Clock::stop();
    let (ended, took) = clock.pass(client.update("default", "k", join)).await;
    let error = ended.unwrap_err();
    assert_eq!((error.code, error.may_have_happened()), (Code::Timeout, true), "{error}");
    assert!(took <= Duration::from_secs(11), "{took:?}");
}
