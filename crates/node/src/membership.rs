//! Drives the gossip machine (§4.8): rounds, messages, what the links see, and what follows from it for requests.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use dynamo_gossip::{
    Bucket, BucketMode, Creation, Disk, Effect, Effects, Failure, Gossip, Load, Message, PeerState, Phase, Target,
};
use dynamo_ring::NodeId;
use dynamo_storage::{Counters, DiskState, Op};
use dynamo_version::Mode;
use dynamo_wire::v1::{GossipBuckets, GossipEnvelope, GossipReceipt, gossip_client::GossipClient, gossip_message};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{Semaphore, oneshot, watch};
use tonic::{Status, transport::Channel};

use crate::{
    buckets::BucketSettings,
    cluster::Standing,
    completion::Done,
    coordinator::Coordinator,
    gossip_wire,
    handoff::HandoffNews,
    keeping::KeeperNews,
    language::Spoken,
    link,
    lost::{Lost, lost},
    tls::{NodeTls, Report},
};

/// How often what the links see is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Gossip messages under way at once; more are dropped, the next round brings them.
const TELLS: usize = 128;
const BUCKETS_KEY: &[u8] = b"buckets";

/// The node's membership.
pub struct Membership {
    machine: Mutex<Gossip>,
    coordinator: Arc<Coordinator>,
    my_address: String,
    connect_timeout: Duration,
    tls: Option<Arc<NodeTls>>,
    /// By address, and by whom it has to be.
    channels: Mutex<HashMap<(String, Option<NodeId>), Channel>>,
    tells: Arc<Semaphore>,
}

impl Membership {
    /// Around a machine that knows the configured members.
    pub fn new(
        machine: Gossip,
        coordinator: Arc<Coordinator>,
        my_address: String,
        connect_timeout: Duration,
        tls: Option<Arc<NodeTls>>,
    ) -> Arc<Self> {
        let membership = Self {
            machine: Mutex::new(machine),
            coordinator,
            my_address,
            connect_timeout,
            tls,
            channels: Mutex::default(),
            tells: Arc::new(Semaphore::new(TELLS)),
        };
        if let Some(tls) = &membership.tls {
            membership.set_credentials(&tls.report());
        }
        membership.publish_buckets();
        membership.coordinator.buckets.set_complete(membership.with(Gossip::knows_buckets));
        Arc::new(membership)
    }

