//! One run: nodes, clients, network and faults under virtual time. Everything follows from the plan.

mod admin;
mod event;
mod faults;
mod hosts;
mod kernel;
mod queue;
mod settle;
mod streams;
mod tending;
mod view;

use std::rc::Rc;

pub(crate) use self::kernel::say;
pub use self::{
    event::{Event, NodeEvent},
    kernel::{EPOCH_MS, Kernel, Power, Shape, id_of, index_of},
    view::View,
};
use self::{hosts::Host, tending::Tended};
use crate::{
    chance::{Chance, For},
    client::Client,
    known_bad::KnownBad,
    message::Lost,
    plan::Plan,
    trace::Trace,
};

/// A run under way.
pub struct World {
    pub kernel: Kernel,
    hosts: Vec<Host>,
    clients: Vec<Client>,
    chance: Chance,
    /// Faults that are under way, by number.
    active: Vec<u16>,
    /// Flapping cuts that are open just now.
    flapping_open: Vec<u16>,
    /// Nodes that are moving, and are down for it.
    moved: Vec<u8>,
    /// Kubernetes and its operators, if there are any.
    tended: Option<Tended>,
}

impl World {
    pub fn new(plan: Plan, trace: Trace, known_bad: Option<KnownBad>) -> Self {
        let shape = Rc::new(Shape::new(plan));
        let plan = &shape.plan;
        let hosts = (0..shape.nodes()).map(|node| Host::new(node, plan.seed)).collect();
        let client = |index: usize| Client::new(index as u8, plan.clients.get(index).cloned().unwrap_or_default());
        let clients = (0..plan.clients.len()).map(client).collect();
        let chance = Chance::new(plan.seed, For::Node, u64::from(u32::MAX));
        let tended = Tended::new(&shape, known_bad);
        let kernel = Kernel::new(shape, trace, known_bad);
        let (active, flapping_open, moved) = Default::default();
        Self { kernel, hosts, clients, chance, active, flapping_open, moved, tended }
    }

    /// Runs until all faults are over and clients have stopped.
    pub fn run(&mut self) {
        let shape = self.kernel.shape.clone();
        if let Some(tending) = &shape.plan.tending {
            self.hosts.iter_mut().for_each(|host| host.absent = true);
            self.kernel.after(0, Event::Tending);
            for (number, deed) in tending.deeds.iter().enumerate() {
                self.kernel.at(u64::from(deed.at_ms) * 1000, Event::Deed { number: number as u16 });
            }
        } else {
            (0..shape.nodes()).for_each(|node| {
                self.give_buckets(node);
                self.start(node);
            });
        }
        for (number, fault) in shape.plan.faults.iter().enumerate() {
            let at = u64::from(fault.at_ms) * 1000;
            if at < shape.plan.run_us() {
                self.kernel.at(at, Event::FaultBegins { fault: number as u16 });
            }
        }
        for (number, edit) in shape.plan.edits.iter().enumerate() {
            self.kernel.at(u64::from(edit.at_ms) * 1000, Event::AdminActs { edit: number as u16, tries: 0 });
        }
        self.kernel.look_later(0);
        for client in &self.clients {
            client.plan_next(&mut self.kernel);
        }
        self.run_until(shape.plan.run_us());
    }

