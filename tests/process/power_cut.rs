//! All nodes are killed at once in the middle of a load: what was acknowledged is there when they are back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dynamo_client::{Client, Config, Put};

use crate::{cluster::Cluster, packages::write_records};

/// The machine's package records, a JSON line each.
fn records() -> Vec<Bytes> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("packages.jsonl");
    write_records(&file);
    std::fs::read_to_string(file).unwrap().lines().map(|line| Bytes::from(line.to_owned())).collect()
}

/// Writes until told to stop; returns the numbers of the records that were acknowledged.
async fn write(cluster: &Cluster, records: Arc<[Bytes]>, stop: Arc<AtomicBool>) -> Vec<usize> {
    let mut config = Config::new(cluster.endpoints());
    config.timeout = Duration::from_secs(2);
    let client = Client::connect(config).await.unwrap();
    let writers = (0..32).map(|writer| {
        let (client, stop, records) = (client.clone(), stop.clone(), records.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in (writer..records.len()).step_by(32) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let put = Put::new("default", number.to_string(), records[number].clone());
                if client.put(put).await.is_ok() {
                    acknowledged.push(number);
                }
            }
            acknowledged
        })
    });
    let mut acknowledged = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        acknowledged.extend(writer.await.unwrap());
    }
    acknowledged
}

/// The numbers of those that are not there, or not as they were written.
async fn missing(cluster: &Cluster, records: &[Bytes], acknowledged: &[usize]) -> Vec<usize> {
    let client = Client::connect(Config::new(cluster.endpoints())).await.unwrap();
    let mut missing = Vec::new();
    for number in acknowledged {
        let found = client.get("default", number.to_string(), None).await.unwrap();
        if found.values != [records[*number].clone()] {
            missing.push(*number);
        }
    }
    missing
}

/// Only the processes die here, so what the operating system has is kept: all three durabilities promise to survive it.
fn nothing_acknowledged_is_lost(durability: &str) {
    let records: Arc<[Bytes]> = records().into();
    let cluster = Cluster::start(5, &["--zones", "3", "--durability", durability]);
    let nodes = ["node-1", "node-2", "node-3", "node-4", "node-5"];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = runtime.block_on(async {
        let writing = write(&cluster, records.clone(), stop.clone());
        let cutting = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            tokio::task::block_in_place(|| cluster.kill_at_once(&nodes));
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(writing, cutting).0
    });
    assert!(acknowledged.len() > 100, "only {} writes", acknowledged.len());
    assert!(acknowledged.len() < records.len(), "all was written before the nodes were killed");
    nodes.iter().for_each(|node| cluster.restart(node));
    let missing = runtime.block_on(missing(&cluster, &records, &acknowledged));
    let (lost, of) = (missing.len(), acknowledged.len());
    println!("{durability}: {of} writes were acknowledged before all nodes were killed");
    assert!(missing.is_empty(), "{lost} of {of} acknowledged writes are lost: {missing:?}");
}

#[test]
fn every_write_acknowledged_after_fsync_survives_the_loss_of_all_nodes_at_once() {
    nothing_acknowledged_is_lost("fsync");
}

#[test]
fn every_write_acknowledged_after_one_fsync_survives_the_loss_of_all_nodes_at_once() {
    nothing_acknowledged_is_lost("one-fsync");
}

#[test]
fn every_write_acknowledged_from_buffers_survives_the_loss_of_all_processes_at_once() {
    nothing_acknowledged_is_lost("interval");
}
