//! A large request as a call of its own: it may be larger than the node takes, and must not end a session of many.

use dynamo_wire::v1::{kv_client::KvClient, session_request::Request, session_response::Response};
use tokio::time::timeout_at;
use tonic::Status;

use crate::{
    attempt::{Failed, Kind, Next, Patience},
    error::{Code, Error, cause_of, no_node},
    frames::bytes_of,
    line::Line,
};

/// An answer to a get: a node sends no larger one.
const ANSWER_BYTES: usize = 256 << 20;
/// No node can be configured to take a larger value (64 MiB), key, or context.
const REQUEST_BYTES: usize = 80 << 20;

/// Asks, and waits for the answer.
pub(crate) async fn ask(line: &Line, node: &str, request: Request, patience: Patience) -> Result<Response, Failed> {
    let (kind, bytes) = (Kind::of(&request), bytes_of(Some(&request)));
    if bytes > REQUEST_BYTES {
        return Err(Failed::refused(too_large(bytes, "no node takes more than 64 MiB")));
    }
    let client = KvClient::new(line.clone())
        .max_decoding_message_size(ANSWER_BYTES)
        .max_encoding_message_size(REQUEST_BYTES + 1024);
    match timeout_at(patience.to_answer, call(client, request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(status)) => Err(failed(&status, node, kind, bytes)),
        Err(_) => Err(Failed::silent(node, kind)),
    }
}

async fn call(mut client: KvClient<Line>, request: Request) -> Result<Response, Status> {
    Ok(match request {
        Request::Get(get) => Response::Get(client.get(get).await?.into_inner()),
        Request::Put(put) => Response::Put(client.put(put).await?.into_inner()),
        Request::Delete(delete) => Response::Delete(client.delete(delete).await?.into_inner()),
    })
}

fn failed(status: &Status, node: &str, kind: Kind, bytes: usize) -> Failed {
    if let Some(error) = Error::named_by(status) {
        return Failed::refused(error);
    }
    match status.code() {
        // How tonic says that a message is over the limit of whoever was to read it.
        tonic::Code::OutOfRange => {
            let error = too_large(bytes, &format!("{node} does not take so much: {}", status.message()));
            Failed { error, next: Next::Nobody, avoid: false }
        }
        tonic::Code::Unimplemented => Failed::unsent(Error::new(Code::BadEndpoint, no_node(node))),
        _ => Failed::lost(node, &cause_of(status), kind),
    }
}

fn too_large(bytes: usize, why: &str) -> Error {
    let message = format!(
        "the request has {bytes} bytes ({why}): nothing was read or written; split the value, or store it elsewhere and keep a reference here"
    );
    Error::new(Code::InvalidArgument, message)
}
