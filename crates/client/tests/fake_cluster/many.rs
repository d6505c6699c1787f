//! Many requests in one call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dynamo_client::{Code, Put};
use dynamo_wire::v1::{ErrorCode, session_request::Request};

use crate::support::{Cluster, Reply, fail, key, normal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_has_its_own_outcome_in_their_order() {
    let cluster = Cluster::start(3).await;
    cluster.all_do(|request| {
        let bad = key(request).ends_with(b"7");
        Reply::Say(if bad { fail(ErrorCode::InvalidArgument) } else { normal(request) })
    });
    let client = cluster.client().await;
    let keys: Vec<Bytes> = (0..1500).map(|number| Bytes::from(format!("key-{number}"))).collect();
    let puts: Vec<Put> = keys.iter().map(|key| Put::new("default", key.clone(), "v")).collect();
    // As a task, which has to be able to move to another thread.
    let asked = keys.clone();
    let both = async move { (client.put_many(puts).await, client.get_many("default", asked).await) };
    let (written, found) = tokio::spawn(both).await.unwrap();
    assert_eq!((written.len(), found.len()), (keys.len(), keys.len()));
    for (key, (written, found)) in keys.iter().zip(written.into_iter().zip(found)) {
        if key.ends_with(b"7") {
            assert_eq!(written.unwrap_err().code, Code::InvalidArgument);
            assert_eq!(found.unwrap_err().code, Code::InvalidArgument);
        } else {
            assert_eq!(written.unwrap().context, [b"context of ", &key[..]].concat());
            assert_eq!(found.unwrap().values, [key]);
        }
    }
}

#[tokio::test]
async fn not_all_of_very_many_are_under_way_at_once() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, asking) = (most.clone(), client.clone());
    cluster.all_do(move |request: &Request| {
        seen.fetch_max(asking.in_flight(), Ordering::Relaxed);
        Reply::Late(Duration::from_millis(1), normal(request))
    });
    let keys = (0..5000).map(|number| Bytes::from(format!("key-{number}")));
    assert!(client.get_many("default", keys).await.iter().all(Result::is_ok));
    let most = most.load(Ordering::Relaxed);
    assert!((2..1024).contains(&most), "{most} at once");
}
