//! The hosts that nodes run on: their disks, their starts and ends, and what arrives there by streams.

use std::sync::Arc;

use dynamo_storage::{HighWater, engine::Engine};

use super::{
    World,
    event::{Event, NodeEvent},
    kernel::{Power, say},
};
use crate::{
    chance::{Chance, For},
    coverage::cover,
    disk::{Image, SimDisk, new_disk},
    known_bad::KnownBad,
    message::{Class, Lost, ReplicaReply, ReplicaRequest},
    node::{Identity, Node, NotStarted, Outlived, stored_table},
};

/// How long a node that stops in order waits for its requests, microseconds.
const DRAIN_US: u64 = 1_000_000;
/// A start that fails is tried again after so long, microseconds (as a pod's is).
const RESTART_US: u64 = 1_000_000;

/// What stands on a disk beside the engine.
#[derive(Clone, Copy, Default)]
pub struct Beside {
    pub identity: Option<Identity>,
    pub high_water: Option<HighWater>,
}

/// A whole volume at a moment.
#[derive(Clone)]
pub struct Volume {
    image: Image,
    beside: Beside,
}

impl Volume {
    pub fn is_of_somebody(&self) -> bool {
        self.beside.identity.is_some()
    }
}

/// A node's host.
pub struct Host {
    pub disk: Arc<SimDisk>,
    pub beside: Beside,
    /// The incarnation before the disk was wiped, for a variant that is known to be bad.
    pub last_incarnation: u64,
    pub node: Option<Box<Node>>,
    pub paused_until: u64,
    /// Copies that may be rolled back to.
    pub snapshot: Option<Volume>,
    /// Its own volume while a wrong one is mounted.
    pub own: Option<Volume>,
    pub slow_disk: u32,
    /// Faults that keep it down.
    pub held_down: u8,
    /// Its disk's node has left the cluster: it does not start any more.
    pub retired: bool,
    /// It has no pod: nothing starts on it.
    pub absent: bool,
    pub chance: Chance,
}

impl Host {
    pub fn new(node: u8, seed: u64) -> Self {
        Self {
            disk: new_disk(),
            beside: Beside::default(),
            last_incarnation: 0,
            node: None,
            paused_until: 0,
            snapshot: None,
            own: None,
            slow_disk: 1,
            held_down: 0,
            retired: false,
            absent: false,
            chance: Chance::new(seed, For::Node, u64::from(node)),
        }
    }

    /// The volume as a power cut now would leave it.
    pub fn volume(&self) -> Volume {
        let mut beside = self.beside;
        if let Some(node) = &self.node {
            beside.high_water = Some(node.high_water());
        }
        Volume { image: self.disk.image(), beside }
    }

    /// The engine's files as they were; what stands beside them stays, and tells of it.
    pub fn mount_engine(&mut self, old: Volume) {
        self.disk.restore(old.image);
    }

    /// All of it as it was: nothing on it tells of what came after.
    pub fn mount(&mut self, volume: Volume) {
        self.disk.restore(volume.image);
        self.beside = volume.beside;
    }
}

impl World {
    /// Puts the table of buckets on a disk that was never used.
    pub(super) fn give_buckets(&mut self, node: u8) {
        let batch = stored_table(&self.kernel.shape);
        let disk = &self.hosts[usize::from(node)].disk;
        disk.commit(batch).and_then(|()| disk.sync()).expect("an empty disk takes it");
    }

