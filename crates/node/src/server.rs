//! Putting a node together, and taking it down in order.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use dynamo_gossip::{Gossip, NodeInfo, Phase, Settings as GossipSettings};
use dynamo_keeper::Started;
use dynamo_quorum::Durability;
use dynamo_ring::{
    NodeId,
    charter::{Charter, Gone},
};
use dynamo_storage::engine::MemoryEngine;
use dynamo_storage::{DataDir, Durability as StoreDurability, Identity as Minting, Opened, Settings as StoreSettings};
use dynamo_transfer::DeliverySettings;
use dynamo_version::ContextCodec;
use dynamo_wire::v1::{ReplicaReply, kv_server::KvServer};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::{
    buckets::Buckets,
    clock::Clock,
    cluster::{Cluster, Standing, View},
    completion::LocalStore,
    config::{Config, DurabilityKind, EngineKind, MemberConfig},
    coordinator::{Coordinator, Parts, RequestLimits, RequestTimes},
    handoff::{self, Handoff, HandoffEvents, HandoffNews},
    handover::Handover,
    http::{self, Readiness},
    identity::{self, Home, Identity},
    keeping::{self, KeeperEvents, KeeperNews, Keeping, Line},
    language::Spoken,
    link::{Class, LinkEvents, StreamIdentity},
    listen::listen,
    lost::Lost,
    meeting::Meeting,
    membership::{self, Membership},
    metrics::NodeMetrics,
    network::Network,
    ports::{Clients, serve_clients, serve_peers},
    replica::Replicas,
    ring_mark::RingMark,
    service::{kv::KvService, ring::RingService, session::Sessions},
    tls::{self, NodeTls, Signer},
};

/// Why a node has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Its disk was an old copy, or older than what was collected since: that has another life now, and the node is to be
    /// run again.
    AsAnOldCopy,
}

/// Runs a node until `stop` turns true, then stops it in order: no new requests, those in flight finish, the engine
/// closes cleanly. One that learns that its disk is an old copy stops in the same way.
///
/// # Errors
/// The node could not start (a port taken, a data directory that is not its own), or its engine failed to close.
pub async fn run(config: Config, mut stop: watch::Receiver<bool>) -> anyhow::Result<Ended> {
    let me = config.this_node();
    let listeners = Listeners::bind(&config).await?;
    let id = NodeId::initial(&config.cluster.name, &me.name);
    // Held until the node has stopped.
    let mut home = identity::open(&config.node.data_dir, &config.cluster.name, &me.name, id, Clock::wall_ms())?;
    if config.storage.engine == EngineKind::Memory {
        home.identity = home.identity.after_amnesia();
    }
    let secured = tls::open(&config, &mut stop).await?;
    // Set for names that are given to one start alone: no life has it.
    let stand_in = rand::random::<u64>() | 1 << 63;
    let left = home.retire(config.retired(), Clock::wall_ms()).context("emptying a disk that left its cluster")?;
    home.remove_discarded().context("removing what is left of a store that was discarded")?;
    let (store, found) = open_store(&config, home.store(), id, stand_in).await?;
    let store = Arc::new(store);
    let born = left.is_some() || is_born(&config, &mut home, &store, &found)?;
    let start = started(&config, &home.identity, &found);
    let metrics = recorder();
    let tls = secured.as_ref().map(|(tls, _)| tls.clone());
    let start = (start, (born, found.new), stand_in);
    let mut node = Node::assemble(&config, &me, (id, &home.identity), store.clone(), start, tls)?;
    node.signer = secured.and_then(|(_, signer)| signer);
    let outcome = node.serve(&config, listeners, metrics, stop).await;
    tokio::task::spawn_blocking(move || store.close()).await.context("closing the store")?;
    match outcome? {
        Line::Superseded(superseded) => {
            home.begin_life(Clock::wall_ms(), (superseded.newest_life, superseded.mark.generation))?;
            tracing::error!(
                node = me.name,
                life = home.identity.incarnation,
                "{superseded}: it may have forgotten what it acknowledged and promised, so it goes on as a new disk in place of the old one; what it lacks is fetched from the replicas, and strict reads are refused here until then; if another process runs on the newer copy, stop one of them"
            );
            Ok(Ended::AsAnOldCopy)
        }
        Line::Outlived => {
            home.begin_life(Clock::wall_ms(), (0, 0))?;
            home.discard_store().context("emptying a disk that is older than what was collected since")?;
            tracing::error!(
                node = me.name,
                life = home.identity.incarnation,
                "tombstones were collected since this disk was written, so that it would bring back what was deleted: it was emptied, and goes on as a new disk in place of the old one; all that it had, and more, is fetched from the replicas, and strict reads are refused here until then"
            );
            Ok(Ended::AsAnOldCopy)
        }
        Line::Asked | Line::Known => {
            tracing::info!(node = me.name, "stopped");
            Ok(Ended::Stopped)
        }
    }
}

