//! What nodes say when they do not do what was asked, and who is asked next.

use dynamo_client::{Code, Delete};
use dynamo_wire::v1::ErrorCode;
use tonic::Status;

use crate::support::{Cluster, Reply, bytes, fail, get, normal, put};

#[tokio::test]
async fn where_nothing_was_written_the_next_node_is_asked_and_the_caller_sees_success() {
    for code in [ErrorCode::NotReady, ErrorCode::Overloaded, ErrorCode::DiskFull, ErrorCode::NotEnoughReplicas] {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        let key = cluster.key_of(0);
        cluster.nodes[0].says(fail(code));
        put(&client, &key).await.unwrap();
        assert_eq!((cluster.nodes[0].asked(), cluster.walk(&key)[1].asked()), (1, 1), "{code:?}");
    }
}

#[tokio::test]
async fn what_all_nodes_would_say_is_told_at_once_in_the_node_s_words() {
    let told = [
        (ErrorCode::InvalidArgument, Code::InvalidArgument),
        (ErrorCode::UnknownBucket, Code::UnknownBucket),
        (ErrorCode::BadContext, Code::BadContext),
        (ErrorCode::TooManySiblings, Code::TooManySiblings),
        (ErrorCode::NotAllowed, Code::NotAllowed),
    ];
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    for (said, code) in told {
        cluster.all_do(move |_| Reply::Say(fail(said)));
        let errors = [put(&client, "k").await.unwrap_err(), get(&client, "k").await.unwrap_err()];
        for error in errors {
            assert_eq!((error.code, error.may_have_happened()), (code, false));
            assert_eq!(error.message, format!("the fake node says {}", said.as_str_name()));
        }
        assert_eq!(cluster.asked(), 2, "{code:?}");
        cluster.forget();
    }
}

#[tokio::test]
async fn a_write_that_may_have_happened_is_not_sent_to_another_node() {
    let told = [
        (ErrorCode::MayBeWritten, Code::NotEnoughReplicas),
        (ErrorCode::CoordinatorLost, Code::CoordinatorLost),
        (ErrorCode::Internal, Code::Internal),
    ];
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    for (said, code) in told {
        cluster.all_do(move |_| Reply::Say(fail(said)));
        let error = put(&client, "k").await.unwrap_err();
        assert_eq!((error.code, error.may_have_happened()), (code, true));
        let delete = Delete { bucket: "default".to_owned(), key: bytes("k"), context: bytes("c"), w: None };
        assert_eq!(client.delete(delete).await.unwrap_err().code, code);
        assert_eq!((cluster.walk("k")[0].asked(), cluster.asked()), (2, 2), "{code:?}");
        cluster.forget();
    }
}

/// One that has just come back, or is cut off, reaches too few where another reaches enough.
#[tokio::test]
async fn a_write_that_was_not_begun_for_want_of_replicas_is_asked_of_one_other() {
    let cluster = Cluster::start(5).await;
    let client = cluster.client().await;
    cluster.all_do(|_| Reply::Say(fail(ErrorCode::NotEnoughReplicas)));
    let error = put(&client, "k").await.unwrap_err();
    assert_eq!((error.code, cluster.asked()), (Code::NotEnoughReplicas, 2), "two nodes agree");
    assert_eq!(error.message, "the fake node says ERROR_CODE_NOT_ENOUGH_REPLICAS");
}

#[tokio::test]
async fn a_read_that_one_node_can_not_do_is_asked_of_one_other() {
    for said in [ErrorCode::NotEnoughReplicas, ErrorCode::Internal] {
        let cluster = Cluster::start(5).await;
        let client = cluster.client().await;
        cluster.walk("k")[0].says(fail(said));
        get(&client, "k").await.unwrap();
        assert_eq!(cluster.asked(), 2, "{said:?}");

        cluster.all_do(move |_| Reply::Say(fail(said)));
        cluster.forget();
        let error = get(&client, "k").await.unwrap_err();
        assert_eq!(error.message, format!("the fake node says {}", said.as_str_name()));
        assert_eq!(cluster.asked(), 2, "{said:?}: two nodes agree");
    }
}

#[tokio::test]
async fn a_read_whose_coordinator_was_lost_is_asked_elsewhere_until_it_succeeds() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let walk = cluster.walk("k");
    walk[0].says(fail(ErrorCode::CoordinatorLost));
    walk[1].does(|_| Reply::HangUp);
    assert_eq!(get(&client, "k").await.unwrap().values, ["k"]);
    assert_eq!(cluster.asked(), 3);
}

#[tokio::test]
async fn nodes_that_are_not_ready_are_asked_again_until_they_are() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    for node in &cluster.nodes {
        node.does_once(Reply::Say(fail(ErrorCode::NotReady)));
    }
    put(&client, "k").await.unwrap();
    assert_eq!(cluster.asked(), 4);
}

#[tokio::test]
async fn a_node_that_refuses_the_session_is_passed_over() {
    for refusal in [Status::unavailable("starting"), Status::unimplemented("no such service"), Status::internal("")] {
        let cluster = Cluster::start(3).await;
        let client = cluster.client().await;
        *cluster.walk("k")[0].state.no_session.lock().unwrap() = Some(refusal.clone());
        put(&client, "k").await.unwrap_or_else(|error| panic!("{refusal:?}: {error}"));
        assert_eq!(cluster.walk("k")[1].asked(), 1);
    }
}

#[tokio::test]
async fn an_r_or_w_of_zero_is_refused_before_anybody_is_asked() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    let put = dynamo_client::Put { w: Some(0), ..dynamo_client::Put::new("default", "k", "v") };
    let delete = Delete { bucket: String::new(), key: bytes("k"), context: bytes("c"), w: Some(0) };
    let errors = [
        client.get("default", "k", Some(0)).await.unwrap_err(),
        client.put(put).await.unwrap_err(),
        client.delete(delete).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code, Code::InvalidArgument);
        assert!(error.message.contains("nothing was read or written"), "{error}");
    }
    assert_eq!(cluster.asked(), 0);
}

#[tokio::test]
async fn an_answer_to_something_else_is_not_taken() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.walk("k")[0].does(|_| Reply::Empty);
    assert_eq!(get(&client, "k").await.unwrap().values, ["k"]);
    let get_request = dynamo_wire::v1::session_request::Request::Get(Default::default());
    cluster.walk("k")[0].says(normal(&get_request));
    for _ in 0..2 {
        let error = put(&client, "k").await.unwrap_err();
        assert_eq!((error.code, error.may_have_happened()), (Code::Internal, true));
        assert!(error.message.contains("may or may not have happened"), "{error}");
    }
    assert_eq!(cluster.walk("k")[0].sessions(), 1, "the session is as good as before");
}