    /// Runs rounds until `stop` turns true.
    pub async fn run(self: Arc<Self>, interval: Duration, mut stop: watch::Receiver<bool>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut next_round = tokio::time::Instant::now();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = look.tick() => {}
            }
            self.look_at_links();
            if tokio::time::Instant::now() >= next_round {
                next_round = tokio::time::Instant::now() + interval;
                self.update_self(|_| {});
                self.coordinator.adapt_hedging();
                self.step(|machine, now, effects| machine.on_tick(now, rand::random(), effects));
            }
        }
    }

    /// A message from a peer.
    pub fn on_message(self: &Arc<Self>, from: NodeId, message: Message) {
        self.step(|machine, now, effects| machine.on_message(from, message, now, effects));
    }

    /// A peer answered.
    pub fn heard_from(self: &Arc<Self>, id: NodeId) {
        self.step(|machine, now, effects| machine.heard_from(id, now, effects));
    }

    /// A peer could not be reached.
    pub fn failed(self: &Arc<Self>, id: NodeId, lost: Lost) {
        let failure = match lost {
            Lost::Refused => Failure::Refused,
            Lost::Timeout => Failure::Timeout,
            Lost::Broke => return,
        };
        self.step(|machine, now, effects| machine.failed(id, failure, now, effects));
    }

    /// Changes the phase and tells everybody at once.
    pub async fn announce(self: &Arc<Self>, phase: Phase) {
        self.update_self(|info| info.phase = phase);
        self.spread().await;
    }

    /// Creates a bucket, here and at every node that answers; the others hear of it when they are back.
    pub async fn create_bucket(self: &Arc<Self>, settings: &BucketSettings, created_ms: u64) -> Creation {
        let bucket = Bucket {
            name: settings.name.to_string(),
            mode: match settings.mode {
                Mode::Siblings => BucketMode::Siblings,
                Mode::LastWriteWins => BucketMode::LastWriteWins,
            },
            r: settings.r,
            w: settings.w,
            strict: settings.strict,
            created: (created_ms, self.coordinator.cluster.me),
        };
        let mut effects = Effects::new();
        let creation = self.machine.lock().create_bucket(bucket, &mut effects);
        self.carry_out(effects);
        if creation == Creation::Created {
            self.persist_buckets().await;
            self.spread().await;
        }
        creation
    }

    /// The ring is another.
    pub fn ring_changed(self: &Arc<Self>, epoch: u64, version: u64) {
        self.update_self(|info| (info.ring_epoch, info.ring_version) = (epoch, version));
        self.publish_states();
    }

    /// What this node says of the partitions that it has or lacks.
    pub fn set_upkeep(&self, leftovers: u32, refilling: u32) {
        self.machine.lock().set_self(|info| (info.leftovers, info.refilling) = (leftovers, refilling));
    }

    /// What this node says of its certificate and of whom it trusts.
    pub fn set_credentials(&self, report: &Report) {
        self.machine.lock().set_self(|info| {
            info.certificate.clone_from(&report.certificate);
            info.certificate_until_s = report.until_s;
            info.certificate_signed_by.clone_from(&report.signed_by);
            info.trusted.clone_from(&report.trusted);
            info.certificate_problem.clone_from(&report.problem);
        });
    }

    /// Where a node's peers reach it, as far as is known.
    pub fn address(&self, id: NodeId) -> String {
        self.with(|machine| machine.info(id).map(|info| info.peer_addr.clone())).unwrap_or_default()
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.coordinator.cluster.me
    }

    /// Where this node says that peers reach it.
    pub fn my_address(&self) -> &str {
        &self.my_address
    }

    /// Reads the machine.
    pub fn with<T>(&self, read: impl FnOnce(&Gossip) -> T) -> T {
        read(&self.machine.lock())
    }

    fn step(self: &Arc<Self>, step: impl FnOnce(&mut Gossip, u64, &mut Effects)) {
        let mut effects = Effects::new();
        let knows_buckets = {
            let mut machine = self.machine.lock();
            step(&mut machine, self.coordinator.clock.now_us(), &mut effects);
            machine.knows_buckets()
        };
        self.carry_out(effects);
        // After the table that it says is complete has been published.
        self.coordinator.buckets.set_complete(knows_buckets);
    }

    fn carry_out(self: &Arc<Self>, effects: Effects) {
        let mut changed = false;
        for effect in effects {
            match effect {
                Effect::Send { to, message } => drop(self.tell(to, message)),
                Effect::StateChanged { id, from, to } => {
                    changed = true;
                    tracing::info!(peer = %self.name(id), ?from, ?to, "a peer's state changed");
                }
                Effect::MembersChanged => changed = true,
                Effect::BucketsChanged => {
                    self.publish_buckets();
                    let membership = self.clone();
                    tokio::spawn(async move { membership.persist_buckets().await });
                }
            }
        }
        if changed {
            self.publish_states();
        }
    }

    fn name(&self, id: NodeId) -> String {
        self.with(|machine| machine.info(id).map_or_else(|| id.to_string(), |info| info.name.clone()))
    }

    /// What the links saw since the last look: answers, or silence with requests out.
    fn look_at_links(self: &Arc<Self>) {
        let (now, patience) = (self.coordinator.clock.now_us(), self.coordinator.times.replica_us);
        for peer in self.coordinator.cluster.view().peers() {
            let Some(links) = &peer.links else { continue };
            if links.foreground.silent_us(now) > patience {
                self.failed(peer.id, Lost::Timeout);
            } else if now.saturating_sub(links.foreground.heard_us()) < LOOK.as_micros() as u64 {
                self.heard_from(peer.id);
            }
        }
    }

    /// What this node says of itself, brought up to date.
    fn update_self(&self, change: impl FnOnce(&mut dynamo_gossip::NodeInfo)) {
        let counters = self.coordinator.store.counters();
        let disk = match counters.disk() {
            DiskState::Ok => Disk::Ok,
            DiskState::Full => Disk::Full,
            DiskState::Failing => Disk::Failing,
        };
        let standing = if disk == Disk::Ok { Standing::Up } else { Standing::ReadOnly };
        self.coordinator.cluster.view().me().set_standing(standing);
        self.machine.lock().set_self(|info| {
            info.disk = disk;
            info.load = load(counters);
            // In steps of 64 MiB, or it would be news each second.
            info.load.disk_free = info.load.disk_free >> 26 << 26;
            change(info);
        });
    }

    /// Makes what gossip knows what requests go by.
    fn publish_states(&self) {
        let view = self.coordinator.cluster.view();
        let machine = self.machine.lock();
        for (info, detector) in machine.members() {
            self.coordinator.keeper.send(KeeperNews::Version(info.id, info.ring_version));
            let Some(peer) = view.peer(info.id) else { continue };
            let Some(links) = &peer.links else { continue };
            if !info.peer_addr.is_empty() {
                links.foreground.set_address(&info.peer_addr);
                links.background.set_address(&info.peer_addr);
            }
            let standing = match (detector.state(), info.phase, info.disk) {
                (PeerState::Up | PeerState::Suspect, Phase::Draining, _) => Standing::Down,
                (PeerState::Up, _, Disk::Ok) => Standing::Up,
                (PeerState::Up, ..) => Standing::ReadOnly,
                (PeerState::Suspect, _, Disk::Ok) => Standing::Suspect,
                _ => Standing::Down,
            };
            peer.set_standing(standing);
            if standing != Standing::Down {
                links.foreground.hurry();
                links.background.hurry();
            }
            let reachable = standing == Standing::Up;
            self.coordinator.handoff.send(HandoffNews::Reachable(info.id, reachable));
        }
    }

    fn publish_buckets(&self) {
        let machine = self.machine.lock();
        self.coordinator.buckets.replace(machine.buckets().iter().map(|bucket| BucketSettings {
            name: bucket.name.as_str().into(),
            mode: match bucket.mode {
                BucketMode::Siblings => Mode::Siblings,
                BucketMode::LastWriteWins => Mode::LastWriteWins,
            },
            r: bucket.r,
            w: bucket.w,
            strict: bucket.strict,
        }));
    }

    async fn persist_buckets(&self) {
        let table = GossipBuckets {
            buckets: self.with(|machine| machine.buckets().iter().map(gossip_wire::bucket_to_wire).collect()),
        };
        let (done, stored) = oneshot::channel();
        let op = Op::PutMeta { key: Bytes::from_static(BUCKETS_KEY), value: Some(table.encode_to_vec().into()) };
        if let Err((done, busy)) = self.coordinator.store.submit(op, Done::Task(done)) {
            done.not_taken(busy);
        }
        if let Ok(Err(error)) = stored.await {
            tracing::warn!(%error, "the bucket table was not stored here; it is learnt again from peers");
        }
    }

    async fn spread(self: &Arc<Self>) {
        let mut effects = Effects::new();
        self.machine.lock().spread_now(&mut effects);
        let tells: Vec<_> = effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Send { to, message } => self.tell(to, message),
                _ => None,
            })
            .collect();
        futures_util::future::join_all(tells).await;
    }

    /// Sends a message from a task of its own; None when too many are under way.
    fn tell(self: &Arc<Self>, to: Target, message: Message) -> Option<tokio::task::JoinHandle<()>> {
        let permit = self.tells.clone().try_acquire_owned().ok()?;
        let membership = self.clone();
        Some(self.coordinator.runtime.spawn(async move {
            let outcome = membership.deliver(&to, message).await;
            drop(permit);
            match (outcome, to) {
                (Ok(id), _) => membership.heard_from(id),
                (Err(status), Target::Node(id)) => membership.failed(id, lost(&status)),
                (Err(status), Target::Address(address)) => tracing::debug!(address, %status, "a seed does not answer"),
            }
        }))
    }

    async fn deliver(&self, to: &Target, message: Message) -> Result<NodeId, Status> {
        let (address, whom) = match to {
            Target::Address(address) => (address.clone(), None),
            Target::Node(id) => (self.address(*id), Some(*id)),
        };
        let receipt = self.hand_over((&address, whom), &self.my_address, message).await?;
        gossip_wire::id_from_wire(&receipt.from).ok_or_else(|| Status::internal("a receipt of nobody"))
    }

    /// Has whoever is at an address take a message; or this node only, as far as that can be told.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn hand_over(
        &self,
        to: (&str, Option<NodeId>),
        from: &str,
        message: Message,
    ) -> Result<GossipReceipt, Status> {
        let envelope = GossipEnvelope {
            cluster: self.coordinator.cluster.name.clone(),
            from: gossip_wire::id_to_wire(self.me()),
            from_address: from.to_owned(),
            message: Some(gossip_wire::to_wire(message)),
            protocol_lowest: Spoken::HERE.lowest,
            protocol: Spoken::HERE.highest,
        };
        let mut client = GossipClient::new(self.channel(to)?);
        let receipt = tokio::time::timeout(self.connect_timeout, client.tell(envelope))
            .await
            .map_err(|_| Status::deadline_exceeded("no receipt in time"))??;
        Ok(receipt.into_inner())
    }

    fn channel(&self, (address, whom): (&str, Option<NodeId>)) -> Result<Channel, Status> {
        let mut channels = self.channels.lock();
        let to = (address.to_owned(), whom);
        if let Some(channel) = channels.get(&to) {
            return Ok(channel.clone());
        }
        let endpoint = link::endpoint(address, self.connect_timeout)?;
        let channel = match &self.tls {
            None => endpoint.connect_lazy(),
            Some(tls) => endpoint.connect_with_connector_lazy(tls.connector(whom)),
        };
        // Addresses change with restarts: those of long ago are let go of.
        if channels.len() > 4 * TELLS {
            channels.clear();
        }
        channels.insert(to, channel.clone());
        Ok(channel)
    }
}

