//! CPU and memory of the servers, of this generator and of everything else on the machine, from /proc (Linux).

use std::{
    fs::read_to_string,
    time::{Duration, Instant},
};

/// Between two looks at whether the machine is quiet.
const LOOK: Duration = Duration::from_secs(2);
/// So many looks until others have had their chance.
const LOOKS_MAX: u32 = 60;
/// So many looks until the servers themselves have: a compaction that goes on belongs to the store.
const LOOKS_FOR_SERVERS: u32 = 5;
/// Servers that take less of the machine have settled.
const SETTLED_PERCENT: f64 = 20.0;

/// Where the counters stood.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    at: Instant,
    /// Seconds of CPU so far.
    servers: f64,
    own: f64,
    all: f64,
    cores: f64,
    rss_mib: f64,
}

/// What was used between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// All servers' together, user and system.
    pub server_us_per_op: f64,
    /// The generator's.
    pub client_us_per_op: f64,
    /// Shares of the whole machine.
    pub server_percent: f64,
    /// Of everything that is neither.
    pub other_percent: f64,
    /// Of all servers together, at the end.
    pub rss_mib: f64,
}

impl Snapshot {
    /// Now. A process that has ended counts as nothing.
    pub fn take(servers: &[u32]) -> Self {
        let machine = read("/proc/stat");
        Self {
            at: Instant::now(),
            servers: servers.iter().map(|pid| process_seconds(&read(&format!("/proc/{pid}/stat")))).sum(),
            own: process_seconds(&read("/proc/self/stat")),
            all: machine_seconds(&machine),
            cores: cores(&machine),
            rss_mib: servers.iter().map(|pid| resident_mib(&read(&format!("/proc/{pid}/status")))).sum(),
        }
    }

    /// From an earlier one to this, over so many operations.
    pub fn since(&self, earlier: &Self, operations: u64) -> Usage {
        let wall = (self.at - earlier.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let (servers, own) = (self.servers - earlier.servers, self.own - earlier.own);
        let share = |seconds: f64| 100.0 * seconds / wall / self.cores.max(1.0);
        let per_operation = |seconds: f64| seconds * 1e6 / operations.max(1) as f64;
        Usage {
            server_us_per_op: per_operation(servers),
            client_us_per_op: per_operation(own),
            server_percent: share(servers),
            other_percent: share(self.all - earlier.all - servers - own),
            rss_mib: self.rss_mib,
        }
    }
}

fn read(path: &str) -> String {
    read_to_string(path).unwrap_or_default()
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// User and system of /proc/PID/stat. The name in it may hold anything.
fn process_seconds(stat: &str) -> f64 {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |number: usize| fields.get(number).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (field(11) + field(12)) / ticks_per_second()
}

/// Whatever was no idling, of /proc/stat: user, nice, system, interrupts, and what other machines on the same host took.
fn machine_seconds(stat: &str) -> f64 {
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = first.split_whitespace().skip(1).filter_map(|text| text.parse().ok()).collect();
    [0, 1, 2, 5, 6, 7].iter().filter_map(|&field: &usize| fields.get(field)).sum::<f64>() / ticks_per_second()
}

fn cores(stat: &str) -> f64 {
    stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count() as f64
}

/// VmRSS of /proc/PID/status.
fn resident_mib(status: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Waits until everything but the servers leaves the machine alone, and the servers have settled: two minutes at the most for
/// others, ten seconds for the servers. `waiting` is told what is waited for.
pub async fn until_quiet(servers: &[u32], percent: f64, waiting: impl Fn(String)) {
    for look in 0..LOOKS_MAX {
        let before = Snapshot::take(servers);
        tokio::time::sleep(LOOK).await;
        let usage = Snapshot::take(servers).since(&before, 1);
        if usage.other_percent < percent && (usage.server_percent < SETTLED_PERCENT || look >= LOOKS_FOR_SERVERS) {
            return;
        }
        waiting(format!(
            "waiting for a quiet machine: others {:.0} %, servers {:.0} %",
            usage.other_percent, usage.server_percent
        ));
    }
    eprintln!("the machine did not become quiet; measuring all the same");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(user: u32, system: u32) -> String {
        format!("42 (a (odd) name) S 1 42 42 0 -1 0 9 9 9 9 {user} {system} 77 77 20 0 9 0 1 1 1")
    }

    #[test]
    fn a_process_is_charged_its_own_user_and_system_time_whatever_its_name() {
        let ticks = ticks_per_second();
        assert_eq!(process_seconds(&stat(150, 50)), 200.0 / ticks);
        assert_eq!(process_seconds(""), 0.0, "it has ended");
        assert_eq!(resident_mib("Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t   2048 kB\n"), 2.0);
        assert_eq!(resident_mib(""), 0.0);
    }

    #[test]
    fn idling_and_waiting_for_disks_are_no_use_of_the_machine() {
        let text = "cpu  100 10 20 5000 600 3 2 1 0 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n";
        assert_eq!(machine_seconds(text), 136.0 / ticks_per_second());
        assert_eq!(cores(text), 2.0);
    }

    #[test]
    fn what_neither_servers_nor_the_generator_used_others_did() {
        let at = Instant::now();
        let before = Snapshot { at, servers: 10.0, own: 5.0, all: 100.0, cores: 2.0, rss_mib: 1.0 };
        let later = at + Duration::from_secs(10);
        let after = Snapshot { at: later, servers: 20.0, own: 7.0, all: 114.0, cores: 2.0, rss_mib: 300.0 };
        let usage = after.since(&before, 100_000);
        let expected = Usage {
            server_us_per_op: 100.0,
            client_us_per_op: 20.0,
            server_percent: 50.0,
            other_percent: 10.0,
            rss_mib: 300.0,
        };
        assert_eq!(usage, expected);
        assert_eq!(after.since(&after, 0).server_us_per_op, 0.0, "no operations are no division by zero");
    }

    #[test]
    fn this_process_and_this_machine_can_be_read() {
        let own = std::process::id();
        let before = Snapshot::take(&[own]);
        // Work until the clock of /proc has moved.
        while Snapshot::take(&[own]).servers <= before.servers {}
        let after = Snapshot::take(&[own]);
        assert!(after.cores >= 1.0 && after.all >= before.all && after.rss_mib > 0.5, "{after:?}");
        assert!((after.since(&before, 1).server_us_per_op) > 0.0);
    }
}
