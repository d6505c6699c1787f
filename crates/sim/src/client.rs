//! Clients: each does its operations one after the other, waits so long for an answer and no longer, and tries again
//! at another node. A write that is tried again is another write with a value of its own.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    coverage::cover,
    history::{Promise, ReadRecord, Seen, WriteId, WriteOutcome, WriteRecord, value_of},
    message::{Answer, Ask, ClientRequest, Refused, Response, WriteAsk},
    network::Fate,
    plan::{OpKind, PlannedOp},
    promise::promise_of,
    world::{Event, Kernel, Power, say},
};

/// How long a client waits for an answer, microseconds: some are patient, some are not.
const PATIENCE_US: [u64; 2] = [6_000_000, 1_500_000];
/// How often an operation is tried.
const TRIES: u32 = 4;
/// Between two tries, microseconds.
const PAUSE_US: u64 = 20_000;

/// What a client holds of a key: the sealed context, and what it had truly seen when it got that.
#[derive(Clone)]
struct Context {
    sealed: Bytes,
    seen: Seen,
}

/// The operation that a client is at.
struct Current {
    op: PlannedOp,
    writing: bool,
    tries: u32,
    write: Option<WriteId>,
    began_us: u64,
}

/// A client.
pub struct Client {
    index: u8,
    ops: Vec<PlannedOp>,
    next: usize,
    current: Option<Current>,
    contexts: BTreeMap<u16, Context>,
    attempt: u32,
}

impl Client {
    pub fn new(index: u8, ops: Vec<PlannedOp>) -> Self {
        Self { index, ops, next: 0, current: None, contexts: BTreeMap::new(), attempt: 0 }
    }

    /// Whether it is at an operation, or has more to do now.
    pub fn is_busy(&self) -> bool {
        self.current.is_some() || self.next < self.ops.len()
    }

    /// It begins nothing more of what was planned.
    pub fn stop(&mut self) {
        self.next = self.ops.len();
    }

    /// Plans the beginning of the next operation.
    pub fn plan_next(&self, kernel: &mut Kernel) {
        if let Some(op) = self.ops.get(self.next) {
            let at = (u64::from(op.at_ms) * 1000).max(kernel.now + 1);
            kernel.at(at, Event::ClientBegins { client: self.index });
        }
    }

    /// Begins the next operation, or tries the current one again.
    pub fn begin(&mut self, kernel: &mut Kernel) {
        if self.current.is_none() {
            let Some(op) = self.ops.get(self.next) else { return };
            self.next += 1;
            let writing = matches!(op.what, OpKind::Put | OpKind::BlindPut);
            self.current = Some(Current { op: *op, writing, tries: 0, write: None, began_us: kernel.now });
        }
        self.send(kernel);
    }

    fn patience(&self) -> u64 {
        PATIENCE_US[usize::from(self.index) % PATIENCE_US.len()]
    }

    fn send(&mut self, kernel: &mut Kernel) {
        let Some(mut current) = self.current.take() else { return };
        self.attempt += 1;
        let (key, node) = (current.op.key, node_of(&current, kernel));
        current.began_us = kernel.now;
        let ask = if current.writing {
            let (write, ask) = self.write_ask(&current, node, kernel);
            current.write = Some(write);
            Ask::Write(ask)
        } else {
            say!(kernel, "client-{} gets key-{key} at node-{node}", self.index);
            Ask::Get
        };
        self.current = Some(current);
        let request = ClientRequest { client: self.index, attempt: self.attempt, key, ask };
        self.dispatch(node, request, kernel);
    }

    fn dispatch(&self, node: u8, request: ClientRequest, kernel: &mut Kernel) {
        let (client, attempt) = (self.index, self.attempt);
        let endpoint = kernel.shape.nodes() + client;
        kernel.after(self.patience(), Event::ClientTimeout { client, attempt });
        let Fate::Arrives { after_us, .. } = kernel.network.datagram(endpoint, node) else { return };
        match kernel.powers[usize::from(node)] {
            Power::On => kernel.after(after_us, Event::Request { node, request: Box::new(request) }),
            Power::Down => kernel.after(2 * after_us, Event::NobodyThere { client, attempt }),
            Power::Off => {}
        }
    }

    /// A new write, as the checkers know it and as the node gets it.
    fn write_ask(&self, current: &Current, node: u8, kernel: &mut Kernel) -> (WriteId, WriteAsk) {
        let key = current.op.key;
        let context = self.contexts.get(&key).filter(|_| current.op.what != OpKind::BlindPut).cloned();
        let Context { sealed, seen } = context.unwrap_or(Context { sealed: Bytes::new(), seen: Seen::from([]) });
        let delete = current.op.what == OpKind::Delete;
        if current.write.is_some() {
            cover!("client.retried_write");
        }
        // An impatient client may leave before the answer that was promised.
        let patient = self.patience() == PATIENCE_US[0];
        let promise = if patient { promise_of(kernel, self.index, node, key) } else { Promise::None };
        let write = kernel.history.begin_write(WriteRecord {
            client: self.index,
            key,
            delete,
            seen: seen.clone(),
            began_us: kernel.now,
            ended_us: None,
            outcome: WriteOutcome::Unknown,
            minted: None,
            promise,
            refused: None,
        });
        let what = if delete { "deletes" } else { "puts" };
        say!(kernel, "client-{} {what} write {write} of key-{key} at node-{node}, having seen {seen:?}", self.index);
        let value = (!delete).then(|| value_of(write, kernel.shape.plan.value_bytes));
        (write, WriteAsk { write, value, context: sealed })
    }

