//! 40 clients on 10 hot sets and on 10,000, of a strict and of a sloppy bucket.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dynamo_client::{Client, Error, Put};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::history::{Elements, History, Set, encoded, merged};
use crate::nodes::Nodes;

const CLIENTS: usize = 40;
const HOT: usize = 10;
const WIDE: usize = 10_000;
/// Between two operations of a client, milliseconds at most: the nodes share few cores with others.
const PAUSE_MS: u64 = 60;

const STRICT: &str = "strict-sets";
const SLOPPY: &str = "sloppy-sets";

/// Clients at work.
pub struct Load {
    runtime: Runtime,
    history: Arc<History>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Makes the buckets, and sets the clients to work.
    pub fn begin(nodes: &Nodes) -> Self {
        nodes.ok(&["bucket", "create", STRICT, "--strict"]);
        nodes.ok(&["bucket", "create", SLOPPY]);
        Self::go_on_with(nodes, Arc::default())
    }

    /// The same again, with what earlier clients wrote.
    pub fn go_on_with(nodes: &Nodes, history: Arc<History>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stop = Arc::<AtomicBool>::default();
        // No element is written twice, also by clients that begin again.
        let life = history.writes();
        let clients = (0..CLIENTS).map(|number| {
            let config = nodes.client_config();
            let (history, stop) = (history.clone(), stop.clone());
            runtime.spawn(async move {
                let client = Client::connect(config).await.expect("the nodes are up");
                work(&client, (life, number), &history, &stop).await;
            })
        });
        let clients = clients.collect();
        let load = Self { runtime, history, stop, clients };
        load.go_on(100);
        load
    }

    /// Waits for so many more acknowledged writes: the cluster takes them, whatever goes on.
    pub fn go_on(&self, writes: usize) {
        let (before, until) = (self.history.writes(), std::time::Instant::now() + crate::cluster::PATIENCE);
        while self.history.writes() < before + writes {
            assert!(std::time::Instant::now() < until, "no {writes} writes in time: {}", self.history.writes());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Acknowledged writes so far.
    pub fn writes(&self) -> usize {
        self.history.writes()
    }

    /// Reads and writes that have failed so far, by why.
    pub fn failed(&self) -> BTreeMap<String, usize> {
        self.history.failed()
    }

    /// Stops the clients.
    pub fn stop(self) -> Arc<History> {
        self.stop.store(true, Ordering::Relaxed);
        let Self { runtime, history, clients, .. } = self;
        runtime.block_on(async {
            for client in clients {
                client.await.expect("a client does not panic");
            }
        });
        history
    }

    /// Stops the clients, and reads all that was written, once the ring is settled and all have what is theirs. Nothing may
    /// be wrong.
    pub fn end(self, nodes: &Nodes) {
        let history = self.stop();
        nodes.until_settled();
        nodes.until_hints_drained();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let client = Client::connect(nodes.client_config()).await.expect("the nodes are up");
            let sets = Arc::new(std::sync::Mutex::new(history.sets()));
            let readers: Vec<_> =
                (0..16).map(|_| tokio::spawn(read_all(client.clone(), sets.clone(), history.clone()))).collect();
            for reader in readers {
                reader.await.expect("everything can be read at the end");
            }
        });
        println!("{} acknowledged writes, {} reads", history.writes(), history.reads());
        println!("failed: {:?}", history.failed());
        let violations = history.violations();
        let first: Vec<&String> = violations.iter().take(5).collect();
        assert!(violations.is_empty(), "{} violations, of which {first:#?}", violations.len());
    }
}

/// Reads sets, as long as there are any, each of which must have all that was acknowledged.
async fn read_all(client: Client, sets: Arc<std::sync::Mutex<Vec<Set>>>, history: Arc<History>) {
    loop {
        let Some(set) = sets.lock().unwrap().pop() else { return };
        let begun = history.begin(&set);
        let found = client.get(set.bucket, set.key.clone(), None).await.expect("all nodes are up");
        history.end(begun, &merged(&found.values), true);
    }
}

async fn work(client: &Client, (life, number): (usize, usize), history: &History, stop: &AtomicBool) {
    let mut random = StdRng::seed_from_u64(number as u64);
    let bucket = if number.is_multiple_of(2) { STRICT } else { SLOPPY };
    for element in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let set = if random.random() {
            history.hot(bucket, random.random_range(0..HOT))
        } else {
            Set { bucket, key: format!("wide-{}", random.random_range(0..WIDE)) }
        };
        // What fails has not happened, or may have: neither is owed to a reader.
        let done = if random.random_ratio(1, 3) {
            read(client, &set, history).await.map(drop)
        } else {
            add(client, &set, &format!("{life}-{number}-{element}"), history).await
        };
        done.unwrap_or_else(|error| history.fails(format!("{bucket} {:?}", error.code)));
        tokio::time::sleep(Duration::from_millis(random.random_range(1..PAUSE_MS))).await;
    }
}

async fn read(client: &Client, set: &Set, history: &History) -> Result<(Elements, dynamo_client::Found), Error> {
    let begun = history.begin(set);
    let found = client.get(set.bucket, set.key.clone(), None).await?;
    let elements = merged(&found.values);
    history.end(begun, &elements, set.bucket == STRICT);
    Ok((elements, found))
}

async fn add(client: &Client, set: &Set, element: &str, history: &History) -> Result<(), Error> {
    let (mut elements, found) = read(client, set, history).await?;
    elements.insert(element.to_owned());
    history.tries(set, element);
    let put = Put { context: found.context, ..Put::new(set.bucket, set.key.clone(), encoded(&elements)) };
    client.put(put).await?;
    history.acknowledged(set, element);
    Ok(())
}
