//! What was measured, as a table and as JSON.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

use dynamo_control_plane::Writes;
use serde_json::{Value, json};

pub struct Run {
    pub clusters: u8,
    pub phases: Vec<Phase>,
}

pub struct Phase {
    pub what: &'static str,
    pub lasted_s: f64,
    /// How long each cluster took to settle, in order.
    pub took: Vec<Duration>,
    pub cpu_s: f64,
    pub memory_kib: u64,
    pub memory_peak_kib: u64,
    /// By verb and resource.
    pub writes: BTreeMap<String, usize>,
    pub lease_writes: usize,
    pub reads: BTreeMap<String, usize>,
    pub looks: u64,
}

/// By verb and resource; those that were refused by their answers too.
pub fn counted(requests: &Writes) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for request in &requests.0 {
        let mut what = format!("{} {}", request.verb, request.resource);
        if let Some(code) = request.code.filter(|code| *code >= 400) {
            let _ = write!(what, " ({code})");
        }
        *counted.entry(what).or_default() += 1;
    }
    counted
}

impl Phase {
    fn median_s(&self) -> Option<f64> {
        self.took.get(self.took.len() / 2).map(Duration::as_secs_f64)
    }

    fn last_s(&self) -> Option<f64> {
        self.took.last().map(Duration::as_secs_f64)
    }

    pub fn in_words(&self) -> String {
        format!(
            "{:.0} s, {:.2} s of CPU, {:.1} MiB, {} looks, {} writes, {} reads",
            self.lasted_s,
            self.cpu_s,
            mib(self.memory_kib),
            self.looks,
            self.writes.values().sum::<usize>(),
            self.reads.values().sum::<usize>()
        )
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what, "lasted_s": self.lasted_s, "median_s": self.median_s(), "last_s": self.last_s(),
            "cpu_s": self.cpu_s, "memory_kib": self.memory_kib, "memory_peak_kib": self.memory_peak_kib,
            "looks": self.looks, "writes": self.writes, "lease_writes": self.lease_writes, "reads": self.reads,
        })
    }
}

impl Run {
    pub fn json(&self) -> Value {
        json!({ "clusters": self.clusters, "phases": self.phases.iter().map(Phase::json).collect::<Vec<_>>() })
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Markdown, as the documentation has it.
pub fn table(runs: &[Run]) -> String {
    let mut text = String::from(
        "| clusters | what | CPU s | CPU ms a cluster | MiB | most MiB | looks a cluster | writes a cluster | reads | \
         settled s, median | last |\n| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for run in runs {
        let each = |count: f64| count / f64::from(run.clusters);
        for phase in &run.phases {
            let (writes, reads) = (phase.writes.values().sum::<usize>(), phase.reads.values().sum::<usize>());
            let seconds = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.0}"));
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {reads} | {} | {} |",
                run.clusters,
                phase.what,
                phase.cpu_s,
                each(phase.cpu_s * 1000.0),
                mib(phase.memory_kib),
                mib(phase.memory_peak_kib),
                each(phase.looks as f64),
                each(writes as f64),
                seconds(phase.median_s()),
                seconds(phase.last_s())
            );
        }
    }
    let whats: Vec<&str> = runs.iter().flat_map(|run| &run.phases).map(|phase| phase.what).take(3).collect();
    for what in whats {
        requests(&mut text, runs, what, "write", |phase| &phase.writes);
        requests(&mut text, runs, what, "read", |phase| &phase.reads);
    }
    text
}

/// How many of each kind there were for a cluster.
fn requests(text: &mut String, runs: &[Run], what: &str, kind: &str, of: impl Fn(&Phase) -> &BTreeMap<String, usize>) {
    let phases: Vec<_> =
        runs.iter().flat_map(|run| run.phases.iter().map(move |phase| (run.clusters, phase))).collect();
    let phases: Vec<_> = phases.into_iter().filter(|(_, phase)| phase.what == what).collect();
    let names: BTreeSet<&String> = phases.iter().flat_map(|(_, phase)| of(phase).keys()).collect();
    if names.is_empty() {
        return;
    }
    let head: String = phases.iter().map(|(clusters, _)| format!(" {clusters} |")).collect();
    let _ = writeln!(text, "\n| {what}: {kind}s a cluster |{head}\n| --- |{}", " ---: |".repeat(phases.len()));
    for name in names {
        let count = |(clusters, phase): &(u8, &Phase)| {
            let count = of(phase).get(name).copied().unwrap_or(0) as f64 / f64::from(*clusters);
            format!(" {count:.2} |")
        };
        let _ = writeln!(text, "| {name} |{}", phases.iter().map(count).collect::<String>());
    }
}
