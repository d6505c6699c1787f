//! A session of measuring: which stores, how long, and how each takes its turn.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use clap::Args;
use dynamo_client::Routing;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::AbortHandle;

use crate::{
    cell::Cell,
    drivers::Connected,
    show::Format,
    stores::{
        self, Store,
        check::Checked,
        ours::{Durability, REPLICATION, Settings},
        peers::Peer,
    },
    usage::{Usage, until_quiet},
    workload::{
        Asking, Load,
        closed::{self, Outcome, Run},
        open::{self, Arrived, Offer},
    },
};

/// The machine counts as quiet while others use less of it.
const QUIET_PERCENT: f64 = 10.0;
/// A run in which others used more of the machine is made again.
const DISTURBED_PERCENT: f64 = 5.0;
/// So often in all.
const TRIES: u32 = 3;
/// While a JVM compiles, so many clients ask.
const HEAT_CLIENTS: usize = 64;
/// A run of a cell that the store has not seen yet begins with a longer warm-up.
const WARMUP_FIRST: Duration = Duration::from_secs(10);
const WARMUP: Duration = Duration::from_secs(3);

/// Requests of an open loop that are under way at once, at the most: far more than a store that keeps up has.
const IN_FLIGHT: usize = 1024;
/// What has no answer so long after the last request of an open loop was due is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What both measuring commands are told.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Stores to stand beside, from the peers checkout that DYNAMO_PEERS names
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER,...")]
    pub peers: Vec<Peer>,
    /// When ours acknowledge a write: each is a store of its own
    #[arg(long, value_enum, value_delimiter = ',', default_value = "fsync,interval", value_name = "WHEN,...")]
    pub durability: Vec<Durability>,
    /// Measure each of ours with TLS, too
    #[arg(long)]
    pub tls: bool,
    /// Rounds; in each, all stores take their turn in each cell
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Measured seconds of a run
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Seconds of load before, not counted [default: 10 in a cell's first run, then 3]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub warmup: Option<u64>,
    /// Seconds of load after a JVM was started [default: 440]
    #[arg(long, value_name = "S")]
    pub heat: Option<u64>,
    /// Keys that all stores hold
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub keys: u64,
    /// Keys that are read after each of our runs' crash
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub check_keys: u64,
    /// Folder on a disk for our nodes' files [default: the system's for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Clients' port of our nodes on 127.0.0.1 to 3; peers' is 1,000 higher, HTTP's 2,000
    #[arg(long, default_value_t = 27400, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=63_000))]
    pub port: u16,
    /// Configuration of our nodes, as `dynamo-node --set` takes it
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub sets: Vec<String>,
    /// Don't wait until others leave the machine alone: to try it out, not for figures
    #[arg(long)]
    pub busy: bool,
    /// Folder of the rows, which are appended, and of the plots
    #[arg(long, default_value = "docs/bench", value_name = "DIR")]
    pub out: PathBuf,
    /// For people, or the rows for programs
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub output: Format,
}

/// The stores, and how they are measured.
pub struct Session {
    /// In the order of their turns.
    pub stores: Vec<Store>,
    flags: Flags,
    bar: ProgressBar,
    /// Moves the bar second by second while a run goes on.
    ticking: Option<AbortHandle>,
}

impl Flags {
    /// Finds all stores; starts none.
    ///
    /// # Errors
    /// A peer is not found.
    pub fn session(self) -> Result<Session> {
        let settings = Settings {
            dir: self.dir.clone().unwrap_or_else(std::env::temp_dir),
            port: self.port,
            durability: Durability::Fsync,
            tls: self.tls,
            sets: self.sets.clone(),
            nodes: REPLICATION,
            routing: Routing::Coordinator,
        };
        let stores = stores::all(&settings, &self.durability, &self.peers)?;
        Ok(Session::new(self, stores))
    }

    pub(super) fn warmup(&self, round: u32) -> Duration {
        let by_round = if round == 0 { WARMUP_FIRST } else { WARMUP };
        self.warmup.map_or(by_round, Duration::from_secs)
    }

    /// Of what a cell asks for.
    pub fn load(&self, cell: Cell) -> Load {
        let Cell { value_bytes, read_percent, clients } = cell;
        Load { keys: self.keys, value_bytes, read_percent, clients }
    }
}