/// Whether the disk's life begins with this start. It does on a new disk, and on one whose store has lost what was durable,
/// or is gone: then it is another life from now on.
fn is_born(config: &Config, home: &mut Home, store: &LocalStore, found: &Opened) -> anyhow::Result<bool> {
    let first = home.identity.generation == 1;
    if config.storage.engine == EngineKind::Memory {
        return Ok(first);
    }
    let gone = found.new && !first;
    if found.lost_tail || gone {
        home.begin_life(Clock::wall_ms(), (0, 0))?;
        store.loss_is_known().context("the loss of durable writes can't be noted")?;
    }
    if gone {
        let life = home.identity.incarnation;
        tracing::warn!(life, "there is no store beside this disk's identity: it goes on as a new disk");
    } else if found.lost_tail {
        tracing::error!(
            found = found.commit,
            expected = found.high_water,
            life = home.identity.incarnation,
            "this disk has lost writes that were durable: it goes on as a new disk in place of the old one; what it lacks is fetched from the replicas, and strict reads are refused here until then; check the disk"
        );
    }
    Ok(first || found.lost_tail || gone)
}

/// What this start is told to others as.
fn started(config: &Config, identity: &Identity, found: &Opened) -> Started {
    let Identity { incarnation: life, generation, .. } = *identity;
    let lot = rand::random();
    match config.storage.engine {
        EngineKind::Fjall => Started { life, generation, lot, found: found.commit, durable: found.commit },
        // Nothing of it is durable, so that nothing can be missing.
        EngineKind::Memory => Started { life, generation, lot, found: u64::MAX, durable: 0 },
    }
}

struct Listeners {
    client: TcpListener,
    peer: TcpListener,
    http: TcpListener,
}

impl Listeners {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let node = &config.node;
        Ok(Self {
            client: listen("node.client_listen", &node.client_listen).await?,
            peer: listen("node.peer_listen", &node.peer_listen).await?,
            http: listen("node.http_listen", &node.http_listen).await?,
        })
    }
}

/// The store, which mints under `incarnation` at first, and what was found.
async fn open_store(
    config: &Config,
    at: PathBuf,
    id: NodeId,
    incarnation: u64,
) -> anyhow::Result<(LocalStore, Opened)> {
    let storage = &config.storage;
    let settings = StoreSettings {
        durability: match storage.durability {
            DurabilityKind::Fsync => StoreDurability::Fsync,
            DurabilityKind::OneFsync => StoreDurability::OneFsync,
            DurabilityKind::Interval => StoreDurability::Interval { ms: storage.interval_ms },
        },
        cache_bytes: storage.cache_mib << 20,
        memtable_bytes: storage.memtable_mib << 20,
        reserve_bytes: storage.reserve_mib << 20,
        hints_bytes_max: storage.hints_max_mib << 20,
        siblings_max: config.limits.siblings_max,
        read_threads: storage.readers,
        ..StoreSettings::default()
    };
    let minting = Minting { node: id.0, incarnation };
    let (engine, dir) = (storage.engine, config.node.data_dir.clone());
    let opened = tokio::task::spawn_blocking(move || match engine {
        EngineKind::Fjall => LocalStore::open(DataDir::take(at)?, settings, minting),
        EngineKind::Memory => {
            LocalStore::in_memory(MemoryEngine::new(), settings, minting, dynamo_storage::disk_probe(&dir))
        }
    });
    let (store, found) = opened.await.context("opening the store")??;
    tracing::info!(new = found.new, clean = found.clean, commit = found.commit, "the store is open");
    Ok((store, found))
}

