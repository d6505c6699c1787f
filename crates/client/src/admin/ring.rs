//! Changes of the ring (§4.9): planned, applied, taken back, watched.
//!
//! Plans, progress and receipts change nothing, and are asked of node after node. A change is applied or taken back by
//! one node only: sent on to a second when the first was lost, it could be made twice, on a ring that others have changed
//! meanwhile. So what became of it is asked instead, and told.

use dynamo_wire::v1::{
    ApplyRequest, ApplyResponse, CancelRequest, CancelResponse, PlanRequest, PlanResponse, ProgressRequest,
    ProgressResponse, ReceiptRequest, ReceiptResponse, ViewRequest, ViewResponse, ring_admin_client::RingAdminClient,
};
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status};

use super::{ANSWER_BYTES, nobody};
use crate::{
    ask::Shared,
    client::Client,
    error::{Code, Error, cause_of},
    line::Line,
    nodes::unreachable,
};

type Admin = RingAdminClient<Line>;

/// Changes of a cluster's ring, from [`Client::ring_changes`].
#[derive(Clone, Copy)]
pub struct RingChanges<'a> {
    shared: &'a Shared,
}

/// How asking one node ended.
enum Asked<T> {
    Answered(T),
    /// Another node may be asked: this one has begun nothing.
    Elsewhere(Error),
    /// What the node said.
    Refused(Error),
    /// It may have done what it was asked, and did not say so.
    Lost(String),
}

impl Client {
    /// Changes of the ring.
    pub fn ring_changes(&self) -> RingChanges<'_> {
        RingChanges { shared: &self.shared }
    }
}

