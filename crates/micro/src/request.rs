//! A get and a put from the client's frame to the client's answer, through three nodes in one process: what is decoded,
//! decided, stored, encoded and merged on the way. The frames are those of a session and of a link between nodes, with one
//! request each; there is no socket, no queue and no disk.

use std::sync::Arc;

use bytes::Bytes;
use dynamo_merkle::Shape;
use dynamo_quorum::{
    Candidate, Durability, Get, GetEffect, GetEffects, GetSettings, NodeState, Put, PutEffect, PutEffects, PutSettings,
};
use dynamo_ring::{NodeId, Ring};
use dynamo_storage::{Core, CoreSettings, Identity, Op, OpenFacts, Outcome, Read, RecordKey, engine::MemoryEngine};
use dynamo_version::{ContextCodec, Mode, Payload, SiblingSet};
use dynamo_wire::v1::{
    GetRequest, GetResponse, PutRequest, PutResponse, ReplicaAck, ReplicaRead, ReplicaReplies, ReplicaReply,
    ReplicaRequest, ReplicaRequests, ReplicaState, ReplicaWrite, SessionRequest, SessionRequests, SessionResponse,
    SessionResponses, replica_reply, replica_request, session_request, session_response,
};
use prost::Message;
use smallvec::SmallVec;

use crate::parts::{self, BUCKET};

const NODES: u32 = 3;
const EPOCH: u64 = 1;

/// Three nodes, each of which has every key.
pub struct Cluster {
    ring: Ring,
    contexts: ContextCodec,
    nodes: Vec<(NodeId, Core)>,
    now: u64,
}

impl Default for Cluster {
    fn default() -> Cluster {
        let members: Vec<_> = (0..NODES).map(|number| parts::member(number, number)).collect();
        let ring = Ring::bootstrap(3, parts::partitions(), members).expect("a ring");
        let nodes = ring.members().iter().map(|member| (member.id, core(member.id))).collect();
        Cluster { ring, contexts: parts::contexts(), nodes, now: 0 }
    }
}

fn core(id: NodeId) -> Core {
    let settings = CoreSettings {
        identity: Identity { node: id.0, incarnation: 1 },
        hints_bytes_max: 1 << 20,
        siblings_max: 100,
        tree_shape: Shape::default(),
    };
    Core::open(Arc::new(MemoryEngine::new()), settings, OpenFacts::NothingKept).expect("nothing to read").0
}

/// By way of bytes, as between two processes.
fn sent<M: Message + Default>(frame: &M) -> M {
    M::decode(Bytes::from(frame.encode_to_vec())).expect("just encoded")
}

impl Cluster {
    /// With so many keys of 1 KiB, each written once.
    pub fn with_keys(keys: u64) -> Cluster {
        let mut cluster = Cluster::default();
        for number in 0..keys {
            cluster.put(parts::key(number), parts::value(number), Bytes::new());
        }
        cluster
    }

    /// A put by a client that read what `context` says; the answer's context.
    pub fn put(&mut self, key: Bytes, value: Bytes, context: Bytes) -> Bytes {
        let put = PutRequest { bucket: BUCKET.to_owned(), key, value, context, w: 0 };
        let request = SessionRequest { id: 1, request: Some(session_request::Request::Put(put)) };
        let mut frame = sent(&SessionRequests { requests: vec![request] });
        let Some(session_request::Request::Put(put)) = frame.requests.pop().and_then(|one| one.request) else {
            unreachable!("it was a put")
        };
        let answer = session_response::Response::Put(self.coordinate_put(put));
        match self.answered(answer) {
            session_response::Response::Put(answer) => answer.context,
            answer => unreachable!("{answer:?}"),
        }
    }

    /// A get by a client: values and context.
    pub fn get(&mut self, key: Bytes) -> (Vec<Bytes>, Bytes) {
        let get = GetRequest { bucket: BUCKET.to_owned(), key, r: 0 };
        let request = SessionRequest { id: 1, request: Some(session_request::Request::Get(get)) };
        let mut frame = sent(&SessionRequests { requests: vec![request] });
        let Some(session_request::Request::Get(get)) = frame.requests.pop().and_then(|one| one.request) else {
            unreachable!("it was a get")
        };
        let answer = session_response::Response::Get(self.coordinate_get(get));
        match self.answered(answer) {
            session_response::Response::Get(answer) => (answer.values, answer.context),
            answer => unreachable!("{answer:?}"),
        }
    }

