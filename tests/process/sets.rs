//! Many writers add elements to a few shared sets, each by reading, merging all siblings and writing back, while nodes are
//! killed and restarted. An element whose write was acknowledged is in its set for ever (the model of riak_kv issue 1754).

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use dynamo_client::{Client, Config, Put};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::cluster::Cluster;

const SETS: usize = 8;
const WRITERS: usize = 16;
/// Long enough for a dozen kills; `DYNAMO_TEST_SECONDS` makes it hours.
const SECONDS: u64 = 20;
/// So many elements have to be taken while nodes die for the test to say something: a slow machine takes longer.
const ENOUGH: usize = 200;
/// A store that takes none is given up after so many kills.
const KILLS_MAX: usize = 200;

type Elements = BTreeSet<String>;

fn set_name(set: usize) -> String {
    format!("set-{set}")
}

fn merged(values: &[Bytes]) -> Elements {
    let texts = values.iter().map(|value| std::str::from_utf8(value).unwrap());
    texts.flat_map(str::lines).map(str::to_owned).collect()
}

fn encoded(elements: &Elements) -> Bytes {
    elements.iter().map(|element| format!("{element}\n")).collect::<String>().into()
}

async fn add(client: &Client, bucket: &str, set: usize, element: &str) -> Result<(), dynamo_client::Error> {
    let found = client.get(bucket, set_name(set), None).await?;
    let mut elements = merged(&found.values);
    elements.insert(element.to_owned());
    let put = Put { context: found.context, ..Put::new(bucket, set_name(set), encoded(&elements)) };
    client.put(put).await.map(drop)
}

/// What writers are told, and tell.
#[derive(Default)]
struct Going {
    stop: AtomicBool,
    taken: AtomicUsize,
}

/// Adds until told to stop; returns what was acknowledged, by set.
async fn write(client: Client, bucket: &'static str, writer: usize, going: Arc<Going>) -> Vec<Elements> {
    let mut acknowledged = vec![Elements::new(); SETS];
    let mut random = StdRng::seed_from_u64(writer as u64);
    for number in 0.. {
        if going.stop.load(Ordering::Relaxed) {
            break;
        }
        let (set, element) = (random.random_range(0..SETS), format!("{writer}-{number}"));
        if add(&client, bucket, set, &element).await.is_ok() {
            acknowledged[set].insert(element);
            going.taken.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(1..20))).await;
    }
    acknowledged
}

/// Kills one or two nodes at a time, and brings them back, until the time is up and enough was written.
fn trouble(cluster: &Cluster, random: &mut StdRng, going: &Going) {
    let seconds = std::env::var("DYNAMO_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let until = Instant::now() + Duration::from_secs(seconds);
    for kills in 0.. {
        let taken = going.taken.load(Ordering::Relaxed);
        if Instant::now() >= until && taken > ENOUGH {
            return;
        }
        assert!(taken > ENOUGH || kills < KILLS_MAX, "only {taken} elements were written in {kills} kills");
        let first = random.random_range(1..=5);
        let second = random.random_range(1..=5);
        let nodes: BTreeSet<String> = [first, second].map(|node| format!("node-{node}")).into();
        let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
        cluster.kill_at_once(&names);
        std::thread::sleep(Duration::from_millis(random.random_range(100..2500)));
        names.iter().for_each(|node| cluster.restart(node));
        std::thread::sleep(Duration::from_millis(random.random_range(0..1500)));
    }
}

fn nothing_acknowledged_is_missing(bucket: &'static str, flags: &[&str]) {
    let cluster = Cluster::start(5, &["--zones", "3"]);
    let create: Vec<&str> = ["bucket", "create", bucket].iter().chain(flags).copied().collect();
    cluster.ok(&create);
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let going = Arc::new(Going::default());
    let acknowledged: Vec<Elements> = runtime.block_on(async {
        let client = Client::connect(Config::new(cluster.endpoints())).await.unwrap();
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| tokio::spawn(write(client.clone(), bucket, writer, going.clone()))).collect();
        tokio::task::block_in_place(|| trouble(&cluster, &mut StdRng::seed_from_u64(seed), &going));
        going.stop.store(true, Ordering::Relaxed);
        let mut all = vec![Elements::new(); SETS];
        for writer in writers {
            all.iter_mut().zip(writer.await.unwrap()).for_each(|(all, own)| all.extend(own));
        }
        all
    });
    let written: usize = acknowledged.iter().map(BTreeSet::len).sum();
    println!("{bucket}: {written} acknowledged elements");
    cluster.until_hints_drained();
    runtime.block_on(async {
        let client = Client::connect(Config::new(cluster.endpoints())).await.unwrap();
        for (set, wanted) in acknowledged.iter().enumerate() {
            let found = client.get(bucket, set_name(set), None).await.unwrap();
            let there = merged(&found.values);
            let missing: Vec<_> = wanted.difference(&there).collect();
            assert!(missing.is_empty(), "{} of {} lost {missing:?}", missing.len(), wanted.len());
        }
    });
}

#[test]
fn no_element_is_lost_from_a_sloppy_bucket() {
    nothing_acknowledged_is_missing("sloppy-sets", &[]);
}

#[test]
fn no_element_is_lost_from_a_strict_bucket() {
    nothing_acknowledged_is_missing("strict-sets", &["--strict"]);
}
