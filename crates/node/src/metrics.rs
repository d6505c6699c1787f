//! The node's figures for Prometheus. Handles are made once: counting is an atomic addition, without lock or allocation.

use std::time::Duration;

use dynamo_transfer::Watch;
use dynamo_wire::v1::ErrorCode;
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::latency::{Fared, Foreground, Quantiles};

/// All counters of the request path.
pub struct NodeMetrics {
    get_seconds: Histogram,
    put_seconds: Histogram,
    siblings: Histogram,
    context_bytes: Histogram,
    refused: Vec<(ErrorCode, Counter)>,
    /// Reads that asked one replica more because the first were slow.
    pub hedged: Counter,
    /// Replicas that a read found stale and sent the merged state.
    pub repairs: Counter,
    /// Answers of reads with more than one value.
    pub siblings_read: Counter,
    /// Writes that went to a fallback with a hint.
    pub hinted: Counter,
    /// Hints that this node kept for a home because no fallback could.
    pub hints_kept: Counter,
    /// Hints that could not be kept anywhere here: the home misses the write until it is read.
    pub hints_lost: Counter,
    /// Hints that reached their home and were dropped here.
    pub hints_delivered: Counter,
    /// Writes sent on to a home replica.
    pub forwarded: Counter,
    /// Engine operations that failed.
    pub engine_errors: Counter,
    /// Requests begun again because the ring turned under them.
    pub tried_again: Counter,
    ring_epoch: Gauge,
    ring_changing: Gauge,
    ring_votes: Gauge,
    leftovers: Gauge,
    refilling: Gauge,
    inflight: Gauge,
    keys: Gauge,
    tombstones: Gauge,
    hints: Gauge,
    disk_free: Gauge,
    corrupt: Gauge,
    background_rate: Gauge,
    background_p99: Gauge,
    background_target: Gauge,
    background_bytes: [Gauge; dynamo_transfer::CLASSES],
    stalest: Gauge,
    scrub_damaged: Gauge,
    scrub_passes: Gauge,
    collected: Gauge,
    pruned: Gauge,
    collect_rounds: Gauge,
    collect_given_up: Gauge,
    collect_waiting: Gauge,
    latency: Quantiles,
    foreground: Foreground,
}