/// The process's recorder: installed once, also when several nodes run in one process.
fn recorder() -> PrometheusHandle {
    static HANDLE: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    let seconds = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
    let install = || {
        let of = |builder: PrometheusBuilder, name: &str, buckets: &[f64]| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets).expect("there are buckets")
        };
        let builder = PrometheusBuilder::new().set_buckets(&seconds).expect("there are buckets");
        let builder = of(builder, "dynamo_siblings", &[1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0]);
        let builder = of(builder, "dynamo_context_bytes", &[64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 65_536.0]);
        builder.install_recorder().expect("the only recorder of the process")
    };
    HANDLE.get_or_init(install).clone()
}

struct Node {
    coordinator: Arc<Coordinator>,
    membership: Arc<Membership>,
    handoff: Handoff,
    keeping: Keeping,
    network: Arc<Network>,
    handoff_events: HandoffEvents,
    keeper_events: KeeperEvents,
    tls: Option<Arc<NodeTls>>,
    signer: Option<Signer>,
}

impl Node {
    fn assemble(
        config: &Config,
        me: &MemberConfig,
        (id, identity): (NodeId, &Identity),
        store: Arc<LocalStore>,
        (started, (born, empty), stand_in): (Started, (bool, bool), u64),
        tls: Option<Arc<NodeTls>>,
    ) -> anyhow::Result<Self> {
        let clock = Clock::new();
        let connect_timeout = Duration::from_millis(config.timeouts.connect_ms);
        let first = Charter::first(config.first_ring()?);
        let (name, mark) = (config.cluster.name.clone(), Arc::new(RingMark::default()));
        let (cluster, ring) = (name.clone(), mark.clone());
        let stream = StreamIdentity { cluster, node: id, ring, connect_timeout, tls: tls.clone() };
        let network = Network::new(id, stream, clock, tokio::runtime::Handle::current());
        let ids: Vec<NodeId> = first.ring().members().iter().map(|member| member.id).collect();
        let peers = network.set(ids, |id| configured_address(config, id));
        let cluster = Cluster::new(name, id, View::new(first.ring().clone(), peers, id), mark);
        let (handoff_events, inbox) = handoff::channel();
        let (keeper_events, keeper_inbox) = keeping::channel();
        let coordinator = Coordinator::new(Parts {
            cluster: Arc::new(cluster),
            buckets: Arc::new(Buckets::new()),
            contexts: ContextCodec::new(&secret(config), &config.cluster.name),
            store: store.clone(),
            handoff: handoff_events.clone(),
            keeper: keeper_events.clone(),
            limits: limits(config),
            times: times(config),
            durability: durability(config),
            clock,
            metrics: Arc::new(NodeMetrics::new()),
            runtime: tokio::runtime::Handle::current(),
        });
        let (incarnation, background) = (identity.incarnation, config.background.clone());
        let collect_every_us = config.tombstones.collect_every_s * 1_000_000;
        let start = keeping::Start { incarnation, first, background, collect_every_us, started, born, empty };
        let keeper = keeping::open(&coordinator, &start)?;
        let (version, charter, _) = keeping::known(&keeper);
        let gone = Gone { id, incarnation: identity.incarnation };
        // A member of another life is not gone: this is an old copy of its disk, and the others will say so.
        let has_left = charter.gone().contains(&gone) && charter.ring().member(id).is_none();
        if has_left && !charter.leavers().contains(&id) {
            return Err(anyhow!(
                "this node left its cluster, or was removed, with the data that {} holds, and nobody takes that from it any more: nothing was changed; to let it join as a new node give it an empty node.data_dir, or set node.retired to {}, the life of that disk: then it is emptied at the start",
                config.node.data_dir.display(),
                identity.incarnation
            ));
        }
        if has_left {
            // Hints that it holds for others may be the only copies.
            tracing::warn!("this node left its cluster, and hands over what it holds still: wait for its receipt");
        }
        let info = my_info(me, id, identity, charter.ring().epoch(), version);
        let address = info.peer_addr.clone();
        let settings = GossipSettings { down_after_us: config.gossip.down_after_ms * 1000 };
        let known = config.cluster.members.iter().filter(|member| member.name != me.name);
        let known = known.map(|member| configured_info(config, member)).collect();
        let mut machine = Gossip::new(info, identity.generation, config.cluster.seeds.clone(), known, settings);
        machine.restore_buckets(membership::stored_buckets(&store));
        let membership = Membership::new(machine, coordinator.clone(), address, connect_timeout, tls.clone());
        coordinator.cluster.adopt(keeping::view(&network, &membership, &charter));
        let delivery = DeliverySettings {
            window: config.handoff.window,
            page: config.handoff.window * 2,
            bytes_per_s: config.handoff.bytes_per_s,
            burst_bytes: config.handoff.bytes_per_s / 4,
            backoff_min_us: 100_000,
            backoff_max_us: 10_000_000,
            confirm_timeout_us: config.timeouts.request_ms * 1000,
        };
        let handoff = Handoff::new(coordinator.clone(), inbox, delivery);
        let queue = (keeper_events.clone(), keeper_inbox);
        let keeping = Keeping::new(
            keeper,
            coordinator.clone(),
            membership.clone(),
            network.clone(),
            queue,
            (incarnation, stand_in),
        );
        let signer = None;
        Ok(Self { coordinator, membership, handoff, keeping, network, handoff_events, keeper_events, tls, signer })
    }

