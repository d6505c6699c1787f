//! When all faults are over: every key is read through every node, with all of its homes, until all tell the same.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use dynamo_client::{Client, Config, Routing};
use dynamo_history::WriteId;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::{
    line::Line,
    record::{Past, Recorder, name, told},
};

/// Reads under way at once.
const AT_ONCE: usize = 64;
/// Between two rounds over what is not settled.
const PAUSE: Duration = Duration::from_secs(1);

/// What one node told of a key, or why it told nothing.
type Told = Result<(Vec<WriteId>, Vec<String>), String>;

/// Reads all keys, and puts what stands of each in the history.
pub async fn settle(config: &Config, past: &Past, at: &Path, within: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + within;
    let recorder = Recorder::open(at, 1, 1)?;
    let mut open: Vec<u16> = (0..past.terms.keys).collect();
    let mut told = None;
    while !open.is_empty() {
        let last = Instant::now() > until;
        let nodes = match nodes_of(config).await {
            Ok(nodes) => nodes,
            Err(_) if !last => {
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.context("nothing was read back")),
        };
        let mut unsettled = Vec::new();
        let round: Vec<Vec<(u16, Told)>> =
            stream::iter(nodes.iter().map(|node| node.read(past, &open))).buffered(1).collect().await;
        for (place, key) in open.iter().enumerate() {
            let tellings: Vec<(&str, &Told)> =
                nodes.iter().zip(&round).map(|(node, told)| (node.name.as_str(), &told[place].1)).collect();
            let differs = differs(&tellings);
            if differs.is_some() && !last {
                unsettled.push(*key);
                continue;
            }
            let (found, strange) = joined(&tellings);
            recorder.say(&Line::Stands { key: *key, nodes: nodes.len(), found, strange, differs })?;
        }
        if !unsettled.is_empty() && told != Some(unsettled.len()) {
            eprintln!(
                "{} of {} keys are not told the same by {} nodes yet",
                unsettled.len(),
                past.terms.keys,
                nodes.len()
            );
            told = Some(unsettled.len());
        }
        open = unsettled;
        if !open.is_empty() {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// A node, and a client that asks no other.
struct Node {
    name: String,
    client: Client,
    homes: u32,
}

/// All members of the ring.
async fn nodes_of(config: &Config) -> anyhow::Result<Vec<Node>> {
    let ring = Client::connect(config.clone()).await?.describe_ring().await?;
    let members = ring.members.iter();
    let homes = ring.replicas.min(ring.members.len() as u32);
    let mut nodes = Vec::new();
    for member in members {
        let only =
            Config { endpoints: vec![member.client_address.clone()], routing: Routing::Server, ..config.clone() };
        let client = Client::connect(only).await.with_context(|| member.name.clone())?;
        nodes.push(Node { name: member.name.clone(), client, homes });
    }
    Ok(nodes)
}

impl Node {
    /// Reads these keys with all of their homes, in their order.
    async fn read(&self, past: &Past, keys: &[u16]) -> Vec<(u16, Told)> {
        let read = |key: u16| {
            let (bucket, name): (&str, Bytes) = (&past.buckets[past.bucket_of(key)].0, name(&past.run, key));
            async move {
                let found = self.client.get(bucket, name, Some(self.homes)).await;
                (key, found.map(|found| told(&found.values)).map_err(|error| error.message))
            }
        };
        stream::iter(keys.iter().map(|key| read(*key))).buffered(AT_ONCE).collect().await
    }
}

/// In what the nodes do not agree.
fn differs(tellings: &[(&str, &Told)]) -> Option<String> {
    let (first, rest) = tellings.split_first()?;
    let is_other = |(_, told): &&(&str, &Told)| told.is_err() || *told != first.1;
    let other = std::iter::once(first).filter(|(_, told)| told.is_err()).chain(rest.iter().filter(is_other)).next()?;
    Some(match (first.1, other.1) {
        (_, Err(error)) => format!("{} can't read it with all of its homes: {error}", other.0),
        (Ok(one), Ok((found, strange))) => {
            format!("{} tells {:?}{:?}, and {} {found:?}{strange:?}", first.0, one.0, one.1, other.0)
        }
        (Err(error), Ok(_)) => format!("{} can't read it with all of its homes: {error}", first.0),
    })
}

/// What any node told.
fn joined(tellings: &[(&str, &Told)]) -> (Vec<WriteId>, Vec<String>) {
    let told = || tellings.iter().filter_map(|(_, told)| told.as_ref().ok());
    let found: BTreeSet<WriteId> = told().flat_map(|(found, _)| found.iter().copied()).collect();
    let strange: BTreeSet<String> = told().flat_map(|(_, strange)| strange.iter().cloned()).collect();
    (found.into_iter().collect(), strange.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(found: &[WriteId]) -> Told {
        Ok((found.to_vec(), Vec::new()))
    }

    #[test]
    fn nodes_differ_if_one_tells_another_thing_or_nothing() {
        let (one, same, other, none) = (found(&[1, 2]), found(&[1, 2]), found(&[2]), Err("down".to_owned()));
        assert_eq!(differs(&[("a", &one), ("b", &same)]), None);
        assert_eq!(differs(&[("a", &one), ("b", &same), ("c", &other)]).unwrap(), "a tells [1, 2][], and c [2][]");
        assert!(differs(&[("a", &one), ("b", &none)]).unwrap().contains("b can't read it"));
        assert!(differs(&[("a", &none), ("b", &none)]).unwrap().contains("a can't read it"));
        assert_eq!(joined(&[("a", &other), ("b", &none), ("c", &found(&[7]))]), (vec![2, 7], vec![]));
    }
}
