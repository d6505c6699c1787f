//! Writes every key once, before anything is measured.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use tokio::task::JoinSet;

use super::{
    Asking, Driver,
    draw::{Draws, Wish},
};

/// So many keys are written at once.
const CLIENTS: u64 = 64;
/// A store that has just started may refuse at first.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(200);

/// Writes all keys; `done` hears of each.
///
/// # Errors
/// A key that could not be written after all tries.
pub async fn preload<D: Driver>(asking: Arc<Asking<D>>, done: impl Fn() + Clone + Send + 'static) -> Result<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (asking, done) = (asking.clone(), done.clone());
        clients.spawn(async move {
            let mut draws = Draws::new(7 + client);
            for key in (client..asking.load.keys).step_by(CLIENTS as usize) {
                insist(&asking, client as usize, key, &mut draws).await?;
                done();
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    Ok(())
}

async fn insist<D: Driver>(asking: &Asking<D>, client: usize, key: u64, draws: &mut Draws) -> Result<()> {
    let mut last = anyhow!("nothing was tried");
    for _ in 0..TRIES {
        match asking.ask(client, Wish::Write(key), draws).await {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(last).with_context(|| format!("key {key} could not be written in {TRIES} tries, before anything was measured"))
}