    async fn serve(
        self,
        config: &Config,
        listeners: Listeners,
        metrics: PrometheusHandle,
        mut stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Line> {
        let Self { coordinator, membership, handoff, keeping, network, handoff_events, keeper_events, tls, signer } =
            self;
        // Tasks outlive the request to stop until requests in flight are done.
        let (ended, end) = watch::channel(false);
        let readiness = Arc::new(Readiness::default());
        let mut tasks = JoinSet::new();
        let events: Arc<dyn LinkEvents> = Arc::new(Events {
            coordinator: coordinator.clone(),
            membership: membership.clone(),
            handoff: handoff_events,
            keeper: keeper_events.clone(),
        });
        let ring_admin = RingService::new(
            coordinator.clone(),
            membership.clone(),
            keeper_events.clone(),
            keeping.status(),
            (config.background.rate_min_bytes_per_s, config.background.rate_max_bytes_per_s),
        );
        let mut line = keeping.line();
        tasks.spawn(keeping.run(end.clone()));
        tasks.spawn(coordinator.clone().run_ticker(end.clone()));
        tasks.spawn(handoff.run(end.clone()));
        let interval = Duration::from_millis(config.gossip.interval_ms);
        tasks.spawn(membership.clone().run(interval, end.clone()));
        tasks.spawn(upkeep(metrics.clone(), coordinator.clone(), end.clone()));
        if let Some(tls) = &tls {
            let every = Duration::from_millis(config.tls.reload_ms);
            tasks.spawn(tls::watch(tls.clone(), membership.clone(), every, end.clone()));
            if let Some(signer) = signer {
                tasks.spawn(signer.run(tls.clone(), end.clone()));
            }
        }

        let mut servers = JoinSet::new();
        let (health, health_service) = tonic_health::server::health_reporter();
        let sessions = Sessions::default();
        let clients = Clients {
            limits: config.limits.clone(),
            coordinator: coordinator.clone(),
            membership: membership.clone(),
            ring: ring_admin,
            sessions: sessions.clone(),
            tls: tls.clone().map(|tls| (tls, metrics.clone())),
        };
        servers.spawn(serve_clients(listeners.client, clients, health_service));
        servers.spawn(serve_peers(
            listeners.peer,
            coordinator.cluster.clone(),
            Replicas::new(coordinator.clone(), keeper_events),
            membership.clone(),
            tls.as_ref().map(NodeTls::for_peers),
        ));
        // Kubelet asks from the first moment whether the process answers.
        let metrics = tls.is_none().then_some(metrics);
        let handover = Handover {
            coordinator: coordinator.clone(),
            membership: membership.clone(),
            readiness: readiness.clone(),
            health: health.clone(),
        };
        let http = http::serve(listeners.http, metrics, handover, end.clone());
        tasks.spawn(async move { http.await.unwrap_or_else(|error| tracing::error!(%error, "the HTTP port failed")) });
        // The others are introducing themselves to this one as well.
        let answered = membership.introduce(others(config)).await?;
        network.start(events);
        // Those that are up say soon what they remember of this disk; who is ready does not wait for the others.
        let patience = Duration::from_millis(config.timeouts.connect_ms);
        let meeting = Meeting { coordinator: &coordinator, membership: &membership, answered: &answered, patience };
        tokio::select! {
            () = meeting.wait(&mut line) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        coordinator.open();
        if readiness.is_starting() {
            health.set_serving::<KvServer<KvService>>().await;
            membership.announce(Phase::Serving).await;
            readiness.ready();
        }
        tracing::info!(
            node = config.node.name,
            client = config.node.client_listen,
            peer = config.node.peer_listen,
            http = config.node.http_listen,
            "ready"
        );

        let outcome = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Ok(Line::Known),
            Ok(line) = line.wait_for(|line| matches!(line, Line::Superseded(_) | Line::Outlived)) => Ok(*line),
            Some(ended) = servers.join_next() => match ended {
                Ok(Ok(())) => Err(anyhow!("a server ended by itself")),
                Ok(Err(error)) => Err(anyhow::Error::new(error).context("a server failed")),
                Err(error) => Err(anyhow::Error::new(error).context("a server failed")),
            },
        };
        tracing::info!("stopping: finishing requests in flight");
        readiness.draining();
        health.set_not_serving::<KvServer<KvService>>().await;
        let announced = membership.announce(Phase::Draining);
        let _ = tokio::time::timeout(Duration::from_secs(1), announced).await;
        coordinator.stop();
        let drained = drain(&coordinator, Duration::from_millis(config.timeouts.drain_ms));
        tokio::join!(drained, sessions.end(SESSIONS_END));
        servers.shutdown().await;
        network.stop();
        let _ = ended.send(true);
        let _ =
            tokio::time::timeout(Duration::from_secs(2), async { while tasks.join_next().await.is_some() {} }).await;
        tasks.shutdown().await;
        outcome
    }
}

/// Who reads its answers closes its session at once; who does not is not waited for.
const SESSIONS_END: Duration = Duration::from_secs(1);

async fn drain(coordinator: &Coordinator, patience: Duration) {
    let until = tokio::time::Instant::now() + patience;
    while coordinator.in_flight() > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if coordinator.in_flight() > 0 {
        tracing::warn!(
            requests = coordinator.in_flight(),
            "requests were not finished in time; their clients see the connection close"
        );
    }
}

fn limits(config: &Config) -> RequestLimits {
    let limits = &config.limits;
    RequestLimits {
        key_bytes: limits.key_bytes,
        value_bytes: limits.value_bytes,
        batch_items: limits.batch_items,
        session_inflight: limits.session_inflight,
        inflight: limits.inflight,
    }
}

fn times(config: &Config) -> RequestTimes {
    let timeouts = &config.timeouts;
    RequestTimes {
        deadline_us: timeouts.request_ms * 1000,
        replica_us: timeouts.replica_ms * 1000,
        hedge_us: (timeouts.hedge_ms > 0).then_some(timeouts.hedge_ms * 1000),
    }
}

fn durability(config: &Config) -> Durability {
    match config.storage.durability {
        DurabilityKind::Fsync => Durability::AllDurable,
        DurabilityKind::OneFsync => Durability::OneDurable,
        DurabilityKind::Interval => Durability::Buffered,
    }
}

/// The key of contexts' codes, from the configured secret or else from the cluster's name.
fn secret(config: &Config) -> [u8; 16] {
    let source = config.cluster.secret.as_deref().unwrap_or(&config.cluster.name);
    xxhash_rust::xxh3::xxh3_128(source.as_bytes()).to_be_bytes()
}

fn configured_address(config: &Config, id: NodeId) -> String {
    let of = |member: &&MemberConfig| NodeId::initial(&config.cluster.name, &member.name) == id;
    config.cluster.members.iter().find(of).map(|member| member.address.clone()).unwrap_or_default()
}

/// Where other nodes may be found.
fn others(config: &Config) -> Vec<String> {
    let members = config.cluster.members.iter().filter(|member| member.name != config.node.name);
    members.map(|member| member.address.clone()).chain(config.cluster.seeds.iter().cloned()).collect()
}

fn my_info(me: &MemberConfig, id: NodeId, identity: &Identity, ring_epoch: u64, ring_version: u64) -> NodeInfo {
    NodeInfo {
        id,
        name: me.name.clone(),
        zone: me.zone.clone(),
        weight: me.weight,
        peer_addr: me.address.clone(),
        client_addr: me.client_address.clone(),
        incarnation: identity.incarnation,
        ring_epoch,
        ring_version,
        protocol: Spoken::HERE.highest,
        protocol_lowest: Spoken::HERE.lowest,
        ..NodeInfo::default()
    }
}

fn configured_info(config: &Config, member: &MemberConfig) -> NodeInfo {
    NodeInfo {
        id: NodeId::initial(&config.cluster.name, &member.name),
        name: member.name.clone(),
        zone: member.zone.clone(),
        weight: member.weight,
        peer_addr: member.address.clone(),
        client_addr: member.client_address.clone(),
        ..NodeInfo::default()
    }
}

struct Events {
    coordinator: Arc<Coordinator>,
    membership: Arc<Membership>,
    handoff: HandoffEvents,
    keeper: KeeperEvents,
}

impl LinkEvents for Events {
    fn up(&self, peer: NodeId, class: Class) {
        if class == Class::Foreground {
            return self.membership.heard_from(peer);
        }
        // It may be the background stream alone that had broken: then no news of the peer's state will come.
        let view = self.coordinator.cluster.view();
        if view.peer(peer).is_some_and(|peer| peer.standing() == Standing::Up) {
            self.handoff.send(HandoffNews::Reachable(peer, true));
        }
    }

    fn reply(&self, peer: NodeId, class: Class, reply: ReplicaReply) {
        match class {
            Class::Foreground => self.coordinator.on_reply(peer, reply),
            Class::Background if KeeperEvents::is_own(&reply) => self.keeper.send(KeeperNews::Reply(reply)),
            Class::Background => self.handoff.send(HandoffNews::Reply(reply)),
        }
    }

    fn down(&self, peer: NodeId, class: Class, lost: Lost) {
        if class == Class::Foreground {
            self.membership.failed(peer, lost);
            self.coordinator.peer_lost(peer, lost);
        } else {
            self.handoff.send(HandoffNews::Reachable(peer, false));
            self.keeper.send(KeeperNews::Lost(peer));
        }
    }
}

async fn upkeep(metrics: PrometheusHandle, coordinator: Arc<Coordinator>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        metrics.run_upkeep();
        coordinator.metrics.sample(coordinator.in_flight(), coordinator.store.counters());
    }
}
