//! The list of scenarios, and what they are composed of.

mod disks;
mod network;
mod nodes;
mod workload;

use crate::scenario::Scenario;

/// Every scenario, in the order in which seeds go to them.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "default",
        about: "five nodes, the usual mix of writes, now and then a crash or a cut",
        plan: nodes::usual,
    },
    Scenario {
        name: "crashes",
        about: "nodes crash, with and without their hosts, several at once",
        plan: nodes::crashes,
    },
    Scenario { name: "restarts", about: "nodes are restarted in order, one after the other", plan: nodes::restarts },
    Scenario {
        name: "pauses",
        about: "nodes stand still for a while, and go on as if nothing had been",
        plan: nodes::pauses,
    },
    Scenario {
        name: "partitions",
        about: "the cluster is cut in two, one way too, and cuts come and go",
        plan: network::partitions,
    },
    Scenario {
        name: "bad-network",
        about: "slow, lossy ways; messages doubled and overtaken; resets",
        plan: network::bad,
    },
    Scenario {
        name: "long-cut",
        about: "nothing changes for long: who reaches W nodes must be able to write",
        plan: network::long_cut,
    },
    Scenario {
        name: "hot-keys",
        about: "a few keys that everybody writes, blindly and not (riak_kv 746, scylladb 4703)",
        plan: workload::hot_keys,
    },
    Scenario {
        name: "deletes",
        about: "deletes race with writes and with hints (scylladb 3560)",
        plan: workload::deletes,
    },
    Scenario {
        name: "sets",
        about: "a set gets its elements by read, change, write (riak_kv 1754's load)",
        plan: workload::sets,
    },
    Scenario {
        name: "clocks",
        about: "wall clocks are wrong and jump; the latest wins (scylladb 5673)",
        plan: nodes::clocks,
    },
    Scenario {
        name: "one-fsync",
        about: "one durable copy of W, and power cuts of a node at a time (§6.1)",
        plan: disks::one_fsync,
    },
    Scenario { name: "blackouts", about: "slow disks, and power that goes everywhere at once", plan: disks::blackouts },
    Scenario { name: "full-disks", about: "disks without space, slow ones, failing ones", plan: disks::full },
    Scenario {
        name: "hint-flood",
        about: "hints beyond their bound must not refuse healthy writes (scylladb 13383)",
        plan: disks::hint_flood,
    },
    Scenario {
        name: "wiped-disk",
        about: "a node comes back with an empty disk (riak_kv 679, 1643)",
        plan: disks::wiped,
    },
    Scenario {
        name: "forgetful",
        about: "fallbacks take writes, hand them off, forget them, and take more (riak_kv 679)",
        plan: workload::forgetful,
    },
    Scenario {
        name: "flapping-homes",
        about: "homes come back for a moment and lose power again, with hints for them under way",
        plan: workload::flapping_homes,
    },
    Scenario {
        name: "slow-ways",
        about: "every way is slow in its own measure, and a few keys are read and written all the time",
        plan: network::slow_ways,
    },
];
