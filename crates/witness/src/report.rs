//! What is told of a history: what is wrong, what was lost, what failed and why, and how long writers had to wait.

use std::{collections::BTreeMap, fmt};

use dynamo_history::{Ending, Evidence, Violation, WriteOutcome, lost, violations};
use serde::Serialize;

use crate::record::Past;

/// The figures of a history.
#[derive(Debug, Serialize)]
pub struct Report {
    pub run: String,
    pub seconds: f64,
    pub keys: usize,
    pub reads: usize,
    pub reads_failed: BTreeMap<String, usize>,
    /// By name.
    pub buckets: BTreeMap<String, Writes>,
    /// Acknowledged writes that are lost: numbers. There must be none.
    pub lost: Vec<u32>,
    /// What must not be, a sentence each.
    pub violations: Vec<String>,
    /// The first error of each kind, in full.
    pub errors: BTreeMap<String, String>,
}

/// Writes of one bucket.
#[derive(Debug, Default, Serialize)]
pub struct Writes {
    pub acknowledged: usize,
    /// By kind of error.
    pub failed: BTreeMap<String, usize>,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub slowest_ms: f64,
    /// The longest time without an acknowledgement, and when it began, seconds after the beginning.
    pub longest_pause_ms: f64,
    pub longest_pause_at_s: f64,
}

impl Report {
    pub fn of(past: &Past) -> Self {
        let unread = (0..past.terms.keys).filter(|key| past.endings.get(usize::from(*key)).is_none_or(Option::is_none));
        let unread: Vec<u16> = unread.collect();
        let endings: Vec<Ending> = (0..past.terms.keys)
            .map(|key| past.endings.get(usize::from(key)).cloned().flatten().unwrap_or_default())
            .collect();
        let evidence = Evidence::new(&past.terms, &past.history, &endings);
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        if let Some(key) = unread.first() {
            // What was never read can't be said to be lost, nor to be there.
            let what = format!("{} keys were never read back, the first is {key}: run finish", unread.len());
            found.push(Violation::new("settle", None, what));
        } else {
            gone = lost(&evidence).map(|(_, write)| write).collect();
            found.extend(violations(&evidence));
        }
        found.extend(past.differing.iter().map(|(key, what)| Violation::new("agreement", Some(*key), what.clone())));
        let (mut reads_failed, mut errors) = (BTreeMap::new(), BTreeMap::new());
        for failure in &past.failures {
            errors.entry(failure.failed.kind.clone()).or_insert_with(|| failure.failed.message.clone());
            if !failure.write {
                *reads_failed.entry(failure.failed.kind.clone()).or_default() += 1;
            }
        }
        let buckets = past.buckets.iter().enumerate().map(|(at, (name, _))| (name.clone(), writes(past, at)));
        Self {
            run: past.run.clone(),
            seconds: past.lives.iter().map(|(began, ended)| (ended - began) as f64 / 1e6).sum(),
            keys: past.terms.keys.into(),
            reads: past.history.reads.len(),
            reads_failed,
            buckets: buckets.collect(),
            lost: gone,
            violations: found.iter().map(ToString::to_string).collect(),
            errors,
        }
    }

    /// Whether nothing is wrong. (That writes failed is for others to judge: it may be what was promised.)
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.violations.is_empty()
    }
}

fn writes(past: &Past, bucket: usize) -> Writes {
    let mut of_bucket = Writes::default();
    for failure in past.failures.iter().filter(|failure| failure.write && failure.bucket == bucket) {
        *of_bucket.failed.entry(failure.failed.kind.clone()).or_default() += 1;
    }
    let own = past.history.writes.iter().filter(|write| past.bucket_of(write.key) == bucket);
    let acknowledged = own.filter(|write| write.outcome == WriteOutcome::Acknowledged);
    let times = acknowledged.filter_map(|write| Some((write.ended_us?, write.ended_us? - write.began_us)));
    let (mut ended, mut took): (Vec<u64>, Vec<u64>) = times.unzip();
    ended.sort_unstable();
    took.sort_unstable();
    let (at, pause) = longest_pause(&ended, &past.lives);
    let ms = |us: u64| us as f64 / 1000.0;
    let rank = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1)));
    of_bucket.acknowledged = took.len();
    of_bucket.p50_ms = ms(*rank(50).unwrap_or(&0));
    of_bucket.p99_ms = ms(*rank(99).unwrap_or(&0));
    of_bucket.slowest_ms = ms(took.last().copied().unwrap_or(0));
    of_bucket.longest_pause_ms = ms(pause);
    of_bucket.longest_pause_at_s = past.lives.first().map_or(0.0, |(began, _)| ms(at.saturating_sub(*began)) / 1000.0);
    of_bucket
}

