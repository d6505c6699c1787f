//! What is asked of any node, and may be asked twice: the cluster's status and its ring. Buckets are in [`buckets`], changes
//! of the ring, which may not, in [`ring`].

mod buckets;
pub(crate) mod ring;

use dynamo_wire::v1::{self, StatusRequest, admin_client::AdminClient};
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status};

use crate::{
    client::Client,
    error::{Code, Error},
    line::Line,
    map::describe,
};

/// An answer: the most buckets that a cluster can have are far from it.
const ANSWER_BYTES: usize = 64 << 20;

impl Client {
    /// The cluster as the first node that answers sees it.
    ///
    /// # Errors
    /// No node answers.
    pub async fn status(&self) -> Result<v1::StatusResponse, Error> {
        let status =
            async |mut admin: AdminClient<Line>| admin.status(StatusRequest {}).await.map(Response::into_inner);
        self.admin(status).await
    }

    /// The ring and its members.
    ///
    /// # Errors
    /// No node answers.
    pub async fn describe_ring(&self) -> Result<v1::DescribeRingResponse, Error> {
        let until = self.shared.deadline();
        let mut last = nobody();
        for address in self.shared.everyone() {
            match timeout_at(until, describe(&self.shared.nodes, &address)).await {
                Ok(Ok(description)) => return Ok(description),
                Ok(Err(error)) => last = error,
                Err(_) => break,
            }
        }
        Err(last)
    }

    /// Asks node after node; what is asked here may be done twice.
    async fn admin<T>(&self, call: impl AsyncFn(AdminClient<Line>) -> Result<T, Status>) -> Result<T, Error> {
        let until = self.shared.deadline();
        let mut last = nobody();
        for address in self.shared.everyone() {
            let attempt_until = until.min(Instant::now() + self.shared.attempt());
            match timeout_at(attempt_until, self.admin_one(&address, &call)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error,
                Err(_) => {
                    let message =
                        format!("{address} did not answer in time: a change may or may not have been made; try again");
                    last = Error::new(Code::Timeout, message);
                }
            }
            match last.code {
                Code::Unreachable | Code::Timeout | Code::CoordinatorLost | Code::BadEndpoint | Code::Untrusted => {
                    self.shared.nodes.failed(&address);
                }
                Code::NotReady | Code::Overloaded => {}
                _ => break,
            }
            if Instant::now() >= until {
                break;
            }
        }
        Err(last)
    }

    async fn admin_one<T>(
        &self,
        address: &str,
        call: &impl AsyncFn(AdminClient<Line>) -> Result<T, Status>,
    ) -> Result<T, Error> {
        let client = AdminClient::new(self.shared.nodes.line(address).await?).max_decoding_message_size(ANSWER_BYTES);
        call(client).await.map_err(|status| Error::from_status(&status, address))
    }
}

fn nobody() -> Error {
    Error::new(Code::Unreachable, "no node of the cluster is known: nothing was read or written")
}
