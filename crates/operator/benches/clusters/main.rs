//! What the operator costs: its memory, CPU and requests with so many DynamoClusters, while they come to be, while nothing happens,
//! and while all of them get more nodes.
//!
//! The API server and the controllers are real; kubelets and nodes are this process's (a stub admin endpoint behind each
//! pod). The operator is a process of its own, at real speed, with the rights of an installation. `cargo bench -p
//! dynamo-operator --bench clusters -- --help` says what is measured and how.

#![allow(missing_docs, reason = "a program")]

mod process;
mod report;
mod stage;
#[path = "../../tests/operator/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
mod support;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};

use process::{Operator, Usage};
use report::{Phase, Run};
use stage::Stage;

/// Measures an operator that tends so many DynamoClusters.
///
/// For each number: a fresh etcd, kube-apiserver and kube-controller-manager; that many clusters of three nodes in three zones, without
/// TLS, each in a namespace of its own, created at once; a time in which nothing happens; then all of them are scaled from three
/// to six nodes at once. Kubelets and nodes are played by this program: a pod is ready within moments, and a change of the ring takes
/// some seconds and moves no data, so that what is measured is the operator.
///
/// CPU, memory and requests are those of the operator's process alone (/proc, and the API server's audit log), from the moment that
/// the clusters are created or edited until it has written nothing for 15 s. Times are until a cluster is Available, its ring settled and
/// nothing under way; they include what the controllers, this program and whatever else runs on the machine take.
#[derive(Debug, Parser)]
#[command(name = "clusters")]
struct Invocation {
    /// How many DynamoClusters there are at once: each number is a run of its own
    #[arg(long, value_delimiter = ',', default_value = "1,10,100", value_name = "NUMBER,...",
        value_parser = clap::value_parser!(u8).range(1..=200))]
    clusters: Vec<u8>,

    /// How long nothing happens. The operator looks at a settled cluster once a minute
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u64,

    /// How long all clusters may take to be settled, before the run is given up
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    patience: u64,

    /// The operator's log level
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    log_level: String,

    /// A table at the end, or a line of JSON for each number
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,

    /// Cargo says it; it means nothing
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let given = Invocation::parse();
    let mut runs = Vec::new();
    for number in &given.clusters {
        let Some(run) = run(*number, &given).await else { return ExitCode::FAILURE };
        if given.output == Output::Json {
            println!("{}", run.json());
        }
        runs.push(run);
    }
    if given.output == Output::Table {
        print!("{}", report::table(&runs));
    }
    ExitCode::SUCCESS
}

/// None: the control plane's binaries are missing, which was told.
async fn run(number: u8, given: &Invocation) -> Option<Run> {
    let stage = Stage::start(number).await?;
    let operator = Operator::start(&stage, &given.log_level).await;
    let mut run = Run { clusters: number, phases: Vec::new() };
    let patience = Duration::from_secs(given.patience);
    let phase = measured("created", &stage, &operator, async || {
        stage.create().await;
        settled_and_at_rest(&stage, &operator, 3, patience).await
    });
    run.phases.push(phase.await);
    let phase = measured("idle", &stage, &operator, async || {
        tokio::time::sleep(Duration::from_secs(given.seconds)).await;
        Vec::new()
    });
    run.phases.push(phase.await);
    let phase = measured("scaled", &stage, &operator, async || {
        stage.scale(6).await;
        settled_and_at_rest(&stage, &operator, 6, patience).await
    });
    run.phases.push(phase.await);
    Some(run)
}

async fn settled_and_at_rest(stage: &Stage, operator: &Operator, nodes: usize, patience: Duration) -> Vec<Duration> {
    let took = stage.settle_at(nodes, patience, || operator.expect_running()).await;
    stage.rest().await;
    took
}

/// What the operator used and asked for meanwhile.
async fn measured(
    what: &'static str,
    stage: &Stage,
    operator: &Operator,
    meanwhile: impl AsyncFnOnce() -> Vec<Duration>,
) -> Phase {
    let (clusters, looks) = (stage.clusters.len(), operator.looks().await);
    let (mark, before, began) = (stage.plane.mark(), operator.usage(), Instant::now());
    let mut took = meanwhile().await;
    let Usage { cpu_s, memory_kib, memory_peak_kib } = operator.usage();
    took.sort_unstable();
    let phase = Phase {
        what,
        lasted_s: began.elapsed().as_secs_f64(),
        took,
        cpu_s: cpu_s - before.cpu_s,
        memory_kib,
        memory_peak_kib,
        writes: report::counted(&stage.written_since(mark)),
        lease_writes: stage.lease_writes_since(mark),
        reads: report::counted(&stage.read_since(mark)),
        looks: operator.looks().await - looks,
    };
    eprintln!("{clusters} clusters, {what}: {}", phase.in_words());
    phase
}
