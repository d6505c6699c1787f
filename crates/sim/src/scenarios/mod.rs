//! The list of scenarios, and what they are composed of.

mod disks;
mod network;
mod nodes;
mod operator;
mod ring;
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
        name: "deletes-apart",
        about: "the cluster is in two for long, and either side deletes (scylladb 15243, 23712)",
        plan: workload::deletes_apart,
    },
    Scenario {
        name: "sets",
        about: "a set gets its elements by read, change, write (riak_kv 1754's load)",
        plan: workload::sets,
    },
    Scenario {
        name: "moved",
        about: "every address changes at once, or some are swapped (k8ssandra-operator 1536, casskop 384)",
        plan: nodes::moved,
    },
    Scenario {
        name: "long-away",
        about: "a node comes back after long; keys were deleted and the ring changed meanwhile",
        plan: nodes::long_away,
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
        name: "cloned-disk",
        about: "a node is given a copy of another's disk, and refuses it",
        plan: disks::cloned,
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
    Scenario {
        name: "ring-changes",
        about: "nodes join and leave while clients go on, and nodes crash now and then",
        plan: ring::changes,
    },
    Scenario {
        name: "ring-strict",
        about: "nodes join and leave under strict clients, over slow ways",
        plan: ring::strict,
    },
    Scenario {
        name: "ring-rivals",
        about: "two administrators at once, and one who takes back what he finds",
        plan: ring::rivals,
    },
    Scenario {
        name: "ring-split",
        about: "the cluster is cut in two, and both sides want to change the ring",
        plan: ring::split,
    },
    Scenario {
        name: "ring-cut-short",
        about: "who asks for a change is cut off while it is voted on, or who joins while the others seal",
        plan: ring::cut_short,
    },
    Scenario {
        name: "ring-dead",
        about: "a dead node is replaced or removed, and comes back in the end",
        plan: ring::dead,
    },
    Scenario {
        name: "ring-left",
        about: "nodes that left or were removed start again, with what they hold for others or with nothing",
        plan: ring::left,
    },
    Scenario {
        name: "ring-refilled",
        about: "a dead node is to be removed while another, whose disk was emptied, is not filled yet",
        plan: ring::refilled,
    },
    Scenario {
        name: "ring-three",
        about: "of three nodes one is dead, and the two that are left replace it",
        plan: ring::three,
    },
    Scenario {
        name: "ring-troubled",
        about: "the ring changes while nodes crash, stand still and are cut off",
        plan: ring::troubled,
    },
    Scenario { name: "ring-wiped", about: "a member's disk is emptied while the ring changes", plan: ring::wiped },
    Scenario {
        name: "bit-flips",
        about: "bits flip on a node's disk: requests and the scrub find them, the others have what is lost",
        plan: ring::bit_flips,
    },
    Scenario {
        name: "lost-tail",
        about: "a disk loses what was durable, and is filled again by the others",
        plan: disks::lost_tail,
    },
    Scenario {
        name: "put-back",
        about: "a whole disk goes back to an older copy of itself, from before what was collected since",
        plan: disks::put_back,
    },
    Scenario {
        name: "ring-full-disks",
        about: "the ring changes while disks are full or fail",
        plan: ring::full_disks,
    },
    Scenario {
        name: "operator-scale",
        about: "in Kubernetes: the cluster grows and shrinks, disks go or are kept, and operators die over it",
        plan: operator::scale,
    },
    Scenario {
        name: "operator-replace",
        about: "in Kubernetes: machines and claims are lost, and disks are given up",
        plan: operator::replace,
    },
    Scenario {
        name: "operator-rollout",
        about: "in Kubernetes: pods are made anew, now and then from what no process comes up from",
        plan: operator::rollout,
    },
    Scenario {
        name: "operator-chaos",
        about: "in Kubernetes: all of it, with two operators that see what is old, and nodes that crash and are cut off",
        plan: operator::chaos,
    },
];
