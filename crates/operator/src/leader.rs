//! That one operator works where several run, by a Lease.
//!
//! A Lease fences nothing: who held it may have slept. Safety is the turns' (see `planner::turn`); this is only so that two do
//! not do the same work. So it is small: the Lease is taken and renewed by compare-and-set, and who does not hold it counts
//! by its own clock how long it has seen no renewal. Clocks of two machines are never compared.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{sleep, timeout};

/// How long a Lease counts that nobody renews.
const LASTS: Duration = Duration::from_secs(15);
/// How often it is renewed, or looked at.
const EVERY: Duration = Duration::from_secs(3);
/// Who has not renewed it for this long stops: before anybody else may begin.
const GIVES_UP: Duration = Duration::from_secs(10);

/// A Lease that operators work under.
pub struct Leadership {
    api: Api<Lease>,
    name: String,
    identity: String,
    lasts: Duration,
    /// The Lease as this operator wrote it last: whoever renews it needs not read it first.
    written: Mutex<Option<Lease>>,
}

/// What was last seen of a Lease that somebody else holds.
struct Watched {
    version: Option<String>,
    since: Instant,
}

impl Leadership {
    /// The Lease of this name, to be held under this identity.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Leadership {
        let api = Api::namespaced(client, namespace);
        let (name, identity, written) = (name.to_owned(), identity.to_owned(), Mutex::default());
        Leadership { api, name, identity, lasts: LASTS, written }
    }

    /// Waits until this operator holds the Lease.
    pub async fn win(&self) {
        let mut watched: Option<Watched> = None;
        loop {
            match timeout(EVERY, self.try_to_win(&mut watched)).await {
                Ok(Ok(true)) => {
                    tracing::info!(lease = self.name, identity = self.identity, "this operator works from now on");
                    return;
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "the Lease was not taken: trying again"),
                Err(_) => tracing::warn!(lease = self.name, "the API server does not answer: trying again"),
            }
            sleep(EVERY).await;
        }
    }

    /// Renews the Lease until it is lost; who returns from here must not work any more.
    pub async fn hold(&self) -> String {
        let mut renewed = Instant::now();
        loop {
            sleep(EVERY).await;
            let began = Instant::now();
            let left = GIVES_UP.saturating_sub(renewed.elapsed());
            match timeout(left, self.renew()).await {
                Ok(Ok(true)) => renewed = began,
                Ok(Ok(false)) => return "somebody else holds the Lease".to_owned(),
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, %error, "the Lease was not renewed");
                    if renewed.elapsed() >= GIVES_UP {
                        return format!("the Lease was not renewed in time ({error})");
                    }
                }
                Err(_) => return "the Lease was not renewed in time".to_owned(),
            }
        }
    }

    /// Lets others begin at once.
    pub async fn release(&self) {
        let released = timeout(EVERY, async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            if holder(&lease) == Some(&self.identity) {
                lease.spec.get_or_insert_default().holder_identity = None;
                self.api.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        });
        if !matches!(released.await, Ok(Ok(()))) {
            tracing::debug!(lease = self.name, "the Lease was not released: it runs out by itself");
        }
    }

    async fn try_to_win(&self, watched: &mut Option<Watched>) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(self.spec(0)) };
            return self.taken(self.api.create(&PostParams::default(), &lease).await);
        };
        let free = holder(&lease).is_none_or(|holder| holder.is_empty() || *holder == self.identity);
        let version = lease.resource_version();
        let seen = watched.get_or_insert_with(|| Watched { version: version.clone(), since: Instant::now() });
        if seen.version != version {
            *seen = Watched { version, since: Instant::now() };
        }
        if free || seen.since.elapsed() >= self.lasts {
            let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
            let lease = Lease { spec: Some(self.spec(transitions + 1)), ..lease };
            return self.taken(self.api.replace(&self.name, &PostParams::default(), &lease).await);
        }
        Ok(false)
    }

    /// One write, on the version that was written last. Where that is refused somebody else wrote to it since, or an answer was
    /// lost: only then it is read.
    async fn renew(&self) -> Result<bool, kube::Error> {
        if let Some(lease) = self.known()
            && self.renew_as(lease).await?
        {
            return Ok(true);
        }
        let lease = self.api.get(&self.name).await?;
        if holder(&lease) != Some(&self.identity) {
            return Ok(false);
        }
        self.renew_as(lease).await
    }

    async fn renew_as(&self, mut lease: Lease) -> Result<bool, kube::Error> {
        lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
        self.taken(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn known(&self) -> Option<Lease> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Somebody else was faster: that is no error.
    fn taken(&self, written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
        let lease = match written {
            Ok(lease) => Some(lease),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => None,
            Err(error) => return Err(error),
        };
        let is_taken = lease.is_some();
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = lease;
        Ok(is_taken)
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.lasts.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref()
}