impl NodeMetrics {
    /// Registers everything with the installed recorder.
    pub fn new() -> Self {
        describe_histogram!(
            "dynamo_request_seconds",
            metrics::Unit::Seconds,
            "Time from a request's arrival to its answer, as the coordinator sees it"
        );
        describe_histogram!("dynamo_siblings", "Versions of a key, tombstones included, at each get and each write");
        describe_histogram!(
            "dynamo_context_bytes",
            metrics::Unit::Bytes,
            "Bytes of the contexts that clients are given, at each get and each write"
        );
        describe_gauge!("dynamo_tombstones", "Deleted keys that this node still has a record of");
        describe_gauge!("dynamo_tombstones_collected", "Tombstones removed here since the start, on proof");
        describe_gauge!(
            "dynamo_actors_pruned",
            "Records from which actors without a version were removed here since the start, on proof"
        );
        describe_gauge!(
            "dynamo_collect_rounds",
            "Rounds of collecting that this node called and that removed something"
        );
        describe_gauge!("dynamo_collect_rounds_given_up", "Rounds of collecting that this node called and gave up");
        describe_gauge!(
            "dynamo_collect_waiting_for",
            "Nodes that a round of collecting waits for: they do not answer, hold hints, or left and still hold something"
        );
        describe_counter!("dynamo_requests_refused_total", "Requests answered with an error, by its code");
        describe_counter!("dynamo_reads_hedged_total", "Reads that asked one replica more because the first were slow");
        describe_counter!("dynamo_read_repairs_total", "Stale replicas that a read brought up to date");
        describe_counter!("dynamo_reads_with_siblings_total", "Reads answered with more than one value");
        describe_counter!("dynamo_hints_sent_total", "Writes that went to a fallback with a hint");
        describe_counter!("dynamo_hints_kept_total", "Hints that the coordinator kept because no fallback could");
        describe_counter!(
            "dynamo_hints_lost_total",
            "Hints that nobody could keep; the home misses the write until it is read or repaired"
        );
        describe_counter!("dynamo_hints_delivered_total", "Hints that reached their home");
        describe_counter!("dynamo_writes_forwarded_total", "Writes sent on to a home replica");
        describe_counter!("dynamo_engine_errors_total", "Engine operations that failed");
        describe_counter!(
            "dynamo_requests_tried_again_total",
            "Requests begun again because the ring turned under them"
        );
        describe_gauge!("dynamo_ring_epoch", "Epoch of the ring that this node goes by");
        describe_gauge!("dynamo_ring_changing", "1 while a change of the ring is under way");
        describe_gauge!(
            "dynamo_ring_votes",
            "1 where this node's disk counts in the majority that ring changes take; 0 from founding until most others have noted it, and after its disk was emptied until it is filled"
        );
        describe_gauge!(
            "dynamo_leftover_partitions",
            "Partitions of which this node has records and is no home any more: they are handed over"
        );
        describe_gauge!(
            "dynamo_refilling_partitions",
            "Partitions that are being filled from the other replicas after this node's disk was emptied"
        );
        describe_gauge!("dynamo_background_rate_bytes_per_second", "What background work may move at present (§6.5)");
        describe_gauge!(
            "dynamo_background_foreground_p99_seconds",
            "The foreground's 99th percentile as the controller of background work saw it last"
        );
        describe_gauge!(
            "dynamo_background_target_p99_seconds",
            "What that is to stay below: a little above what it is while background work rests (§6.5)"
        );
        describe_gauge!("dynamo_background_bytes", "Bytes that background work was allowed to move, by class");
        describe_gauge!(
            "dynamo_anti_entropy_stalest_seconds",
            "For how long the two homes of some partition have not been known to be equal, at the longest"
        );
        describe_gauge!("dynamo_scrub_damaged_records", "Damaged records taken out since the start, to be had again");
        describe_gauge!("dynamo_scrub_passes", "Passes over all records, completed since the start");
        describe_gauge!("dynamo_requests_in_flight", "Requests not finished yet, read repair and hints included");
        let codes = (1..=11).filter_map(|code| ErrorCode::try_from(code).ok());
        Self {
            get_seconds: histogram!("dynamo_request_seconds", "operation" => "get"),
            put_seconds: histogram!("dynamo_request_seconds", "operation" => "put"),
            siblings: histogram!("dynamo_siblings"),
            context_bytes: histogram!("dynamo_context_bytes"),
            refused: codes
                .map(|code| (code, counter!("dynamo_requests_refused_total", "code" => code.as_str_name())))
                .collect(),
            hedged: counter!("dynamo_reads_hedged_total"),
            repairs: counter!("dynamo_read_repairs_total"),
            siblings_read: counter!("dynamo_reads_with_siblings_total"),
            hinted: counter!("dynamo_hints_sent_total"),
            hints_kept: counter!("dynamo_hints_kept_total"),
            hints_lost: counter!("dynamo_hints_lost_total"),
            hints_delivered: counter!("dynamo_hints_delivered_total"),
            forwarded: counter!("dynamo_writes_forwarded_total"),
            engine_errors: counter!("dynamo_engine_errors_total"),
            tried_again: counter!("dynamo_requests_tried_again_total"),
            ring_epoch: gauge!("dynamo_ring_epoch"),
            ring_changing: gauge!("dynamo_ring_changing"),
            ring_votes: gauge!("dynamo_ring_votes"),
            leftovers: gauge!("dynamo_leftover_partitions"),
            refilling: gauge!("dynamo_refilling_partitions"),
            inflight: gauge!("dynamo_requests_in_flight"),
            keys: gauge!("dynamo_keys"),
            tombstones: gauge!("dynamo_tombstones"),
            hints: gauge!("dynamo_hints_held"),
            disk_free: gauge!("dynamo_disk_free_bytes"),
            corrupt: gauge!("dynamo_corrupt_records"),
            background_rate: gauge!("dynamo_background_rate_bytes_per_second"),
            background_p99: gauge!("dynamo_background_foreground_p99_seconds"),
            background_target: gauge!("dynamo_background_target_p99_seconds"),
            background_bytes: ["hints", "transfers", "anti-entropy", "scrub", "forget"]
                .map(|class| gauge!("dynamo_background_bytes", "class" => class)),
            stalest: gauge!("dynamo_anti_entropy_stalest_seconds"),
            scrub_damaged: gauge!("dynamo_scrub_damaged_records"),
            scrub_passes: gauge!("dynamo_scrub_passes"),
            collected: gauge!("dynamo_tombstones_collected"),
            pruned: gauge!("dynamo_actors_pruned"),
            collect_rounds: gauge!("dynamo_collect_rounds"),
            collect_given_up: gauge!("dynamo_collect_rounds_given_up"),
            collect_waiting: gauge!("dynamo_collect_waiting_for"),
            latency: Quantiles::default(),
            foreground: Foreground::default(),
        }
    }

