//! What is measured: clusters that are started, loaded, and stopped again. [`ours`] this project's nodes, with [`authority`] for TLS;
//! [`peers`] other stores, by their own scripts; [`check`] whether what ours acknowledged outlived a crash.
//!
//! One store is measured at a time. Ours are stopped while they are not; a peer stays up, since a JVM begins anew with every start.

mod authority;
pub mod check;
pub mod ours;
pub mod peers;

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use dynamo_client::Routing;

use self::{check::Checked, ours::Durability, peers::Peer};
use crate::{
    drivers::{
        Connected,
        ours::{Contexts, Ours},
    },
    workload::{Asking, Load, draw::Values, ledger::Ledger, preload::preload},
};

/// A store and what it promises, as rows have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// `dynamo`, `dynamo-tls`, `cassandra`, `etcd`
    pub store: String,
    /// When a write is acknowledged.
    pub durability: String,
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.store, self.durability)
    }
}

/// Where the clusters are.
enum Kind {
    Ours { settings: ours::Settings, cluster: Option<Box<ours::Cluster>> },
    Peer(peers::Cluster),
}

/// What a loaded store holds.
struct Loaded {
    ledger: Arc<Ledger>,
    contexts: Contexts,
    values: Values,
}

/// One store.
pub struct Store {
    label: Label,
    kind: Kind,
    loaded: Option<Loaded>,
    driver: Option<Connected>,
}

impl Store {
    /// This project's, with these settings.
    pub fn ours(settings: ours::Settings) -> Self {
        let tls = if settings.tls { "-tls" } else { "" };
        let routing = if settings.routing == Routing::Server { "-server-driven" } else { "" };
        let label = Label { store: format!("dynamo{tls}{routing}"), durability: settings.durability.name().to_owned() };
        Self { label, kind: Kind::Ours { settings, cluster: None }, loaded: None, driver: None }
    }

    /// Another one.
    ///
    /// # Errors
    /// Its script is not found.
    pub fn peer(peer: Peer) -> Result<Self> {
        let (store, durability) = peer.label();
        let label = Label { store: store.to_owned(), durability: durability.to_owned() };
        Ok(Self { label, kind: Kind::Peer(peers::Cluster::find(peer)?), loaded: None, driver: None })
    }

    /// Who it is.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// The processes that serve.
    pub fn pids(&self) -> Vec<u32> {
        match &self.kind {
            Kind::Ours { cluster, .. } => cluster.as_ref().map(|cluster| cluster.pids()).unwrap_or_default(),
            Kind::Peer(cluster) => cluster.pids(),
        }
    }

    /// Has it hold all keys with values of this size, and nothing else. Tells how long it has to be loaded before it is
    /// measured.
    ///
    /// # Errors
    /// It can't be started, or does not take the keys.
    pub async fn load(&mut self, load: Load, done: impl Fn() + Clone + Send + 'static) -> Result<Duration> {
        let ledger = Arc::new(Ledger::new(load.keys));
        self.driver = None;
        self.loaded =
            Some(Loaded { ledger, contexts: Contexts::new(load.keys), values: Values::new(load.value_bytes) });
        let heat = match &mut self.kind {
            Kind::Ours { settings, cluster } => {
                // The one before goes with its files first.
                *cluster = None;
                *cluster = Some(Box::new(ours::Cluster::make(settings.clone())?));
                Duration::ZERO
            }
            Kind::Peer(cluster) => cluster.renew().await?,
        };
        preload(self.asking(load).await?, done).await?;
        Ok(heat)
    }

    /// Has it running and connected, to be asked for this.
    ///
    /// # Errors
    /// It can't be started.
    pub async fn asking(&mut self, load: Load) -> Result<Arc<Asking<Connected>>> {
        let loaded = self.loaded.as_ref().expect("it is loaded before it is asked");
        if let Kind::Ours { cluster: Some(cluster), .. } = &mut self.kind
            && !cluster.is_running()
        {
            cluster.start().await?;
            self.driver = None;
        }
        let driver = match (&self.driver, &self.kind) {
            (Some(driver), _) => driver.clone(),
            (None, Kind::Peer(cluster)) => cluster.connect().await?,
            (None, Kind::Ours { cluster, .. }) => {
                let cluster = cluster.as_ref().expect("it is made when it is loaded");
                let (endpoints, tls) = (cluster.endpoints(), cluster.caller()?);
                Connected::Ours(Ours::connect(endpoints, tls, cluster.routing(), loaded.contexts.clone()).await?)
            }
        };
        self.driver = Some(driver.clone());
        let (ledger, values) = (loaded.ledger.clone(), loaded.values.clone());
        Ok(Arc::new(Asking { driver, ledger, values, load }))
    }

    /// Ours are killed all at once as `kill -9` does, started again, and asked for a sample of what they acknowledged; nothing of
    /// a peer.
    ///
    /// # Errors
    /// They don't start again, or don't answer.
    pub async fn crash(&mut self, load: Load, sample: u64) -> Result<Option<Checked>> {
        let Kind::Ours { cluster: Some(cluster), .. } = &mut self.kind else { return Ok(None) };
        ensure!(cluster.is_running(), "{} has ended by itself", self.label);
        cluster.kill().await?;
        let asking = self.asking(load).await?;
        let Connected::Ours(driver) = &asking.driver else { unreachable!("its cluster is ours") };
        check::check(driver, &asking.ledger, sample).await.map(Some)
    }

    /// Out of the way of the next: ours are stopped, with their data kept.
    ///
    /// # Errors
    /// A node can't be stopped.
    pub async fn rest(&mut self) -> Result<()> {
        if let Kind::Ours { cluster: Some(cluster), .. } = &mut self.kind {
            self.driver = None;
            cluster.stop().await?;
        }
        Ok(())
    }

    /// What is to be known of it, where it stands beside ours.
    pub fn promises(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Ours { .. } => None,
            Kind::Peer(cluster) => Some(cluster.peer().promises()),
        }
    }
}

/// This project's stores, one for each durability, and one more for each with TLS; then the peers.
///
/// # Errors
/// Peers that are not found, or that can't be up together.
pub fn all(settings: &ours::Settings, durabilities: &[Durability], peers: &[Peer]) -> Result<Vec<Store>> {
    peers::check(peers)?;
    let mut stores = Vec::new();
    for &durability in durabilities {
        let plain = ours::Settings { durability, tls: false, ..settings.clone() };
        let tls = settings.tls.then(|| ours::Settings { tls: true, ..plain.clone() });
        stores.extend([Some(plain), tls].into_iter().flatten().map(Store::ours));
    }
    for &peer in peers {
        stores.push(Store::peer(peer)?);
    }
    Ok(stores)
}
