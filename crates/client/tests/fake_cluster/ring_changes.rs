//! Changes of the ring: what may be asked again is, and what may have happened is not.

use std::time::Duration;

use dynamo_client::{Client, Code, Error};
use dynamo_wire::{
    CODE_METADATA,
    v1::{
        ApplyRequest, ApplyResponse, CancelRequest, CancelResponse, ErrorCode, PlanRequest, PlanResponse,
        ProgressResponse, ReceiptResponse, RingChange, ViewResponse,
    },
};
use tonic::Status;

use crate::support::{Cluster, RingAnswer, RingCall, RingReply};

const PLANNED: u64 = 7;

fn applies(change: u64) -> impl Fn(&RingCall) -> RingReply {
    move |_| RingReply::Say(RingAnswer::Apply(ApplyResponse { change, steps: 2 }))
}

async fn apply(client: &Client) -> Result<ApplyResponse, Error> {
    client.ring_changes().apply(ApplyRequest { version: PLANNED, ..ApplyRequest::default() }).await
}

/// How often somebody was asked to change something, at each node.
fn changes(cluster: &Cluster) -> Vec<usize> {
    let changing = |call: &RingCall| matches!(call, RingCall::Apply(_) | RingCall::Cancel(_));
    cluster.nodes.iter().map(|node| node.ring_calls().iter().filter(|call| changing(call)).count()).collect()
}

fn under_way(what: &str, cancelled: bool) -> RingReply {
    let change = RingChange { change: 8, what: what.to_owned(), cancelled, ..RingChange::default() };
    RingReply::Say(RingAnswer::Progress(ProgressResponse { version: 9, change: Some(change), ..Default::default() }))
}

/// The first node does this to a change; the second knows of the progress.
fn first_does(cluster: &Cluster, reply: RingReply, progress: RingReply) {
    cluster.nodes[0].does_to_the_ring(move |_| reply.clone());
    cluster.nodes[1].does_to_the_ring(move |_| progress.clone());
}

#[tokio::test]
async fn a_change_goes_to_the_first_node_that_can_begin_it() {
    let cluster = Cluster::start(4).await;
    let client = cluster.client().await;
    cluster.nodes[0].die().await;
    let mut not_ready = Status::unavailable("it is starting");
    not_ready.metadata_mut().insert(CODE_METADATA, ErrorCode::NotReady.as_str_name().parse().unwrap());
    cluster.nodes[1].does_to_the_ring(move |_| RingReply::Refuse(not_ready.clone()));
    cluster.nodes[2].does_to_the_ring(|_| RingReply::Refuse(Status::unimplemented("")));
    cluster.nodes[3].does_to_the_ring(applies(8));
    assert_eq!(apply(&client).await.unwrap(), ApplyResponse { change: 8, steps: 2 });
    assert_eq!(changes(&cluster), [0, 1, 1, 1]);
}

#[tokio::test]
async fn the_server_s_sentence_is_told_as_it_is_and_nobody_else_is_asked() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    let refusals = [
        (tonic::Code::FailedPrecondition, Code::RingConflict, false),
        (tonic::Code::InvalidArgument, Code::InvalidArgument, false),
        (tonic::Code::NotFound, Code::UnknownNode, false),
        (tonic::Code::Unavailable, Code::NoMajority, true),
    ];
    for (number, (status, code, open)) in refusals.into_iter().enumerate() {
        let sentence = format!("no, because of {number}");
        let refusal = Status::new(status, sentence.clone());
        cluster.nodes[0].does_to_the_ring(move |_| RingReply::Refuse(refusal.clone()));
        let error = apply(&client).await.unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (code, sentence.as_str()));
        assert_eq!(error.may_have_happened(), open);
        assert_eq!(changes(&cluster), [number + 1, 0]);
    }
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_not_sent_again_and_what_became_of_it_is_told() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    first_does(&cluster, RingReply::Cut, under_way("node-6 joins", false));
    let error = apply(&client).await.unwrap_err();
    assert!(error.code == Code::CoordinatorLost && error.may_have_happened());
    for says in ["was lost before it answered", "may or may not have begun", "Change 8 is under way (node-6 joins)"] {
        assert!(error.message.contains(says), "{error}");
    }
    assert!(error.message.contains("`dynamo ring status`"), "{error}");
    assert_eq!(changes(&cluster), [1, 0]);
}

