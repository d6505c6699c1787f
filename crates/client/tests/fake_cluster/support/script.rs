//! What a fake node does with a request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dynamo_wire::v1::{
    DeleteResponse, ErrorCode, Failure, GetResponse, PutResponse, session_request::Request, session_response::Response,
};

/// What a fake node does with a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Answers.
    Say(Response),
    /// Answers with nothing in it, as a node of a later version might.
    Empty,
    /// Answers after this (real) time, and others meanwhile.
    Late(Duration, Response),
    /// Keeps silent.
    Never,
    /// Answers nobody, and then the caller.
    Astray(Response),
    /// Answers twice; the second answer is a refusal.
    Twice(Response),
    /// Ends the stream in good order: all that was begun is answered.
    End,
    /// Ends the stream.
    HangUp,
    /// Cuts all its connections.
    Cut,
    /// Writes rubbish into its connections.
    Babble,
}

/// Of each request.
pub type Script = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// An answer that tells of the key that was asked for.
pub fn normal(request: &Request) -> Response {
    let context = |key: &Bytes| Bytes::from([b"context of ", &key[..]].concat());
    match request {
        Request::Get(get) => Response::Get(GetResponse { values: vec![get.key.clone()], context: context(&get.key) }),
        Request::Put(put) => Response::Put(PutResponse { context: context(&put.key), siblings: 1 }),
        Request::Delete(delete) => Response::Delete(DeleteResponse { context: context(&delete.key) }),
    }
}

/// A refusal in words of its own.
pub fn fail(code: ErrorCode) -> Response {
    Response::Failure(Failure { code: code as i32, message: format!("the fake node says {}", code.as_str_name()) })
}

pub fn key_of(request: &Request) -> &Bytes {
    match request {
        Request::Get(get) => &get.key,
        Request::Put(put) => &put.key,
        Request::Delete(delete) => &delete.key,
    }
}