    /// Starts a node, or tries again later.
    pub(super) fn start(&mut self, node: u8) {
        let host = &mut self.hosts[usize::from(node)];
        if host.node.is_some() || host.held_down > 0 || host.absent {
            return;
        }
        let mut identity = match host.beside.identity {
            Some(identity) if identity.node != node => {
                cover!("identity.refused");
                say!(self.kernel, "node-{node} refuses the disk of node-{}", identity.node);
                return;
            }
            Some(identity) => Identity { generation: identity.generation + 1, ..identity },
            None => {
                let mut incarnation = self.kernel.wall_ms(node);
                if host.last_incarnation != 0 {
                    cover!("identity.new_incarnation");
                }
                if self.kernel.known_bad == Some(KnownBad::IdentityReused) && host.last_incarnation != 0 {
                    incarnation = host.last_incarnation;
                }
                Identity { node, incarnation, generation: 1 }
            }
        };
        host.beside.identity = Some(identity);
        host.last_incarnation = identity.incarnation;
        let found = host.beside.high_water;
        self.kernel.lives[usize::from(node)] += 1;
        self.kernel.powers[usize::from(node)] = Power::On;
        self.kernel.changed();
        say!(self.kernel, "node-{node} starts, incarnation {}, start {}", identity.incarnation, identity.generation);
        let disk = host.disk.clone();
        let started = Node::start(node, disk, &mut identity, found, &mut self.kernel);
        host.beside.identity = Some(identity);
        host.last_incarnation = identity.incarnation;
        match started {
            Ok(mut started) => {
                started.set_disk_speed(host.slow_disk);
                host.node = Some(Box::new(started));
            }
            Err(NotStarted::Gone) => {
                cover!("identity.gone");
                say!(self.kernel, "node-{node} does not start: it left its cluster with what its disk holds");
                host.disk.process_ends();
                host.retired = true;
                self.kernel.powers[usize::from(node)] = Power::Down;
            }
            Err(NotStarted::Store(error)) => {
                say!(self.kernel, "node-{node} does not start: {error}");
                host.disk.process_ends();
                self.kernel.powers[usize::from(node)] = Power::Down;
                let life = self.kernel.lives[usize::from(node)];
                // Noticed as its own drained stop: what follows is a start.
                self.kernel.node_after(RESTART_US, node, life, NodeEvent::Drained);
            }
        }
    }

    /// A node is gone, with its host or without.
    pub(super) fn crash(&mut self, node: u8, power: bool) {
        let host = &mut self.hosts[usize::from(node)];
        let Some(gone) = host.node.take() else {
            if power {
                self.kernel.powers[usize::from(node)] = Power::Off;
            }
            return;
        };
        host.beside.high_water = Some(gone.high_water());
        drop(gone);
        host.paused_until = 0;
        if power {
            let lost = host.disk.lose_power(&mut host.chance);
            if lost > 0 {
                cover!("disk.lost_unsynced");
            }
            say!(self.kernel, "node-{node} loses power, and {lost} batches");
        } else {
            host.disk.process_ends();
            say!(self.kernel, "node-{node} crashes");
        }
        self.gone(node, if power { Power::Off } else { Power::Down });
    }

    /// Streams and messages of a node that is gone.
    fn gone(&mut self, node: u8, power: Power) {
        self.kernel.powers[usize::from(node)] = power;
        self.kernel.lives[usize::from(node)] += 1;
        self.kernel.changed();
        for stream in self.streams_where(|client, server| client == node || server == node) {
            let (client, ..) = self.kernel.network.ends(stream);
            if client == node {
                self.kernel.network.close(stream);
            } else if power == Power::Down && self.kernel.network.connected(client, node) {
                self.kernel.break_stream(stream, Lost::Refused);
            }
        }
        self.kernel.watch_streams(|_, server| server == node, &mut self.chance);
    }

    fn streams_where(&self, concerned: impl Fn(u8, u8) -> bool) -> Vec<u16> {
        let network = &self.kernel.network;
        let ends = |number: u16| {
            let (client, server, _) = network.ends(number);
            concerned(client, server)
        };
        network.streams().filter(|(number, stream)| stream.open && ends(*number)).map(|(number, _)| number).collect()
    }

    /// A host answers again: whoever still holds a stream to its last life is told that it is none.
    pub(super) fn power_on(&mut self, node: u8) {
        for stream in self.streams_where(|_, server| server == node) {
            let (client, ..) = self.kernel.network.ends(stream);
            if self.kernel.network.connected(client, node) {
                self.kernel.break_stream(stream, Lost::Refused);
            }
        }
        self.start(node);
    }

    /// A node begins to stop in order.
    pub(super) fn stop(&mut self, node: u8) {
        if let Some(stopping) = &mut self.hosts[usize::from(node)].node {
            say!(self.kernel, "node-{node} is stopped");
            stopping.stop(&mut self.kernel);
            let life = self.kernel.lives[usize::from(node)];
            self.kernel.node_after(DRAIN_US, node, life, NodeEvent::Drained);
        }
    }

    /// It has had its time. (Or a start failed a while ago, and is tried again.)
    pub(super) fn drained(&mut self, node: u8) {
        let host = &mut self.hosts[usize::from(node)];
        let Some(ended) = host.node.take() else { return self.start(node) };
        let outlived = ended.outlived();
        host.beside.high_water = Some(ended.close());
        host.disk.process_ends();
        say!(self.kernel, "node-{node} has stopped");
        self.gone(node, Power::Down);
        if let Some(outlived) = outlived {
            self.begin_life(node, outlived);
            self.start(node);
        }
    }