#[tokio::test]
async fn a_silent_node_is_waited_for_and_then_not_replaced() {
    let cluster = Cluster::start(2).await;
    let mut config = cluster.config();
    config.timeout = Duration::from_millis(300);
    let client = Client::connect(config).await.unwrap();
    let settled = ProgressResponse { version: PLANNED, epoch: 3, ..ProgressResponse::default() };
    first_does(&cluster, RingReply::Never, RingReply::Say(RingAnswer::Progress(settled)));
    let error = apply(&client).await.unwrap_err();
    assert!(error.message.contains("did not answer in time") && error.may_have_happened(), "{error}");
    assert!(error.message.contains("does not say that there is none"), "{error}");
    assert_eq!(changes(&cluster), [1, 0]);
}

#[tokio::test]
async fn a_lost_answer_in_a_cluster_where_nobody_else_answers_says_so() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client().await;
    cluster.nodes[0].does_to_the_ring(|_| RingReply::Cut);
    let error = apply(&client).await.unwrap_err();
    assert!(error.message.contains("No other node could be asked"), "{error}");
    assert_eq!(changes(&cluster), [1]);
}

#[tokio::test]
async fn taking_a_change_back_is_not_sent_twice_either() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    let cancel = CancelRequest { change: 8 };
    first_does(&cluster, RingReply::Cut, under_way("node-6 joins", true));
    let error = client.ring_changes().cancel(cancel).await.unwrap_err();
    assert!(error.message.contains("Change 8 is being taken back"), "{error}");
    assert_eq!(changes(&cluster), [1, 0]);
    cluster.nodes[0].die().await;
    let done = RingReply::Say(RingAnswer::Cancel(CancelResponse { change: 8, steps: 1 }));
    cluster.nodes[1].does_to_the_ring(move |_| done.clone());
    assert_eq!(client.ring_changes().cancel(cancel).await.unwrap().steps, 1);
    assert_eq!(cluster.nodes[1].ring_calls().last(), Some(&RingCall::Cancel(cancel)));
}

#[tokio::test]
async fn what_changes_nothing_is_asked_of_the_next_node_when_one_is_lost_or_cut_off() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    cluster.nodes[0].does_to_the_ring(|_| RingReply::Cut);
    cluster.nodes[1].does_to_the_ring(|_| RingReply::Refuse(Status::unavailable("no majority")));
    cluster.nodes[2].does_to_the_ring(|call| {
        RingReply::Say(match call {
            RingCall::Plan(_) => RingAnswer::Plan(PlanResponse { version: PLANNED, ..PlanResponse::default() }),
            RingCall::Progress => RingAnswer::Progress(ProgressResponse { epoch: 3, ..ProgressResponse::default() }),
            RingCall::Receipt(asked) => {
                RingAnswer::Receipt(ReceiptResponse { node: asked.node.clone(), ..ReceiptResponse::default() })
            }
            other => panic!("{other:?} changes something"),
        })
    });
    let ring = client.ring_changes();
    assert_eq!(ring.plan(PlanRequest::default()).await.unwrap().version, PLANNED);
    assert_eq!(ring.progress().await.unwrap().epoch, 3);
    assert_eq!(ring.receipt("node-2").await.unwrap().node, "node-2");
}

#[tokio::test]
async fn a_cluster_from_before_changes_of_the_ring_is_told_to_be_older() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client().await;
    for node in &cluster.nodes {
        node.does_to_the_ring(|_| RingReply::Refuse(Status::unimplemented("")));
    }
    let error = client.ring_changes().progress().await.unwrap_err();
    assert!(error.code == Code::BadEndpoint && error.message.contains("older than this client"), "{error}");
}

#[tokio::test]
async fn a_view_is_confirmed_by_whoever_can_or_is_the_newest_that_somebody_knows() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client().await;
    let knows = |version: u64, confirmed: bool| {
        RingReply::Say(RingAnswer::View(Box::new(ViewResponse { version, confirmed, ..ViewResponse::default() })))
    };
    for (node, version) in cluster.nodes.iter().zip([7, 9, 8]) {
        node.does_to_the_ring(move |_| knows(version, false));
    }
    let view = client.ring_changes().view(true).await.unwrap();
    assert_eq!((view.version, view.confirmed), (9, false));
    let view = client.ring_changes().view(false).await.unwrap();
    assert_eq!(view.version, 7, "nobody else is asked");
    cluster.nodes[2].does_to_the_ring(move |_| knows(8, true));
    let view = client.ring_changes().view(true).await.unwrap();
    assert_eq!((view.version, view.confirmed), (8, true));
}