    fn run_until(&mut self, until: u64) {
        while let Some(event) = self.kernel.next(until) {
            self.handle(event);
        }
        self.kernel.now = until;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Node { node, life, what } => self.node_event(node, life, what),
            Event::Request { node, request } => {
                if let Some((host, kernel)) = self.awake(node, |request| Event::Request { node, request }, request) {
                    host.0.on_client(*host.1, kernel);
                }
            }
            Event::Gossip { from, to, from_life, message } => self.gossip(from, to, from_life, message),
            Event::ClientBegins { .. }
            | Event::Answer { .. }
            | Event::NobodyThere { .. }
            | Event::ClientTimeout { .. } => self.client_event(event),
            Event::FaultBegins { fault } => self.fault_begins(fault),
            Event::FaultEnds { fault } => self.fault_ends(fault),
            Event::AdminActs { edit, tries } => self.admin_acts(edit, tries),
            Event::OperatorLooks { number } => self.operator_looks(number),
            Event::Tending => self.tend(),
            Event::Deed { number } => self.deed(number),
            Event::FaultTurns { fault, cut } => self.fault_turns(fault, cut),
            _ => self.stream_event(event),
        }
    }

    /// The node that is to take something, unless it is gone; one that stands still takes it later.
    fn awake<T>(
        &mut self,
        node: u8,
        again: impl FnOnce(T) -> Event,
        what: T,
    ) -> Option<((&mut crate::node::Node, T), &mut Kernel)> {
        let host = &mut self.hosts[usize::from(node)];
        host.node.as_ref()?;
        if host.paused_until > self.kernel.now {
            let until = host.paused_until;
            self.kernel.at(until, again(what));
            return None;
        }
        let node = host.node.as_mut().expect("looked at above");
        Some(((node, what), &mut self.kernel))
    }

    fn node_event(&mut self, node: u8, life: u32, what: NodeEvent) {
        if self.kernel.lives[usize::from(node)] != life {
            return;
        }
        if matches!(what, NodeEvent::Drained) {
            return self.drained(node);
        }
        if matches!(what, NodeEvent::Outlived) {
            return self.stop(node);
        }
        if let Some(((host, what), kernel)) = self.awake(node, |what| Event::Node { node, life, what }, what) {
            host.on_event(what, kernel);
        }
    }

    fn gossip(&mut self, from: u8, to: u8, from_life: u32, message: Box<dynamo_gossip::Message>) {
        if !self.kernel.is_on(to) {
            let what = NodeEvent::GossipFailed { peer: to, lost: Lost::Refused };
            return self.kernel.node_after(0, from, from_life, what);
        }
        let again = |message| Event::Gossip { from, to, from_life, message };
        if let Some(((host, message), kernel)) = self.awake(to, again, message) {
            host.on_gossip(from, *message, kernel);
            kernel.send_receipt(to, from, from_life);
        }
    }

    fn client_event(&mut self, event: Event) {
        let number = match &event {
            Event::ClientBegins { client }
            | Event::Answer { client, .. }
            | Event::NobodyThere { client, .. }
            | Event::ClientTimeout { client, .. } => *client,
            _ => unreachable!("only clients' events come here"),
        };
        let client = &mut self.clients[usize::from(number)];
        match event {
            Event::ClientBegins { .. } => client.begin(&mut self.kernel),
            Event::Answer { attempt, answer, .. } => client.on_answer(attempt, *answer, &mut self.kernel),
            Event::NobodyThere { attempt, .. } => client.on_nobody(attempt, &mut self.kernel),
            Event::ClientTimeout { attempt, .. } => client.on_timeout(attempt, &mut self.kernel),
            _ => {}
        }
    }

    fn stream_event(&mut self, event: Event) {
        match event {
            Event::StreamOpens { stream, client_life, server_life } => {
                self.stream_opens(stream, client_life, server_life);
            }
            Event::StreamFails { stream, client_life, lost } => {
                let (client, server, class) = self.kernel.network.ends(stream);
                if self.kernel.lives[usize::from(client)] == client_life {
                    self.tell_lost(client, server, class, lost);
                }
            }
            Event::StreamBreaks { stream, generation, lost } => {
                let (client, server, class) = self.kernel.network.ends(stream);
                if self.kernel.network.stream(stream).generation == generation {
                    self.tell_lost(client, server, class, lost);
                }
            }
            Event::StreamSilent { stream, generation } => {
                let (client, server, class) = self.kernel.network.ends(stream);
                if self.kernel.give_up_if_silent(stream, generation) {
                    self.tell_lost(client, server, class, Lost::Timeout);
                }
            }
            Event::StreamFlush { stream, generation } => self.stream_flush(stream, generation),
            Event::StreamRequest { stream, generation, request } => self.stream_request(stream, generation, request),
            Event::StreamReply { stream, generation, reply } => self.stream_reply(stream, generation, reply),
            _ => unreachable!("all other events are handled before"),
        }
    }

    /// All that happened, summed up.
    pub fn fingerprint(&self) -> u64 {
        self.kernel.fingerprint
    }
}
