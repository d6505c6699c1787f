//! Numbers of "Dynamo: Amazon's Highly Available Key-value Store" (SOSP 2007), read off its text and its plots.

use crate::commands::paper::Latencies;

/// Figure 8: units of membership metadata a node, and what strategy 1, 2 and 3 come to (mean load over the largest), with 30 nodes and
/// N = 3.
pub const FIG8: [(u32, [f64; 3]); 10] = [
    (60, [0.52, 0.53, 0.86]),
    (120, [0.61, 0.61, 0.87]),
    (240, [0.69, 0.70, 0.90]),
    (480, [0.76, 0.76, 0.92]),
    (960, [0.82, 0.82, 0.94]),
    (1920, [0.87, 0.85, 0.96]),
    (3840, [0.91, 0.88, 0.97]),
    (7680, [0.93, 0.87, 0.98]),
    (15360, [0.95, 0.85, 0.98]),
    (30720, [0.96, 0.84, 0.99]),
];

/// Figure 6: a node is out of balance when its load is so much off the mean.
pub const OUT_OF_BALANCE: f64 = 0.15;
/// Figure 6: percent of nodes out of balance at an eighth of the peak's load, and at the peak.
pub const FIG6_PERCENT: (f64, f64) = (20.0, 10.0);

/// Table 2: server-driven, then client-driven.
pub const TABLE2: [Latencies; 2] = [
    Latencies { read_mean_ms: 3.9, read_p999_ms: 68.9, write_mean_ms: 4.02, write_p999_ms: 68.5 },
    Latencies { read_mean_ms: 1.55, read_p999_ms: 30.4, write_mean_ms: 1.9, write_p999_ms: 30.4 },
];
/// Figure 5: by so much buffered writes bring the 99.9th percentile down at the peak, as its text says, and at the least and the most as
/// its plot shows.
pub const FIG5_FACTOR: (u32, u32, u32) = (5, 2, 3);
/// Section 6.3: percent of reads that saw one version, two, three and four.
pub const VERSIONS_PERCENT: [f64; 4] = [99.94, 0.00057, 0.00047, 0.00009];
