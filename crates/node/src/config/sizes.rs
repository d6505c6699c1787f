//! What follows the limits of the process where nobody has set it: caches, memtables and threads.
//!
//! Without a limit below what the machine has nobody has said how much of it is this node's, and there may be other nodes beside
//! it: then modest figures are taken.

use super::Config;
use crate::machine::Machine;

/// MiB of block cache, of one memtable, and threads that read, where no limit says otherwise.
const CACHE_MIB: u64 = 64;
const MEMTABLE_MIB: u64 = 32;
const READERS: usize = 2;

/// A key that was not set, and what was taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// `section.key`
    pub key: &'static str,
    /// What was taken.
    pub value: u64,
    /// Why, in words.
    pub why: String,
}

impl Config {
    /// Fills in what follows the limits (0 so far), and says what and why.
    pub fn fit(&mut self, machine: &Machine) -> Vec<Taken> {
        let mut taken = Vec::new();
        let mut take = |key, value: u64, why: String| {
            taken.push(Taken { key, value, why });
            value
        };
        let mib = machine.memory.map(|bytes| bytes >> 20);
        let part = |of: u64, least: u64, most: u64, else_: u64| match mib {
            Some(mib) => {
                ((mib / of).clamp(least, most), format!("1/{of} of {mib} MiB, its memory limit, {least} to {most}"))
            }
            None => (else_, "it has no memory limit below what the machine has".to_owned()),
        };
        let storage = &mut self.storage;
        if storage.cache_mib == 0 {
            let (value, why) = part(8, 16, 4096, CACHE_MIB);
            storage.cache_mib = take("storage.cache_mib", value, why);
        }
        if storage.memtable_mib == 0 {
            let (value, why) = part(64, 4, 64, MEMTABLE_MIB);
            storage.memtable_mib = take("storage.memtable_mib", value, why);
        }
        let limit = |processors: usize| format!("{processors} processors are its limit");
        if storage.readers == 0 {
            let (value, why) = match machine.processors {
                Some(processors) => (processors.clamp(2, 8), format!("{}, 2 to 8", limit(processors))),
                None => (READERS, "it has no processor limit below what the machine has".to_owned()),
            };
            storage.readers = take("storage.readers", value as u64, why) as usize;
        }
        if self.runtime.threads == 0 {
            let (value, why) = match machine.processors {
                Some(processors) => (processors, limit(processors)),
                None => (machine.there.max(1), "as many as there are processors".to_owned()),
            };
            self.runtime.threads = take("runtime.threads", value.min(1024) as u64, why) as usize;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(machine: Machine) -> [u64; 4] {
        let mut config = Config::default();
        let taken = config.fit(&machine);
        assert_eq!(taken.len(), 4);
        let Config { storage, runtime, .. } = &config;
        let values = [storage.cache_mib, storage.memtable_mib, storage.readers as u64, runtime.threads as u64];
        assert_eq!(taken.iter().map(|taken| taken.value).collect::<Vec<_>>(), values);
        assert!(config.fit(&machine).is_empty(), "what is set stays");
        values
    }

    #[test]
    fn sizes_follow_the_limits_within_bounds() {
        let limited =
            |mib: u64, processors| Machine { memory: Some(mib << 20), processors: Some(processors), there: 64 };
        assert_eq!(fitted(limited(2048, 4)), [256, 32, 4, 4]);
        assert_eq!(fitted(limited(64, 1)), [16, 4, 2, 1]);
        assert_eq!(fitted(limited(1 << 20, 60)), [4096, 64, 8, 60]);
    }

    #[test]
    fn without_limits_sizes_are_modest_and_threads_as_many_as_processors() {
        assert_eq!(fitted(Machine { there: 16, ..Machine::default() }), [64, 32, 2, 16]);
        assert_eq!(fitted(Machine::default()), [64, 32, 2, 1]);
    }

    #[test]
    fn what_was_set_is_not_touched() {
        let mut config = Config::default();
        (config.storage.cache_mib, config.runtime.threads) = (7, 3);
        let taken = config.fit(&Machine::default());
        assert_eq!((config.storage.cache_mib, config.runtime.threads, taken.len()), (7, 3, 2));
    }
}
