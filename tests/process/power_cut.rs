//! All nodes are killed at once in the middle of a load: what was acknowledged is there when they are back.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dynamo_client::{Client, Config, Put};

use crate::cluster::Cluster;

fn value(key: u32) -> Bytes {
    Bytes::from(format!("value of {key} {}", "x".repeat((key % 1500) as usize)))
}

/// Writes until told to stop; returns what was acknowledged.
async fn write(cluster: &Cluster, stop: Arc<AtomicBool>) -> Vec<u32> {
    let mut config = Config::new(cluster.endpoints());
    config.timeout = Duration::from_secs(2);
    let client = Client::connect(config).await.unwrap();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers = (0..32).map(|writer| {
        let (client, stop, acknowledged) = (client.clone(), stop.clone(), acknowledged.clone());
        tokio::spawn(async move {
            let mut key = writer;
            while !stop.load(Ordering::Relaxed) {
                let put = Put::new("default", key.to_string(), value(key));
                if client.put(put).await.is_ok() {
                    acknowledged.lock().unwrap().push(key);
                }
                key += 32;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    Arc::into_inner(acknowledged).unwrap().into_inner().unwrap()
}

#[test]
fn every_acknowledged_write_survives_the_loss_of_all_nodes_at_once() {
    let cluster = Cluster::start(5, &["--zones", "3", "--durability", "fsync"]);
    let nodes = ["node-1", "node-2", "node-3", "node-4", "node-5"];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = runtime.block_on(async {
        let writing = write(&cluster, stop.clone());
        let cutting = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            tokio::task::block_in_place(|| nodes.iter().for_each(|node| cluster.kill(node)));
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(writing, cutting).0
    });
    assert!(acknowledged.len() > 100, "only {} writes", acknowledged.len());
    nodes.iter().for_each(|node| cluster.restart(node));
    let missing = runtime.block_on(async {
        let client = Client::connect(Config::new(cluster.endpoints())).await.unwrap();
        let mut missing = Vec::new();
        for key in &acknowledged {
            let found = client.get("default", key.to_string(), None).await.unwrap();
            if found.values != [value(*key)] {
                missing.push(*key);
            }
        }
        missing
    });
    assert!(
        missing.is_empty(),
        "{} of {} acknowledged writes are lost: {missing:?}",
        missing.len(),
        acknowledged.len()
    );
}
