//! How much of the machine is this process's: memory and processors, as its control groups limit them (v1 and v2).
//!
//! A container sees its own group at the top of the mounted hierarchy; a service sees the machine's, with its own group
//! further down. So all groups from its own up to the top are looked at, and those that are not there are passed over.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// Bytes of memory that its groups leave it, if that is less than the machine has.
    pub memory: Option<u64>,
    /// Processors that its groups leave it, rounded up, if they are fewer than there are.
    pub processors: Option<usize>,
    /// Processors that there are; 0: not known.
    pub there: usize,
}

impl Machine {
    /// Of this process.
    pub fn here() -> Machine {
        // Of a machine's processors those count that this process may be put on, and std looks at quotas too: rounded down.
        let there = fs::read_to_string("/proc/cpuinfo").map_or(0, |text| text.matches("\nprocessor").count());
        let there = there.max(std::thread::available_parallelism().map_or(0, usize::from));
        Machine::read(Path::new("/proc"), Path::new("/sys/fs/cgroup"), there)
    }

    /// By these folders, with so many processors.
    pub fn read(proc: &Path, groups: &Path, there: usize) -> Machine {
        let own = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        let total = fs::read_to_string(proc.join("meminfo")).ok().and_then(|text| total_memory(&text));
        let memory = own.lines().filter_map(|line| memory_limit(line, groups)).min();
        let processors = own.lines().filter_map(|line| processor_limit(line, groups)).min();
        Machine {
            memory: memory.filter(|limit| total.is_none_or(|total| *limit < total)),
            processors: processors.filter(|limit| there == 0 || *limit < there),
            there,
        }
    }
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A line of `/proc/self/cgroup`: `number:controllers:path`, without controllers for v2.
fn memory_limit(line: &str, groups: &Path) -> Option<u64> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let limits: Vec<u64> = if controllers.is_empty() {
        each(&v2(groups), path).filter_map(|group| number(&group.join("memory.max"))).collect()
    } else if controllers.split(',').any(|controller| controller == "memory") {
        each(&groups.join("memory"), path).filter_map(|group| number(&group.join("memory.limit_in_bytes"))).collect()
    } else {
        Vec::new()
    };
    limits.into_iter().min()
}

fn processor_limit(line: &str, groups: &Path) -> Option<usize> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let limits: Vec<usize> = if controllers.is_empty() {
        each(&v2(groups), path).filter_map(|group| quota(&fs::read_to_string(group.join("cpu.max")).ok()?)).collect()
    } else if controllers.split(',').any(|controller| controller == "cpu") {
        let mount = [groups.join(controllers), groups.join("cpu")].into_iter().find(|mount| mount.is_dir())?;
        let of = |group: PathBuf| {
            let (quota, period) = (group.join("cpu.cfs_quota_us"), group.join("cpu.cfs_period_us"));
            self::quota(&format!("{} {}", fs::read_to_string(quota).ok()?.trim(), fs::read_to_string(period).ok()?))
        };
        each(&mount, path).filter_map(of).collect()
    } else {
        Vec::new()
    };
    limits.into_iter().min()
}

/// Where v2 is mounted: alone, or beside v1.
fn v2(groups: &Path) -> PathBuf {
    let beside = groups.join("unified");
    if beside.is_dir() { beside } else { groups.to_owned() }
}

/// A group and all above it, up to the mounted one.
fn each(mount: &Path, path: &str) -> impl Iterator<Item = PathBuf> {
    // A path that leads out of the mounted hierarchy begins with `..`: then only the mounted one is to be seen.
    let inside = if path.split('/').any(|part| part == "..") { "" } else { path.trim_start_matches('/') };
    let (mount, group) = (mount.to_owned(), mount.join(inside));
    let above: Vec<PathBuf> = group.ancestors().take_while(|at| at.starts_with(&mount)).map(Path::to_owned).collect();
    above.into_iter()
}

/// A limit; none if the file is not there or says that there is none.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// `quota period`, both in microseconds: so many processors, rounded up. None without a limit.
fn quota(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0 && period > 0).then(|| quota.div_ceil(period) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine of 8 processors and 16 GiB, with these files below `sys`.
    fn machine(own: &str, files: &[(&str, &str)]) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let (proc, groups) = (dir.path().join("proc"), dir.path().join("sys"));
        let mut all = vec![
            (proc.join("self/cgroup"), own),
            (proc.join("meminfo"), "MemTotal:       16777216 kB\nMemFree: 1 kB\n"),
        ];
        all.extend(files.iter().map(|(path, text)| (groups.join(path), *text)));
        for (path, text) in all {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Machine::read(&proc, &groups, 8)
    }

    fn limited(memory_mib: u64, processors: usize) -> Machine {
        Machine { memory: Some(memory_mib << 20), processors: Some(processors), there: 8 }
    }

    const FREE: Machine = Machine { memory: None, processors: None, there: 8 };

    #[test]
    fn a_container_sees_its_own_group_on_top() {
        let files = [("memory.max", "536870912\n"), ("cpu.max", "150000 100000\n")];
        assert_eq!(machine("0::/\n", &files), limited(512, 2));
        let v1 = [
            ("memory/memory.limit_in_bytes", "536870912\n"),
            ("cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        // Its path is the host's, which is not to be seen here.
        assert_eq!(
            machine("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/\n", &v1),
            limited(512, 1)
        );
    }

    #[test]
    fn the_narrowest_of_all_groups_above_counts() {
        let files = [
            ("a.slice/b.scope/memory.max", "max\n"),
            ("a.slice/memory.max", "1073741824\n"),
            ("memory.max", "2147483648\n"),
            ("a.slice/b.scope/cpu.max", "300000 100000\n"),
            ("a.slice/cpu.max", "max 100000\n"),
        ];
        assert_eq!(machine("0::/a.slice/b.scope\n", &files), limited(1024, 3));
        let beside = [
            ("unified/a/memory.max", "1073741824\n"),
            ("cpu/a/cpu.cfs_quota_us", "300000"),
            ("cpu/a/cpu.cfs_period_us", "100000"),
        ];
        assert_eq!(machine("2:cpu:/a\n0::/a\n", &beside), limited(1024, 3));
    }

    #[test]
    fn without_a_limit_below_what_there_is_there_is_none() {
        assert_eq!(machine("0::/\n", &[("memory.max", "max\n"), ("cpu.max", "max 100000\n")]), FREE);
        assert_eq!(machine("0::/\n", &[("memory.max", "99999999999999\n"), ("cpu.max", "1600000 100000\n")]), FREE);
        let v1 = [
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(machine("2:memory:/\n1:cpu:/\n", &v1), FREE);
    }

    #[test]
    fn what_makes_no_sense_is_no_limit() {
        let files = [("memory.max", "many\n"), ("cpu.max", "100000\n"), ("x/cpu.max", "0 0\n")];
        for own in ["", "\n", "0::/x\n", "nonsense\n", "0:memory\n", "0::/../../etc\n", "5:memory:\n"] {
            assert_eq!(machine(own, &files), FREE, "{own:?}");
        }
        let nowhere = Path::new("/nowhere");
        assert_eq!(Machine::read(nowhere, nowhere, 0), Machine::default());
    }
}