    /// Its disk is not what it took it for.
    fn begin_life(&mut self, node: u8, outlived: Outlived) {
        let now = self.kernel.wall_ms(node);
        let host = &mut self.hosts[usize::from(node)];
        let identity = host.beside.identity.as_mut().expect("it was started");
        match outlived {
            Outlived::Copy(superseded) => {
                cover!("life.superseded");
                say!(self.kernel, "node-{node}: {superseded}");
                identity.begin_life(now, (superseded.newest_life, superseded.mark.generation));
            }
            Outlived::Collected => {
                cover!("doubt.emptied");
                say!(
                    self.kernel,
                    "node-{node}: something was collected since this disk was written, and it is emptied"
                );
                identity.begin_life(now, (0, 0));
                host.disk.wipe();
                host.beside.high_water = None;
            }
        }
    }

    pub(super) fn tell_lost(&mut self, client: u8, server: u8, class: Class, lost: Lost) {
        let kernel = &mut self.kernel;
        if let Some(node) = &mut self.hosts[usize::from(client)].node {
            node.link_down(server, class, lost, kernel);
        }
    }

    pub(super) fn stream_opens(&mut self, stream: u16, client_life: u32, server_life: u32) {
        let (client, server, class) = self.kernel.network.ends(stream);
        if self.kernel.lives[usize::from(client)] != client_life {
            return;
        }
        let same = self.kernel.is_on(server) && self.kernel.lives[usize::from(server)] == server_life;
        if !same || !self.kernel.network.connected(client, server) {
            return self.tell_lost(client, server, class, if same { Lost::Timeout } else { Lost::Refused });
        }
        let state = self.kernel.network.stream(stream);
        state.generation += 1;
        state.open = true;
        (state.there_at, state.back_at) = (0, 0);
        state.server_life = server_life;
        let kernel = &mut self.kernel;
        if let Some(node) = &mut self.hosts[usize::from(client)].node {
            node.link_up(server, class, kernel);
        }
    }

    pub(super) fn stream_request(&mut self, stream: u16, generation: u32, request: Box<ReplicaRequest>) {
        let (client, server, _) = self.kernel.network.ends(stream);
        let cut = self.kernel.network.is_cut(client, server);
        let state = self.kernel.network.stream(stream);
        if state.generation != generation || !state.open {
            return;
        }
        if cut || !state.waiting_there.is_empty() {
            cover!("link.stalled");
            return state.waiting_there.push_back(request);
        }
        let server_life = state.server_life;
        if self.kernel.lives[usize::from(server)] != server_life {
            // The host does not know the connection. (One that is off says nothing.)
            if self.kernel.powers[usize::from(server)] != Power::Off {
                self.kernel.break_stream(stream, Lost::Refused);
            }
            return;
        }
        let again = |request| Event::StreamRequest { stream, generation, request };
        if let Some(((node, request), kernel)) = self.awake(server, again, request) {
            node.serve(stream, generation, *request, kernel);
        }
    }

    pub(super) fn stream_reply(&mut self, stream: u16, generation: u32, reply: Box<ReplicaReply>) {
        let (client, server, class) = self.kernel.network.ends(stream);
        let cut = self.kernel.network.is_cut(server, client);
        let state = self.kernel.network.stream(stream);
        if state.generation != generation || !state.open {
            return;
        }
        if cut || !state.waiting_back.is_empty() {
            cover!("link.stalled");
            return state.waiting_back.push_back(reply);
        }
        let again = |reply| Event::StreamReply { stream, generation, reply };
        if let Some(((node, reply), kernel)) = self.awake(client, again, reply) {
            node.on_reply(server, class, *reply, kernel);
        }
    }

    pub(super) fn stream_flush(&mut self, stream: u16, generation: u32) {
        let (client, server, _) = self.kernel.network.ends(stream);
        let network = &mut self.kernel.network;
        let (there, back) = (!network.is_cut(client, server), !network.is_cut(server, client));
        let state = network.stream(stream);
        if state.generation != generation {
            return;
        }
        let requests = if there { std::mem::take(&mut state.waiting_there) } else { Default::default() };
        let replies = if back { std::mem::take(&mut state.waiting_back) } else { Default::default() };
        for request in requests {
            self.stream_request(stream, generation, request);
        }
        for reply in replies {
            self.stream_reply(stream, generation, reply);
        }
    }
}