/// What the engine counts, as gossip and `status` say it.
pub fn load(counters: &Counters) -> Load {
    Load {
        keys: counters.keys().saturating_sub(counters.tombstones()),
        tombstones: counters.tombstones(),
        bytes: counters.bytes(),
        hints_held: counters.hints(),
        disk_free: counters.disk_free(),
    }
}

/// The bucket table as this node's disk has it. One that can't be read is no reason not to start: the peers bring it
/// back, and until then requests to its buckets are refused.
pub fn stored_buckets(store: &crate::completion::LocalStore) -> Vec<Bucket> {
    let read = dynamo_storage::Read::Meta { key: Bytes::from_static(BUCKETS_KEY) };
    let table = match store.read_now(&read) {
        Ok(dynamo_storage::Outcome::Meta(Some(table))) => table,
        Ok(_) => return Vec::new(),
        Err(error) => {
            tracing::error!(%error, "the bucket table can't be read; waiting for the peers'");
            return Vec::new();
        }
    };
    match GossipBuckets::decode(table) {
        Ok(table) => table.buckets.into_iter().filter_map(gossip_wire::bucket_from_wire).collect(),
        Err(error) => {
            tracing::error!(%error, "the bucket table is damaged; waiting for the peers'");
            Vec::new()
        }
    }
}

/// A message without a kind is of a newer version: it is dropped.
pub fn message_of(message: Option<dynamo_wire::v1::GossipMessage>) -> Option<Message> {
    let message: gossip_message::Message = message?.message?;
    gossip_wire::from_wire(message)
}
