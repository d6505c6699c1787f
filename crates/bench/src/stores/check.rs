//! After a crash: is what was acknowledged there?

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::{
    drivers::ours::Ours,
    workload::{
        draw::Draws,
        ledger::{Fault, Ledger},
    },
};

/// So many keys are read at once.
const CLIENTS: u64 = 32;
/// Nodes that have just started may refuse at first.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// What was looked at, and what was wrong.
#[derive(Debug, Default)]
pub struct Checked {
    /// Keys that were read.
    pub keys: u64,
    /// Those of them that lost an acknowledged write.
    pub lost: Vec<(u64, Fault)>,
}

/// Reads a sample of the keys that have something acknowledged: all of them, if there are no more.
///
/// # Errors
/// A key that could not be read after all tries: nothing is known of it then.
pub async fn check(driver: &Ours, ledger: &Arc<Ledger>, sample: u64) -> Result<Checked> {
    let keys = Arc::new(chosen(ledger, sample));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (driver, ledger, keys) = (driver.clone(), ledger.clone(), keys.clone());
        clients.spawn(async move {
            let mut checked = Checked::default();
            for &key in keys.iter().skip(client as usize).step_by(CLIENTS as usize) {
                checked.keys += 1;
                let found = insist(&driver, key).await?;
                checked.lost.extend(ledger.judge(key, &found).err().map(|fault| (key, fault)));
            }
            anyhow::Ok(checked)
        });
    }
    let mut all = Checked::default();
    while let Some(ended) = clients.join_next().await {
        let Checked { keys, lost } = ended??;
        all.keys += keys;
        all.lost.extend(lost);
    }
    Ok(all)
}

/// Evenly over all keys that have something acknowledged.
fn chosen(ledger: &Ledger, sample: u64) -> Vec<u64> {
    let mut keys: Vec<u64> = (0..ledger.keys()).filter(|key| ledger.has(*key)).collect();
    let sample = (sample as usize).min(keys.len());
    let mut draws = Draws::new(keys.len() as u64);
    for place in 0..sample {
        let other = place + draws.below((keys.len() - place) as u64) as usize;
        keys.swap(place, other);
    }
    keys.truncate(sample);
    keys
}

async fn insist(driver: &Ours, key: u64) -> Result<Vec<bytes::Bytes>> {
    let mut tries = 1;
    loop {
        match driver.siblings(key).await {
            Ok(found) => return Ok(found),
            Err(error) if tries == TRIES => {
                return Err(error)
                    .with_context(|| format!("key {key} can't be read after the crash, in {TRIES} tries"));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        tries += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_of_different_keys_that_were_acknowledged() {
        let ledger = Ledger::new(1000);
        (0..1000).step_by(2).for_each(|key| ledger.acknowledged(ledger.begin(key)));
        let keys = chosen(&ledger, 100);
        let mut distinct = keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!((keys.len(), distinct.len()), (100, 100));
        assert!(keys.iter().all(|key| key % 2 == 0) && keys.iter().any(|key| *key > 500), "{keys:?}");
        assert_eq!(chosen(&ledger, 5000).len(), 500);
    }
}