/// The longest time without an acknowledgement while a witness was at work, and when it began. The first has to be there:
/// until then there may be no cluster.
fn longest_pause(acknowledged: &[u64], lives: &[(u64, u64)]) -> (u64, u64) {
    let mut longest = (0, 0);
    for (began, ended) in lives {
        let of_life = acknowledged.iter().copied().filter(|at| (began..=ended).contains(&at));
        let mut before = None;
        for at in of_life.chain([*ended]) {
            if let Some(before) = before.filter(|before| at - before > longest.1) {
                longest = (before, at - before);
            }
            // The end of a life is a pause's end only where something was acknowledged before.
            before = Some(at);
        }
    }
    longest
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:.0} s, {} keys, {} reads, {} acknowledged writes lost",
            self.seconds,
            self.keys,
            self.reads,
            self.lost.len()
        )?;
        for (name, writes) in &self.buckets {
            writeln!(
                f,
                "  {name}: {} writes, p50 {:.1} ms, p99 {:.1} ms, slowest {:.0} ms, longest pause {:.0} ms (at {:.1} s), failed: {}",
                writes.acknowledged,
                writes.p50_ms,
                writes.p99_ms,
                writes.slowest_ms,
                writes.longest_pause_ms,
                writes.longest_pause_at_s,
                counts(&writes.failed)
            )?;
        }
        writeln!(f, "  reads failed: {}", counts(&self.reads_failed))?;
        self.errors.iter().try_for_each(|(kind, message)| writeln!(f, "  the first {kind}: {message}"))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "VIOLATION {violation}"))
    }
}