impl Session {
    /// Of stores that are not started yet.
    pub fn new(flags: Flags, stores: Vec<Store>) -> Self {
        // Draws on a terminal only.
        let bar = ProgressBar::new(0).with_style(
            ProgressStyle::with_template("{spinner} {wide_msg} {bar:24} {pos}/{len} {elapsed}").expect("it is valid"),
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { stores, flags, bar, ticking: None }
    }

    /// Fills every store with values of this size, and heats those that need it.
    ///
    /// # Errors
    /// One can't be started or filled.
    pub async fn fill(&mut self, value_bytes: usize) -> Result<()> {
        let load = self.flags.load(Cell { value_bytes, read_percent: 50, clients: HEAT_CLIENTS });
        for store in &mut self.stores {
            self.bar.reset();
            self.bar.set_length(load.keys);
            self.bar.set_message(format!("{}: writing {} keys of {value_bytes} B", store.label(), load.keys));
            let counted = self.bar.clone();
            let heat = store.load(load, move || counted.inc(1)).await?;
            let heat = if heat.is_zero() { heat } else { self.flags.heat.map_or(heat, Duration::from_secs) };
            if !heat.is_zero() {
                self.bar.set_message(format!("{}: {} s of load, not counted", store.label(), heat.as_secs()));
                let run = Run { warmup: Duration::ZERO, measured: heat, servers: store.pids(), seed: 0 };
                closed::run(store.asking(load).await?, &run).await?;
            }
            store.rest().await?;
        }
        Ok(())
    }

    /// One run of one store in a closed loop, made again if it was disturbed; ours crash after it, and are looked through.
    ///
    /// # Errors
    /// The store failed, or lost what it had acknowledged.
    pub async fn closed(&mut self, store: usize, cell: Cell, round: u32) -> Result<Outcome> {
        let load = self.flags.load(cell);
        let mut tries = 1;
        loop {
            let asking = self.ready(store, load, round, &cell.to_string()).await?;
            let run = Run {
                warmup: self.flags.warmup(round),
                measured: Duration::from_secs(self.flags.seconds),
                servers: self.stores[store].pids(),
                seed: u64::from(round) + 1,
            };
            let outcome = closed::run(asking, &run).await?;
            self.tell_errors(store, outcome.tally.example.as_deref());
            self.crash(store, load).await?;
            if !self.disturbed_again(store, &outcome.usage, &mut tries) {
                return Ok(outcome);
            }
        }
    }

    /// One run of one store at a constant rate of arrivals, told in so many parts of equal length; made again if it was disturbed.
    ///
    /// # Errors
    /// As for [`Session::closed`].
    pub async fn open(&mut self, store: usize, cell: Cell, round: u32, rate: f64, slices: u32) -> Result<Arrived> {
        let load = self.flags.load(Cell { clients: IN_FLIGHT, ..cell });
        let mut tries = 1;
        loop {
            let asking = self.ready(store, load, round, &format!("{rate:.0} requests/s")).await?;
            let offer = Offer {
                rate,
                warmup: self.flags.warmup(round),
                measured: Duration::from_secs(self.flags.seconds),
                slices,
                patience: PATIENCE,
                servers: self.stores[store].pids(),
                seed: u64::from(round) + 1,
            };
            let arrived = open::run(asking, &offer).await?;
            self.tell_errors(store, arrived.tally.example.as_deref());
            self.crash(store, load).await?;
            if !self.disturbed_again(store, &arrived.usage, &mut tries) {
                return Ok(arrived);
            }
        }
    }

    /// The store's turn: it runs, and the machine is quiet.
    pub(super) async fn ready(
        &mut self,
        store: usize,
        load: Load,
        round: u32,
        what: &str,
    ) -> Result<Arc<Asking<Connected>>> {
        let store = &mut self.stores[store];
        let asking = store.asking(load).await?;
        let turn = format!("round {}: {}, {what}", round + 1, store.label());
        self.bar.reset();
        self.bar.set_length(self.flags.warmup(round).as_secs() + self.flags.seconds);
        if !self.flags.busy {
            until_quiet(&store.pids(), QUIET_PERCENT, |waits| self.bar.set_message(format!("{turn}; {waits}"))).await;
        }
        self.bar.set_message(turn);
        self.ticking = Some(tokio::spawn(seconds(self.bar.clone())).abort_handle());
        Ok(asking)
    }

    /// Ours are killed, started again, looked through and stopped.
    pub(super) async fn crash(&mut self, store: usize, load: Load) -> Result<()> {
        self.ticking.take().inspect(AbortHandle::abort);
        let label = self.stores[store].label().clone();
        self.bar.set_message(format!("{label}: kill -9 of all nodes, and what they had acknowledged"));
        if let Some(Checked { keys, lost }) = self.stores[store].crash(load, self.flags.check_keys).await? {
            if let Some((key, fault)) = lost.first() {
                bail!(
                    "{label} LOST acknowledged writes when all nodes were killed: of {} of {keys} keys that were read (key {key}: {fault:?})",
                    lost.len()
                );
            }
            self.say(format!("{label}: {keys} keys have what was acknowledged, after kill -9 of all nodes"));
        }
        self.stores[store].rest().await
    }

    /// Whether the run is to be made again.
    pub(super) fn disturbed_again(&self, store: usize, usage: &Usage, tries: &mut u32) -> bool {
        if self.flags.busy || usage.other_percent <= DISTURBED_PERCENT {
            return false;
        }
        *tries += 1;
        let again = *tries <= TRIES;
        let (label, percent) = (self.stores[store].label(), usage.other_percent);
        let then = if again { "it is made again" } else { "it counts, since others were no quieter" };
        self.say(format!("{label}: others used {percent:.0} % of the machine in this run; {then}"));
        again
    }

    pub(super) fn tell_errors(&self, store: usize, example: Option<&str>) {
        if let Some(example) = example {
            self.say(format!("{}: requests failed, for example: {example}", self.stores[store].label()));
        }
    }

    /// A line on standard error.
    pub fn say(&self, line: impl AsRef<str>) {
        self.bar.suspend(|| eprintln!("{}", line.as_ref()));
    }

    /// What the command was told.
    pub fn flags(&self) -> &Flags {
        &self.flags
    }

    /// What is to be known of the others.
    pub fn promises(&self) -> Vec<&'static str> {
        self.stores.iter().filter_map(Store::promises).collect()
    }

    /// Stops all, and clears the terminal's line.
    ///
    /// # Errors
    /// A node can't be stopped.
    pub async fn end(mut self) -> Result<()> {
        for store in &mut self.stores {
            store.rest().await?;
        }
        self.bar.finish_and_clear();
        Ok(())
    }
}

/// The bar's seconds, until it is told to end.
async fn seconds(bar: ProgressBar) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
}
