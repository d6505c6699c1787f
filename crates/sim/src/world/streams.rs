//! Streams and datagrams on their way, as the kernel moves them.

use dynamo_gossip::Message;

use super::{
    event::{Event, NodeEvent},
    kernel::{Kernel, Power, say},
};
use crate::{
    chance::Chance,
    coverage::cover,
    message::{Class, Lost, ReplicaReply, ReplicaRequest},
    network::Fate,
};

/// How long connecting may take, microseconds.
const CONNECT_TIMEOUT_US: u64 = 1_000_000;
/// A stream on which nothing comes back is given up after so long, at least and at most.
const SILENCE_US: (u64, u64) = (5_000_000, 10_000_000);
/// What waited for a cut to end is sent again after so long.
const FLUSH_US: u64 = 250_000;

impl Kernel {
    /// A node opens a stream to a peer, whom it looks for at this place, or finds out that it can't.
    pub fn connect(&mut self, client: u8, server: u8, place: u8, class: Class) {
        let stream = self.network.stream_number(client, server, class);
        let client_life = self.lives[usize::from(client)];
        let server_life = self.lives[usize::from(server)];
        let power = match self.resident(place) {
            Some(found) if found == server => self.powers[usize::from(server)],
            // It says whom it looks for, and is refused.
            Some(other) => {
                cover!("link.another_there");
                if self.is_on(other) { Power::Down } else { self.powers[usize::from(other)] }
            }
            None => Power::Off,
        };
        let round_trip = self.network.round_trip(client, server);
        let silent = power == Power::Off || !self.network.connected(client, server);
        let (after, event) = if silent || round_trip > CONNECT_TIMEOUT_US {
            (CONNECT_TIMEOUT_US, Event::StreamFails { stream, client_life, lost: Lost::Timeout })
        } else if power == Power::Down {
            (round_trip, Event::StreamFails { stream, client_life, lost: Lost::Refused })
        } else {
            (2 * round_trip, Event::StreamOpens { stream, client_life, server_life })
        };
        self.after(after, event);
    }

    /// Puts a request into an open stream.
    pub fn send_request(&mut self, stream: u16, request: Box<ReplicaRequest>) {
        let at = self.network.stream_arrival(stream, false, self.now);
        let generation = self.network.stream(stream).generation;
        self.at(at, Event::StreamRequest { stream, generation, request });
    }

    /// Puts a reply into the stream that its request came by, if it is still that one. It leaves after `delay_us`.
    pub fn send_reply(&mut self, stream: u16, generation: u32, reply: ReplicaReply, delay_us: u64) {
        if self.network.stream(stream).generation != generation {
            return;
        }
        let at = self.network.stream_arrival(stream, true, self.now + delay_us);
        self.at(at, Event::StreamReply { stream, generation, reply: Box::new(reply) });
    }

    /// Breaks a stream; its client notices a moment later.
    pub fn break_stream(&mut self, stream: u16, lost: Lost) {
        if self.network.close(stream) {
            cover!("link.reset");
            let (client, server, _) = self.network.ends(stream);
            let after = self.network.round_trip(client, server) / 2;
            let generation = self.network.stream(stream).generation;
            self.after(after, Event::StreamBreaks { stream, generation, lost });
        }
    }

    /// Whoever has an open stream to or from there will give it up, if the silence lasts.
    pub fn watch_streams(&mut self, concerned: impl Fn(u8, u8) -> bool, chance: &mut Chance) {
        let silent: Vec<(u16, u32)> = self
            .network
            .streams()
            .filter(|(number, stream)| {
                let (client, server, _) = self.network.ends(*number);
                stream.open && concerned(client, server)
            })
            .map(|(number, stream)| (number, stream.generation))
            .collect();
        for (stream, generation) in silent {
            let after = chance.between(SILENCE_US.0, SILENCE_US.1);
            self.after(after, Event::StreamSilent { stream, generation });
        }
    }

    /// A way is open again: what waited for it follows soon.
    pub fn flush_streams(&mut self, from: u8, to: u8) {
        let waiting: Vec<(u16, u32)> = self
            .network
            .streams()
            .filter(|(number, stream)| {
                let (client, server, _) = self.network.ends(*number);
                let there = (client, server) == (from, to) && !stream.waiting_there.is_empty();
                let back = (server, client) == (from, to) && !stream.waiting_back.is_empty();
                stream.open && (there || back)
            })
            .map(|(number, stream)| (number, stream.generation))
            .collect();
        for (stream, generation) in waiting {
            self.after(FLUSH_US, Event::StreamFlush { stream, generation });
        }
    }

    /// Sends a gossip message to whoever is at a place; the sender hears of its receipt, or of its loss if it is meant
    /// for a node.
    pub fn send_gossip(&mut self, from: u8, life: u32, (place, meant): (u8, Option<u8>), message: Message) {
        let failed = |lost| NodeEvent::GossipFailed { peer: meant.unwrap_or(from), lost };
        let Some(to) = self.resident(place).filter(|to| *to != from) else {
            cover!("gossip.nobody_there");
            return self.node_after(CONNECT_TIMEOUT_US, from, life, failed(Lost::Timeout));
        };
        let fate = self.network.datagram(from, to);
        let lost = match (fate, self.powers[usize::from(to)]) {
            (Fate::Lost, _) | (_, Power::Off) => Lost::Timeout,
            (_, Power::Down) => Lost::Refused,
            (Fate::Arrives { after_us, again_after_us }, Power::On) => {
                if let Some(again) = again_after_us {
                    cover!("gossip.duplicate");
                    let message = Box::new(message.clone());
                    self.after(again, Event::Gossip { from, to, from_life: life, message });
                }
                let message = Box::new(message);
                return self.after(after_us, Event::Gossip { from, to, from_life: life, message });
            }
        };
        cover!("gossip.lost");
        let after = if lost == Lost::Timeout { CONNECT_TIMEOUT_US } else { self.network.round_trip(from, to) };
        self.node_after(after, from, life, failed(lost));
    }

    /// The receipt of a gossip message goes back, or is lost.
    pub fn send_receipt(&mut self, from: u8, to: u8, to_life: u32) {
        match self.network.datagram(from, to) {
            Fate::Arrives { after_us, .. } => {
                self.node_after(after_us, to, to_life, NodeEvent::GossipReceipt { peer: from });
            }
            Fate::Lost => {
                cover!("gossip.lost");
                let what = NodeEvent::GossipFailed { peer: from, lost: Lost::Timeout };
                self.node_after(CONNECT_TIMEOUT_US, to, to_life, what);
            }
        }
    }

    /// A stream was silent for long; true if it still is, and is closed now.
    pub fn give_up_if_silent(&mut self, stream: u16, generation: u32) -> bool {
        let (client, server, _) = self.network.ends(stream);
        let state = self.network.stream(stream);
        if !state.open || state.generation != generation {
            return false;
        }
        let server_life = state.server_life;
        let answers = self.is_on(server) && self.lives[usize::from(server)] == server_life;
        if answers && self.network.connected(client, server) {
            return false;
        }
        cover!("link.timed_out");
        say!(self, "node-{client} gives up a stream to node-{server} after silence");
        self.network.close(stream)
    }
}