    fn answered(&self, response: session_response::Response) -> session_response::Response {
        let response = SessionResponse { id: 1, response: Some(response) };
        let mut frame = sent(&SessionResponses { responses: vec![response], ended: false });
        frame.responses.pop().and_then(|one| one.response).expect("one answer")
    }

    /// The walk with the first home as coordinator, as a client that knows the ring asks (§6.4).
    fn candidates(&self, key: &[u8]) -> (RecordKey, SmallVec<[Candidate; 8]>) {
        let (partition, homes) = parts::look_up(&self.ring, key);
        let record = RecordKey::new(partition, BUCKET.as_bytes(), key, None).expect("a short key");
        let candidate = |&node: &NodeId| Candidate { node, home: true, state: NodeState::Up, latency_us: 100 };
        (record, homes.iter().map(candidate).collect())
    }

    fn node(&mut self, id: NodeId) -> &mut Core {
        &mut self.nodes.iter_mut().find(|(node, _)| *node == id).expect("a member").1
    }

    fn coordinate_put(&mut self, put: PutRequest) -> PutResponse {
        self.now += 1_000;
        let now = self.now;
        let (record, candidates) = self.candidates(&put.key);
        let me = candidates[0].node;
        let (mut seen, latest) = match put.context.is_empty() {
            true => Default::default(),
            false => self.contexts.open(BUCKET, &put.key, &put.context).expect("ours"),
        };
        let settings = PutSettings {
            w: 2,
            sloppy: true,
            durability: Durability::AllDurable,
            replica_timeout_us: 500_000,
            deadline_us: 5_000_000,
        };
        let mut machine = Put::new(me, &candidates, settings, true, now).expect("all are up");
        let write = Op::Write {
            key: record,
            context: seen.clone(),
            context_ts: latest,
            payload: Payload::Value(put.value),
            mode: Mode::Siblings,
            wall_ms: now,
            hint_for: None,
            epoch: EPOCH,
            sync: true,
        };
        let Ok(Outcome::Applied(applied)) = self.node(me).apply(vec![write]).pop().expect("one") else {
            unreachable!("the engine takes it")
        };
        applied.dot.into_iter().for_each(|dot| seen.insert(dot));
        let context = self.contexts.seal(BUCKET, &put.key, &seen, latest.max(applied.timestamp));
        let mut effects = PutEffects::new();
        machine.start(now, &mut effects);
        let (mut next, mut acknowledged) = (0, false);
        machine.on_ack(me, true, now, &mut effects);
        while next < effects.len() {
            match &effects[next] {
                PutEffect::Send { to, .. } => {
                    let to = *to;
                    let durable = self.replicate(to, &put.key, &applied.set, applied.digest);
                    machine.on_ack(to, durable, now, &mut effects);
                }
                PutEffect::Acknowledge { .. } => acknowledged = true,
                PutEffect::Finished => break,
                effect => unreachable!("{effect:?}"),
            }
            next += 1;
        }
        assert!(acknowledged, "all are up");
        PutResponse { context: context.into(), siblings: applied.siblings as u32 }
    }

    /// Has a replica merge a state; whether its copy counts.
    fn replicate(&mut self, to: NodeId, key: &Bytes, set: &Bytes, digest: u64) -> bool {
        let (bucket, key, set) = (BUCKET.to_owned(), key.clone(), set.clone());
        let write =
            ReplicaWrite { bucket, key, set, digest, last_write_wins: false, hint_for: Bytes::new(), sync: true };
        let request = ReplicaRequest { id: 2, epoch: EPOCH, request: Some(replica_request::Request::Write(write)) };
        let mut frame = sent(&ReplicaRequests { requests: vec![request] });
        let Some(replica_request::Request::Write(write)) = frame.requests.pop().and_then(|one| one.request) else {
            unreachable!("it was a write")
        };
        let merge = Op::Merge {
            key: self.candidates(&write.key).0,
            set: write.set,
            digest: write.digest,
            mode: Mode::Siblings,
            hint_for: None,
            epoch: EPOCH,
            sync: write.sync,
        };
        let Ok(Outcome::Applied(_)) = self.node(to).apply(vec![merge]).pop().expect("one") else {
            unreachable!("the engine takes it")
        };
        let ack = replica_reply::Reply::Ack(ReplicaAck { durable: true });
        match reply(ack) {
            replica_reply::Reply::Ack(ack) => ack.durable,
            reply => unreachable!("{reply:?}"),
        }
    }