impl RingChanges<'_> {
    /// What a change would do. Changes nothing.
    ///
    /// # Errors
    /// It makes no sense, names a node that there is not, or nobody could work it out.
    pub async fn plan(&self, request: PlanRequest) -> Result<PlanResponse, Error> {
        self.read(async |mut admin: Admin| admin.plan(request.clone()).await).await
    }

    /// Begins a change, which then goes on by itself.
    ///
    /// # Errors
    /// It does not fit the ring: nothing was changed. After [`Error::may_have_happened`] the message says what was found
    /// of it; look at [`RingChanges::progress`] before it is applied again.
    pub async fn apply(&self, request: ApplyRequest) -> Result<ApplyResponse, Error> {
        let planned = request.version;
        let applied = self.once(async |mut admin: Admin| admin.apply(request.clone()).await).await;
        match applied {
            Ok(answer) => answer,
            Err(lost) => {
                let found = self.found().await;
                let found = found.map_or_else(|| NOBODY_KNOWS.to_owned(), |found| begun(&found, planned));
                Err(Error::new(
                    Code::CoordinatorLost,
                    format!(
                        "{lost}: the change may or may not have begun. {found} Look at `dynamo ring status` before you \
                         apply it again"
                    ),
                ))
            }
        }
    }

    /// Takes a change back.
    ///
    /// # Errors
    /// There is no such change under way. After [`Error::may_have_happened`] the message says what was found of it.
    pub async fn cancel(&self, request: CancelRequest) -> Result<CancelResponse, Error> {
        match self.once(async |mut admin: Admin| admin.cancel(request).await).await {
            Ok(answer) => answer,
            Err(lost) => {
                let found = self.found().await;
                let found = found.map_or_else(|| NOBODY_KNOWS.to_owned(), |found| taken_back(&found));
                Err(Error::new(
                    Code::CoordinatorLost,
                    format!(
                        "{lost}: the change may or may not be taken back. {found} Look at `dynamo ring status` before \
                         you take it back again"
                    ),
                ))
            }
        }
    }

    /// How far the change is that is under way, as the first node that answers knows it.
    ///
    /// # Errors
    /// No node answers.
    pub async fn progress(&self) -> Result<ProgressResponse, Error> {
        self.read(async |mut admin: Admin| admin.progress(ProgressRequest {}).await).await
    }

    /// Whether a node may be switched off for good.
    ///
    /// # Errors
    /// There is no such node, or it does not answer.
    pub async fn receipt(&self, node: &str) -> Result<ReceiptResponse, Error> {
        let request = ReceiptRequest { node: node.to_owned() };
        self.read(async |mut admin: Admin| admin.receipt(request.clone()).await).await
    }

    /// The ring and its nodes. With `confirm` whoever is asked asks a majority of the members first whether what it knows
    /// is the newest; where that does not succeed another node is asked. [`ViewResponse::confirmed`] says whether one did:
    /// if not, this is the newest of what some nodes know.
    ///
    /// # Errors
    /// No node answers.
    pub async fn view(&self, confirm: bool) -> Result<ViewResponse, Error> {
        let until = self.shared.deadline();
        let (mut newest, mut last): (Option<ViewResponse>, Error) = (None, nobody());
        let mut unconfirmed = 0;
        for address in self.shared.everyone() {
            let patience = until.min(Instant::now() + self.shared.attempt());
            let view = async |mut admin: Admin| admin.view(ViewRequest { confirm }).await;
            match self.ask(&address, patience, patience, &view).await {
                Asked::Answered(view) if view.confirmed || !confirm => return Ok(view),
                Asked::Answered(view) => {
                    unconfirmed += 1;
                    let newer = newest.as_ref().is_none_or(|newest| newest.version < view.version);
                    newest = if newer { Some(view) } else { newest };
                }
                Asked::Elsewhere(error) | Asked::Refused(error) => last = error,
                Asked::Lost(why) => last = silent(&why),
            }
            // Each takes its time to find no majority.
            if unconfirmed == UNCONFIRMED_MAX || Instant::now() >= until {
                break;
            }
        }
        newest.ok_or(last)
    }

    /// Asks node after node, which changes nothing.
    async fn read<T>(&self, call: impl AsyncFn(Admin) -> Result<Response<T>, Status>) -> Result<T, Error> {
        let until = self.shared.deadline();
        let mut last = nobody();
        for address in self.shared.everyone() {
            let patience = until.min(Instant::now() + self.shared.attempt());
            last = match self.ask(&address, patience, patience, &call).await {
                Asked::Answered(answer) => return Ok(answer),
                // One that reaches no majority, or not the node that it was asked about, may be the one that is cut off.
                Asked::Refused(error) if error.code == Code::NoMajority => error,
                Asked::Refused(error) => return Err(error),
                Asked::Elsewhere(error) => error,
                Asked::Lost(why) => silent(&why),
            };
            if Instant::now() >= until {
                break;
            }
        }
        Err(last)
    }

    /// Asks node after node until one may have begun it.
    ///
    /// # Errors
    /// How that one was lost.
    async fn once<T>(
        &self,
        call: impl AsyncFn(Admin) -> Result<Response<T>, Status>,
    ) -> Result<Result<T, Error>, String> {
        let until = self.shared.deadline();
        let mut last = nobody();
        for address in self.shared.everyone() {
            let to_connect = until.min(Instant::now() + self.shared.attempt());
            match self.ask(&address, to_connect, until, &call).await {
                Asked::Answered(answer) => return Ok(Ok(answer)),
                Asked::Refused(error) => return Ok(Err(error)),
                Asked::Lost(why) => return Err(why),
                Asked::Elsewhere(error) => last = error,
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(Err(last))
    }

    async fn ask<T>(
        &self,
        address: &str,
        to_connect: Instant,
        to_answer: Instant,
        call: &impl AsyncFn(Admin) -> Result<Response<T>, Status>,
    ) -> Asked<T> {
        let nodes = &self.shared.nodes;
        let line = match timeout_at(to_connect, nodes.line(address)).await {
            Ok(Ok(line)) => line,
            failed => {
                nodes.failed(address);
                let in_time = failed.unwrap_or_else(|_| Err(unreachable(address, "not connected in time")));
                return Asked::Elsewhere(in_time.err().unwrap_or_else(nobody));
            }
        };
        let admin = RingAdminClient::new(line).max_decoding_message_size(ANSWER_BYTES);
        let ended = match timeout_at(to_answer, call(admin)).await {
            Ok(Ok(response)) => Asked::Answered(response.into_inner()),
            Ok(Err(status)) => refused(&status, address),
            Err(_) => Asked::Lost(format!("{address} did not answer in time")),
        };
        match ended {
            Asked::Lost(_) => nodes.failed(address),
            _ => nodes.answered(address),
        }
        ended
    }

    /// What the others know, after a node was lost.
    async fn found(&self) -> Option<ProgressResponse> {
        self.progress().await.ok()
    }
}

/// So many nodes that reach no majority are asked for a view: then there is none to be reached, in all likelihood.
const UNCONFIRMED_MAX: usize = 3;

const NOBODY_KNOWS: &str = "No other node could be asked.";

/// What a node's status means for the next. Statuses that this side has made have a source: nothing else tells a
/// connection that broke from a node that says that no majority answers.
fn refused<T>(status: &Status, address: &str) -> Asked<T> {
    use std::error::Error as _;
    if let Some(error) = Error::named_by(status) {
        return match error.code {
            Code::NotReady | Code::Overloaded => Asked::Elsewhere(error),
            _ => Asked::Refused(error),
        };
    }
    let told = status.source().is_none() && !status.message().is_empty();
    let code = match status.code() {
        tonic::Code::Unimplemented => return Asked::Elsewhere(older(address)),
        tonic::Code::FailedPrecondition => Code::RingConflict,
        tonic::Code::InvalidArgument => Code::InvalidArgument,
        tonic::Code::NotFound => Code::UnknownNode,
        tonic::Code::Unavailable => Code::NoMajority,
        _ => return Asked::Lost(lost(address, status)),
    };
    if told { Asked::Refused(Error::new(code, status.message())) } else { Asked::Lost(lost(address, status)) }
}

fn silent(why: &str) -> Error {
    Error::new(Code::Unreachable, format!("{why}: nothing was changed; try again, or name another endpoint"))
}

fn lost(address: &str, status: &Status) -> String {
    format!("{address} was lost before it answered ({})", cause_of(status))
}

fn older(address: &str) -> Error {
    let message = format!(
        "{address} knows no changes of the ring: it is older than this client, or no node of a Dynamo cluster. Nothing was \
         changed; finish the upgrade, or check the address"
    );
    Error::new(Code::BadEndpoint, message)
}

/// What was found of a change that may have been applied on the planned version.
fn begun(found: &ProgressResponse, planned: u64) -> String {
    match &found.change {
        Some(change) => format!("Change {} is under way ({}), which may be it.", change.change, change.what),
        None if planned > 0 && found.version <= planned => {
            "The node that was asked next has not heard of a change, which does not say that there is none.".to_owned()
        }
        None => format!("The ring is settled at epoch {}, version {}.", found.epoch, found.version),
    }
}

fn taken_back(found: &ProgressResponse) -> String {
    match &found.change {
        Some(change) if change.cancelled => format!("Change {} is being taken back.", change.change),
        Some(change) => format!("Change {} is under way ({}), and not taken back.", change.change, change.what),
        None => format!("The ring is settled at epoch {}, version {}.", found.epoch, found.version),
    }
}