    /// Figures that are looked at, not counted.
    pub fn sample(&self, inflight: usize, counters: &dynamo_storage::Counters) {
        self.inflight.set(inflight as f64);
        self.keys.set(counters.keys().saturating_sub(counters.tombstones()) as f64);
        self.tombstones.set(counters.tombstones() as f64);
        self.hints.set(counters.hints() as f64);
        self.disk_free.set(counters.disk_free() as f64);
        self.corrupt.set(counters.corrupt() as f64);
    }

    /// Where the ring stands.
    pub fn keeping(&self, status: &crate::keeping::KeeperStatus) {
        self.ring_epoch.set(status.charter.ring().epoch() as f64);
        self.ring_changing.set(if status.charter.change().is_some() { 1.0 } else { 0.0 });
        self.ring_votes.set(if status.votes { 1.0 } else { 0.0 });
        self.leftovers.set(status.leftovers as f64);
        self.refilling.set(status.refilling as f64);
        let figures = &status.collecting.figures;
        self.collected.set(figures.collected as f64);
        self.pruned.set(figures.pruned as f64);
        self.collect_rounds.set(figures.rounds as f64);
        self.collect_given_up.set(figures.given_up as f64);
        self.collect_waiting.set(status.collecting.waiting_for.len() as f64);
    }

    /// What background work may do, and does.
    pub fn background(&self, state: &dynamo_transfer::SliceState, stalest_us: u64, (damaged, passes): (u64, u64)) {
        let seconds = |us: u64| Duration::from_micros(us).as_secs_f64();
        self.background_rate.set(state.rate_bytes_per_s as f64);
        self.background_p99.set(state.p99_us.map_or(0.0, seconds));
        self.background_target.set(seconds(state.target_us));
        for (gauge, class) in self.background_bytes.iter().zip(&state.classes) {
            gauge.set(class.taken_bytes as f64);
        }
        self.stalest.set(seconds(stalest_us));
        self.scrub_damaged.set(damaged as f64);
        self.scrub_passes.set(passes as f64);
    }

    /// How the requests fared since the last time that this could be told.
    pub fn foreground(&self, watch: Watch, now_us: u64) -> Fared {
        self.foreground.look(watch, now_us)
    }

    /// A get was answered.
    pub fn got(&self, us: u64) {
        self.get_seconds.record(Duration::from_micros(us));
        self.latency.record(us);
        self.foreground.record(us);
    }

    /// A client was given a context of so many bytes, of a key with so many versions.
    pub fn version(&self, context_bytes: usize, siblings: usize) {
        self.context_bytes.record(context_bytes as f64);
        self.siblings.record(siblings as f64);
    }

    /// A put or delete was answered.
    pub fn put(&self, us: u64) {
        self.put_seconds.record(Duration::from_micros(us));
        self.foreground.record(us);
    }

    /// A request was answered with an error.
    pub fn refused(&self, code: ErrorCode) {
        if let Some((_, counter)) = self.refused.iter().find(|(known, _)| *known == code) {
            counter.increment(1);
        }
    }

    /// The 95th percentile of recent gets in microseconds, if there were enough to tell; halves what it remembers.
    pub fn p95_get_us(&self) -> Option<u64> {
        self.latency.take(0.95)
    }
}

impl Default for NodeMetrics {
    fn default() -> Self {
        Self::new()
    }
}