    /// An answer; one that comes too late finds nobody waiting.
    pub fn on_answer(&mut self, attempt: u32, answer: Answer, kernel: &mut Kernel) {
        if attempt != self.attempt || self.current.is_none() {
            return;
        }
        self.attempt += 1;
        match answer {
            Ok(Response::Got { values, deletes, context }) => self.got(&values, &deletes, context, kernel),
            Ok(Response::Written { context }) => self.written(context, kernel),
            Err(refused) => self.refused(refused, kernel),
        }
    }

    fn got(&mut self, values: &[Bytes], deletes: &[WriteId], sealed: Bytes, kernel: &mut Kernel) {
        let Some(current) = &mut self.current else { return };
        let key = current.op.key;
        let mut found = deletes.to_vec();
        let mut strange = Vec::new();
        for value in values {
            match kernel.history.write_in(key, value) {
                Some(write) => found.push(write),
                None => strange.push(value.clone()),
            }
        }
        found.sort_unstable();
        let seen: Seen = found.into();
        say!(kernel, "client-{} finds {seen:?} in key-{key}", self.index);
        let (client, began_us, ended_us) = (self.index, current.began_us, kernel.now);
        kernel.history.reads.push(ReadRecord { client, key, began_us, ended_us, found: seen.clone(), strange });
        let deletes_nothing = current.op.what == OpKind::Delete && values.is_empty();
        let writes_now = matches!(current.op.what, OpKind::Update | OpKind::Delete) && !deletes_nothing;
        self.contexts.insert(key, Context { sealed, seen });
        if writes_now {
            (current.writing, current.tries) = (true, 0);
            return self.send(kernel);
        }
        self.finish(kernel);
    }

    fn written(&mut self, sealed: Bytes, kernel: &mut Kernel) {
        let Some(current) = &self.current else { return };
        let (key, write) = (current.op.key, current.write.expect("a write was begun"));
        let record = &mut kernel.history.writes[write as usize];
        record.outcome = WriteOutcome::Acknowledged;
        record.ended_us = Some(kernel.now);
        say!(kernel, "client-{} hears that write {write} is safe", self.index);
        self.contexts.insert(key, Context { sealed, seen: Seen::from([write]) });
        self.finish(kernel);
    }

    fn refused(&mut self, refused: Refused, kernel: &mut Kernel) {
        let Some(current) = &self.current else { return };
        say!(kernel, "client-{} is refused: {refused:?}", self.index);
        if current.writing {
            let write = current.write.expect("a write was begun");
            let record = &mut kernel.history.writes[write as usize];
            record.ended_us = Some(kernel.now);
            record.refused = Some(format!("{refused:?}"));
            if refused == Refused::TooManySiblings {
                // That is said of the key, wherever it lives, until somebody writes with what he read.
                record.promise = Promise::None;
            }
            if says_not_written(refused) {
                record.outcome = WriteOutcome::NotWritten;
            }
        } else {
            kernel.history.failed_reads += 1;
        }
        if matches!(refused, Refused::BadContext | Refused::TooManySiblings) {
            return self.finish(kernel);
        }
        self.try_again(kernel);
    }

    /// The host says that nobody listens.
    pub fn on_nobody(&mut self, attempt: u32, kernel: &mut Kernel) {
        if attempt == self.attempt && self.current.is_some() {
            cover!("client.refused_connection");
            self.attempt += 1;
            self.try_again(kernel);
        }
    }

    /// It has waited long enough.
    pub fn on_timeout(&mut self, attempt: u32, kernel: &mut Kernel) {
        if attempt == self.attempt && self.current.is_some() {
            cover!("client.timed_out");
            say!(kernel, "client-{} waits no longer", self.index);
            self.attempt += 1;
            self.try_again(kernel);
        }
    }

    fn try_again(&mut self, kernel: &mut Kernel) {
        let Some(current) = &mut self.current else { return };
        current.tries += 1;
        if current.tries >= TRIES {
            return self.finish(kernel);
        }
        kernel.after(PAUSE_US, Event::ClientBegins { client: self.index });
    }

    fn finish(&mut self, kernel: &mut Kernel) {
        self.current = None;
        self.plan_next(kernel);
    }
}

/// Where a try goes: at first as planned, or to a home; then around.
fn node_of(current: &Current, kernel: &Kernel) -> u8 {
    let nodes = kernel.shape.nodes();
    match current.op.via {
        Some(node) => ((u32::from(node) + current.tries) % u32::from(nodes)) as u8,
        None => {
            let walk = kernel.newest().walk(kernel.shape.partition(current.op.key));
            walk[current.tries as usize % walk.len()]
        }
    }
}

/// Whether a refusal says that nothing was written anywhere.
fn says_not_written(refused: Refused) -> bool {
    match refused {
        Refused::NotEnough { begun, .. } => !begun,
        Refused::UnknownBucket | Refused::BadContext | Refused::DiskFull => true,
        Refused::TooManySiblings | Refused::NotReady => true,
        Refused::CoordinatorLost | Refused::Internal => false,
    }
}
