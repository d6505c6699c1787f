//! What every part of the operator is given.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use dynamo_crd::DynamoCluster;
use dynamo_planner::Memory;
use kube::{Client, ResourceExt};

use crate::{
    authority::{Authority, Serving, Watched},
    caches::Caches,
    events::Recorder,
    render::Release,
    ring::Asker,
    settings::Settings,
};

/// One operator's.
pub struct Context {
    /// The API server. What it refuses is not sent again by the client: a write that comes late may be a wrong one.
    pub client: Client,
    /// What the API server was last heard to have.
    pub caches: Caches,
    /// What it was told at its start.
    pub settings: Settings,
    /// What it brings.
    pub release: Release,
    /// Who tends the certificates.
    pub authority: Authority,
    /// The signer's own certificate, whose authority every cluster is told.
    pub serving: Arc<Serving>,
    /// Who sends events.
    pub recorder: Recorder,
    /// Who asks the nodes.
    pub rings: Asker,
    /// What time it is.
    pub clock: Clock,
    /// Whether the Prometheus operator's ServiceMonitor is served.
    pub service_monitors: AtomicBool,
    /// What is remembered of each cluster; nothing is unsafe without it.
    pub memories: Memories,
}

impl Context {
    /// Of an operator that begins.
    pub fn new(client: Client, caches: Caches, settings: Settings, clock: Clock) -> Context {
        let (release, rings) = (settings.release(), Asker::new(settings.node_port));
        let memories = Memories::default();
        let service_monitors = AtomicBool::new(false);
        let serving = Serving::new(client.clone(), &settings.namespace, &settings.signer_host());
        let watched = Watched { secrets: caches.secrets.clone(), config_maps: caches.config_maps.clone() };
        let authority = Authority::new(client.clone(), serving.clone()).watching(watched);
        let recorder = Recorder::new(client.clone(), &settings.identity);
        Context {
            client,
            caches,
            settings,
            release,
            authority,
            serving,
            recorder,
            rings,
            clock,
            service_monitors,
            memories,
        }
    }

    /// A resource is gone.
    pub fn forget(&self, id: &ClusterId) {
        if let Some(uid) = self.memories.forget(id) {
            self.authority.forget(&uid);
        }
        self.rings.forget(id);
    }

    /// Looks for kinds that may or may not be served.
    pub async fn look_for_kinds(&self) {
        let served = match self.client.list_api_group_resources("monitoring.coreos.com/v1").await {
            Ok(list) => list.resources.iter().any(|resource| resource.kind == "ServiceMonitor"),
            Err(kube::Error::Api(status)) if status.is_not_found() => false,
            // It is as it was.
            Err(_) => return,
        };
        self.service_monitors.store(served, Ordering::Relaxed);
    }
}

/// The wall clock's time when the operator started, counted on by a clock that does not jump.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Duration,
    since: Instant,
    speed: u32,
}

impl Clock {
    /// From now on.
    pub fn start() -> Clock {
        Clock::fast(1)
    }

    /// One that goes so many times as fast, for tests: whatever is waited for comes sooner. What was read is not acted on for
    /// longer by that, so where two operators sleep with a write in hand it proves nothing.
    pub fn fast(speed: u32) -> Clock {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clock { wall, since: Instant::now(), speed: speed.max(1) }
    }

    /// Seconds.
    pub fn now_s(&self) -> u64 {
        (self.wall + self.since.elapsed() * self.speed).as_secs()
    }

    /// A pause by this clock.
    pub fn pause(&self, pause: Duration) -> Duration {
        pause / self.speed
    }
}

/// A cluster's namespace and name.
pub type ClusterId = (String, String);

/// Of a resource.
pub fn id_of(cluster: &DynamoCluster) -> ClusterId {
    (cluster.namespace().unwrap_or_default(), cluster.name_any())
}

/// Since when something has been so, for each cluster; and how often in a row looking after it has failed.
#[derive(Debug, Default)]
pub struct Memories {
    kept: Mutex<BTreeMap<ClusterId, Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// A resource that was made anew has no past.
    uid: String,
    memory: Memory,
    failures: u32,
}

impl Memories {
    /// Does something with a cluster's.
    pub fn with<T>(&self, cluster: &DynamoCluster, what: impl FnOnce(&mut Memory) -> T) -> T {
        self.kept(cluster, |kept| what(&mut kept.memory))
    }

    /// Looking after it failed: so many times in a row by now.
    pub fn failed(&self, cluster: &DynamoCluster) -> u32 {
        self.kept(cluster, |kept| {
            kept.failures = kept.failures.saturating_add(1);
            kept.failures
        })
    }

    /// It did not.
    pub fn succeeded(&self, cluster: &DynamoCluster) {
        self.kept(cluster, |kept| kept.failures = 0);
    }

    /// The resource is gone. Which it was.
    pub fn forget(&self, id: &ClusterId) -> Option<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(id).map(|kept| kept.uid)
    }

    fn kept<T>(&self, cluster: &DynamoCluster, what: impl FnOnce(&mut Kept) -> T) -> T {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.entry(id_of(cluster)).or_default();
        let uid = cluster.uid().unwrap_or_default();
        if kept.uid != uid {
            *kept = Kept { uid, ..Kept::default() };
        }
        what(kept)
    }
}