fn counts(failed: &BTreeMap<String, usize>) -> String {
    if failed.is_empty() {
        return "none".into();
    }
    failed.iter().map(|(kind, times)| format!("{times} {kind}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dynamo_history::Bucket;

    use super::*;
    use crate::{
        line::{Failed, Line},
        record::Recorder,
    };

    fn failed(maybe: bool) -> Option<Failed> {
        Some(Failed { kind: "Timeout".into(), maybe, message: "too late".into() })
    }

    fn write(id: u32, seen: &[u32], delete: bool) -> Line {
        Line::Write { id, at: u64::from(id) * 100, client: 0, key: 0, delete, seen: seen.to_vec() }
    }

    fn written(id: u32, failed: Option<Failed>) -> Line {
        Line::Written { id, at: u64::from(id) * 100 + 50, failed }
    }

    fn read(at: u64, found: &[u32]) -> Line {
        Line::Read { at, began: at - 1, client: 1, key: 0, found: found.to_vec(), strange: vec![] }
    }

    fn stands(found: &[u32]) -> Line {
        Line::Stands { key: 0, nodes: 3, found: found.to_vec(), strange: vec![], differs: None }
    }

    fn said(at: &Path, bucket: Bucket, lines: &[Line]) {
        let recorder = Recorder::open(at, 1, 1).unwrap();
        recorder.say(&Line::Begins { at: 0, run: "r".into(), buckets: vec![("b".into(), bucket)] }).unwrap();
        lines.iter().for_each(|line| recorder.say(line).unwrap());
    }

    /// Of a history of one key in a strict bucket.
    fn report(lines: &[Line]) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("history");
        said(&at, Bucket::STRICT, lines);
        Report::of(&Past::load(&at).unwrap())
    }

    fn has(report: &Report, what: &str) -> bool {
        report.violations.iter().any(|violation| violation.contains(what))
    }

    #[test]
    fn what_stands_or_was_replaced_is_not_lost_and_what_is_gone_is() {
        let lines = [write(0, &[], false), written(0, None), write(1, &[0], false), written(1, None)];
        assert!(report(&[&lines[..], &[stands(&[1])]].concat()).is_good());
        assert_eq!(report(&[&lines[..], &[stands(&[0])]].concat()).lost, [1]);
        let gone = report(&[&lines[..], &[stands(&[])]].concat());
        assert!(gone.lost == [0, 1] && has(&gone, "write 0 of client-0 was acknowledged"), "{gone}");
    }

    #[test]
    fn a_history_that_was_not_read_back_says_nothing_of_losses() {
        let unread = report(&[write(0, &[], false), written(0, None)]);
        assert!(!unread.is_good() && unread.lost.is_empty() && has(&unread, "never read back"), "{unread}");
    }

    #[test]
    fn a_key_that_was_read_and_never_written_is_read_back_too() {
        let never = Line::Read { at: 90, began: 80, client: 1, key: 1, found: vec![], strange: vec![] };
        let lines = [write(0, &[], false), written(0, None), never, stands(&[0])];
        assert!(has(&report(&lines), "1 keys were never read back, the first is 1"));
        let empty = Line::Stands { key: 1, nodes: 3, found: vec![], strange: vec![], differs: None };
        assert!(report(&[&lines[..], &[empty]].concat()).is_good());
    }

    #[test]
    fn a_delete_without_an_answer_may_have_been_made_and_one_that_was_refused_was_not() {
        let lines =
            |failed| [write(0, &[], false), written(0, None), write(1, &[0], true), written(1, failed), stands(&[])];
        assert!(report(&lines(failed(true))).is_good());
        assert_eq!(report(&lines(failed(false))).lost, [0]);
        assert!(report(&lines(None)).is_good());
    }

    #[test]
    fn a_value_that_was_refused_or_never_written_or_is_back_is_noticed() {
        let refused = report(&[write(0, &[], false), written(0, failed(false)), read(90, &[0]), stands(&[0])]);
        assert!(has(&refused, "was told that it was not"), "{refused}");
        let unknown = report(&[write(0, &[], false), written(0, failed(true)), read(90, &[0]), stands(&[0])]);
        assert!(unknown.is_good() && unknown.buckets["b"].failed["Timeout"] == 1, "{unknown}");
        let nobodys = report(&[write(0, &[], false), written(0, None), read(90, &[7]), stands(&[0])]);
        assert!(has(&nobodys, "nobody wrote"), "{nobodys}");
        let deleted = [write(0, &[], false), written(0, None), write(1, &[0], true), written(1, None)];
        let back = report(&[&deleted[..], &[stands(&[0])]].concat());
        assert!(has(&back, "write 0 is back: it was deleted by 1"), "{back}");
    }

    #[test]
    fn a_strict_read_that_misses_a_write_and_nodes_that_differ_are_noticed() {
        let lines = [write(0, &[], false), written(0, None)];
        assert!(has(&report(&[&lines[..], &[read(90, &[]), stands(&[0])]].concat()), "strict"));
        assert!(report(&[&lines[..], &[read(40, &[]), stands(&[0])]].concat()).is_good(), "it began before the answer");
        let differs = Some("a tells [0], and b []".to_owned());
        let standing = Line::Stands { key: 0, nodes: 3, found: vec![0], strange: vec![], differs };
        assert!(has(&report(&[&lines[..], &[standing]].concat()), "agreement"));
    }

    #[test]
    fn a_witness_that_was_killed_goes_on_after_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("history");
        said(&at, Bucket::STRICT, &[write(0, &[], false), written(0, None)]);
        let mut text = std::fs::read_to_string(&at).unwrap();
        text += r#"{"is":"write","id":1,"at":"#;
        std::fs::write(&at, text).unwrap();
        said(&at, Bucket::STRICT, &[write(1, &[], false), written(1, None), stands(&[0, 1])]);
        let past = Past::load(&at).unwrap();
        assert_eq!((past.history.writes.len(), past.lives.len()), (2, 2));
        assert!(Report::of(&past).is_good());
    }

    #[test]
    fn a_pause_is_what_lies_between_acknowledgements_of_one_life() {
        assert_eq!(longest_pause(&[10, 30, 35], &[(0, 40)]), (10, 20));
        assert_eq!(longest_pause(&[10, 30, 100, 110], &[(0, 40), (90, 110)]), (10, 20), "nobody wrote in between");
        assert_eq!(longest_pause(&[10], &[(0, 90)]), (10, 80), "it never went on");
        assert_eq!(longest_pause(&[], &[(0, 90)]), (0, 0));
    }
}