    fn coordinate_get(&mut self, get: GetRequest) -> GetResponse {
        self.now += 1_000;
        let now = self.now;
        let (_, candidates) = self.candidates(&get.key);
        let me = candidates[0].node;
        let settings = GetSettings {
            r: 2,
            sloppy: true,
            mode: Mode::Siblings,
            hedge_after_us: 20_000,
            replica_timeout_us: 500_000,
            deadline_us: 5_000_000,
        };
        let mut machine = Get::new(me, &candidates, settings, now).expect("all are up");
        let mut effects = GetEffects::new();
        machine.start(now, &mut effects);
        let (mut next, mut found) = (0, None);
        while next < effects.len() {
            let effect = std::mem::replace(&mut effects[next], GetEffect::Finished);
            next += 1;
            match effect {
                GetEffect::Ask { to, digest } => {
                    let state = if to == me { self.read(to, &get.key, digest) } else { self.ask(to, &get.key, digest) };
                    match state {
                        Some((set, digest)) if set.is_empty() => machine.on_digest(to, digest, now, &mut effects),
                        state => machine.on_state(to, state, now, &mut effects),
                    }
                }
                GetEffect::Answer(answer) => found = answer.found,
                GetEffect::Finished => break,
                effect => unreachable!("{effect:?}"),
            }
        }
        let Some(found) = found else { return GetResponse::default() };
        let set = SiblingSet::decode(found.encoded).expect("it was checked");
        let context = self.contexts.seal(BUCKET, &get.key, set.causality(), set.max_timestamp());
        GetResponse { values: set.values().into_iter().cloned().collect(), context: context.into() }
    }

    fn read(&mut self, node: NodeId, key: &[u8], digest_only: bool) -> Option<(Bytes, u64)> {
        let key = self.candidates(key).0;
        let read = Read::State { key, hints: SmallVec::new(), mode: Mode::Siblings, epoch: EPOCH, digest_only };
        match self.node(node).read(&read) {
            Ok(Outcome::State(state)) => state,
            answer => unreachable!("{answer:?}"),
        }
    }

    /// Asks a replica for its state, or the digest of it.
    fn ask(&mut self, to: NodeId, key: &Bytes, digest: bool) -> Option<(Bytes, u64)> {
        let read = ReplicaRead { bucket: BUCKET.to_owned(), key: key.clone(), digest, strict: false };
        let request = ReplicaRequest { id: 2, epoch: EPOCH, request: Some(replica_request::Request::Read(read)) };
        let mut frame = sent(&ReplicaRequests { requests: vec![request] });
        let Some(replica_request::Request::Read(read)) = frame.requests.pop().and_then(|one| one.request) else {
            unreachable!("it was a read")
        };
        let (set, digest) = self.read(to, &read.key, read.digest).unwrap_or_default();
        match reply(replica_reply::Reply::State(ReplicaState { set, digest })) {
            replica_reply::Reply::State(state) => (state.digest != 0).then_some((state.set, state.digest)),
            reply => unreachable!("{reply:?}"),
        }
    }
}

fn reply(reply: replica_reply::Reply) -> replica_reply::Reply {
    let mut frame = sent(&ReplicaReplies { replies: vec![ReplicaReply { id: 2, reply: Some(reply) }] });
    frame.replies.pop().and_then(|one| one.reply).expect("one reply")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_got_from_any_and_superseded_by_its_context() {
        let mut cluster = Cluster::with_keys(10);
        let (values, context) = cluster.get(parts::key(3));
        assert_eq!(values, [parts::value(3)]);
        assert_eq!(cluster.get(parts::key(99)).0, Vec::<Bytes>::new());
        cluster.put(parts::key(3), parts::value(4), context.clone());
        assert_eq!(cluster.get(parts::key(3)).0, [parts::value(4)]);
        cluster.put(parts::key(3), parts::value(5), context);
        assert_eq!(cluster.get(parts::key(3)).0.len(), 2, "neither had seen the other");
        let states: Vec<_> = cluster
            .nodes
            .iter()
            .map(|(id, _)| *id)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|id| cluster.read(id, &parts::key(3), true))
            .collect();
        assert!(states.iter().all(|state| state.is_some() && *state == states[0]), "{states:?}");
    }
}
