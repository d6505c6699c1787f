//! What is made of nodes' answers about a change under way: how far it is, how fast, how long still. Knows no clock: it is
//! told the time.
//!
//! Any node may answer, and some lag behind: one that has not heard of the change yet must not be taken to say that the
//! ring is settled, nor one that still believes in it that it began anew.

use std::{collections::VecDeque, time::Duration};

use dynamo_wire::v1::{ProgressResponse, RingChange};

use super::preview::{counted, time_for_people};
use crate::output::bytes_for_people;

/// Rates are of so much of the past.
const WINDOW: Duration = Duration::from_secs(20);
/// No rate is told before that.
const RATE_AFTER: Duration = Duration::from_secs(2);

/// One change, or (number 0) whatever is under way.
#[derive(Debug, Default)]
pub struct Tracker {
    change: u64,
    /// The newest version that anybody has answered with.
    version: u64,
    was_cancelled: bool,
    /// The step that was under way, and bytes that earlier ones have moved while this watched.
    step: u32,
    before_step: u64,
    in_step: u64,
    /// When, and how much had moved by then.
    history: VecDeque<(Duration, u64)>,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Nothing: who answered lags behind.
    Nothing,
    UnderWay(UnderWay),
    /// The change is over.
    Over(Over),
}

/// A change under way.
#[derive(Debug, Clone, PartialEq)]
pub struct UnderWay {
    pub change: RingChange,
    /// Of 1.
    pub done: f64,
    /// Bytes a second, once there is something to tell it from.
    pub rate: Option<f64>,
    /// Expected time left.
    pub seconds_left: Option<u64>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    pub epoch: u64,
    /// It was seen to be taken back.
    pub was_cancelled: bool,
    /// Another change that is under way already.
    pub followed_by: Option<String>,
}

impl Tracker {
    /// Of the change with this number; 0: whatever is under way.
    pub fn new(change: u64) -> Self {
        Self { change, ..Self::default() }
    }

    /// An answer that came at this time.
    pub fn hear(&mut self, now: Duration, answer: &ProgressResponse) -> Heard {
        if answer.version < self.version.max(self.change) {
            return Heard::Nothing;
        }
        self.version = answer.version;
        match &answer.change {
            Some(change) if self.change == 0 || change.change == self.change => {
                Heard::UnderWay(self.under_way(now, change))
            }
            other => Heard::Over(Over {
                epoch: answer.epoch,
                was_cancelled: self.was_cancelled,
                followed_by: other.as_ref().map(|change| change.what.clone()),
            }),
        }
    }

    fn under_way(&mut self, now: Duration, change: &RingChange) -> UnderWay {
        self.was_cancelled = change.cancelled;
        if change.steps_done != self.step {
            (self.step, self.before_step, self.in_step) = (change.steps_done, self.before_step + self.in_step, 0);
        }
        // A node that gains may have been restarted, and count anew.
        self.in_step = self.in_step.max(change.bytes_moved);
        let moved = self.before_step + self.in_step;
        self.history.push_back((now, moved));
        while self.history.len() > 2 && now.saturating_sub(self.history[0].0) > WINDOW {
            self.history.pop_front();
        }
        let (since, then) = self.history[0];
        let passed = now.saturating_sub(since);
        let rate = (passed >= RATE_AFTER).then(|| (moved - then) as f64 / passed.as_secs_f64());
        let done = part_done(change);
        let left = change.bytes_expected as f64 * (1.0 - done);
        let going = rate.filter(|rate| *rate > 0.0 && change.blocked_by.is_empty() && change.bytes_expected > 0);
        let seconds_left = going.map(|rate| (left / rate).ceil() as u64);
        UnderWay { change: change.clone(), done, rate, seconds_left }
    }
}

/// Steps are alike, and so are the copies of one.
fn part_done(change: &RingChange) -> f64 {
    let in_step = match change.copies {
        0 => 0.0,
        copies => f64::from(change.copies_done.min(copies)) / f64::from(copies),
    };
    let steps = f64::from(change.steps.max(1));
    ((f64::from(change.steps_done) + in_step) / steps).min(1.0)
}

/// "node-6 joins", or "taking back: node-6 joins".
pub fn what(change: &RingChange) -> String {
    match change.cancelled {
        // As nodes mark it.
        true => format!("taking back: {}", change.what.trim_end_matches(" (taken back)")),
        false => change.what.clone(),
    }
}

impl UnderWay {
    /// "node-6 joins".
    pub fn what(&self) -> String {
        what(&self.change)
    }

    /// "step 1 of 4, copying".
    pub fn phase(&self) -> String {
        let RingChange { steps, steps_done, phase, .. } = &self.change;
        let step = (steps_done + 1).min((*steps).max(1));
        let phase = if phase.is_empty() { String::new() } else { format!(", {phase}") };
        format!("step {step} of {}{phase}", (*steps).max(1))
    }

    /// "12 of 40 copies, 1.2 GiB, 16.0 MiB/s, about 3 min left".
    pub fn figures(&self) -> String {
        let RingChange { copies, copies_done, bytes_moved, .. } = &self.change;
        let mut figures =
            vec![format!("{copies_done} of {}", counted(*copies, "copy")), bytes_for_people(*bytes_moved)];
        figures.extend(self.rate.map(|rate| format!("{}/s", bytes_for_people(rate as u64))));
        figures.extend(self.seconds_left.map(|seconds| format!("about {} left", time_for_people(seconds))));
        figures.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: u64 = 8;

    fn answer(version: u64, change: Option<RingChange>) -> ProgressResponse {
        ProgressResponse { version, epoch: 3, change, ..ProgressResponse::default() }
    }

    fn copying(steps_done: u32, copies_done: u32, bytes_moved: u64) -> RingChange {
        let change =
            RingChange { change: CHANGE, what: "node-6 joins".into(), steps: 2, steps_done, ..Default::default() };
        RingChange { copies: 10, copies_done, bytes_moved, bytes_expected: 2000, phase: "copying".into(), ..change }
    }

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_node_that_lags_behind_says_nothing() {
        let mut tracker = Tracker::new(CHANGE);
        assert_eq!(tracker.hear(second(0), &answer(CHANGE - 1, None)), Heard::Nothing, "not heard of it yet");
        let under_way = answer(CHANGE + 1, Some(copying(0, 1, 10)));
        assert!(matches!(tracker.hear(second(1), &under_way), Heard::UnderWay(_)));
        assert_eq!(tracker.hear(second(2), &answer(CHANGE, Some(copying(0, 0, 0)))), Heard::Nothing);
        let over = Over { epoch: 3, was_cancelled: false, followed_by: None };
        assert_eq!(tracker.hear(second(3), &answer(CHANGE + 2, None)), Heard::Over(over));
        assert_eq!(tracker.hear(second(4), &under_way), Heard::Nothing, "still believes in it");
    }

    #[test]
    fn a_change_that_was_taken_back_or_followed_by_another_is_told_so() {
        let mut tracker = Tracker::new(CHANGE);
        let what = "node-6 joins (taken back)".to_owned();
        let back = RingChange { cancelled: true, what, ..copying(0, 1, 10) };
        let Heard::UnderWay(under_way) = tracker.hear(second(0), &answer(9, Some(back))) else { panic!("it is") };
        assert_eq!(under_way.what(), "taking back: node-6 joins");
        let next = RingChange { change: 11, what: "node-2 leaves".into(), ..RingChange::default() };
        let Heard::Over(over) = tracker.hear(second(1), &answer(12, Some(next))) else { panic!("it is over") };
        assert!(over.was_cancelled && over.followed_by.as_deref() == Some("node-2 leaves"));
    }

    #[test]
    fn rate_and_time_left_come_from_what_moved_lately_over_all_steps() {
        let mut tracker = Tracker::new(CHANGE);
        let mut at = |seconds: u64, change: RingChange| match tracker.hear(second(seconds), &answer(9, Some(change))) {
            Heard::UnderWay(under_way) => under_way,
            other => panic!("{other:?}"),
        };
        assert_eq!(at(0, copying(0, 0, 0)).rate, None);
        assert_eq!(at(1, copying(0, 1, 100)).rate, None, "too soon");
        let first = at(5, copying(0, 5, 500));
        assert_eq!((first.rate, first.done, first.seconds_left), (Some(100.0), 0.25, Some(15)));
        assert_eq!(first.figures(), "5 of 10 copies, 500 B, 100 B/s, about 15 s left");
        let second = at(10, copying(1, 0, 0));
        assert_eq!((second.rate, second.done), (Some(50.0), 0.5), "the next step counts anew, the sum does not");
        assert_eq!(second.phase(), "step 2 of 2, copying");
    }

    #[test]
    fn what_is_blocked_or_has_no_figures_has_no_time_left_and_no_division_by_nothing() {
        let mut tracker = Tracker::new(0);
        for (seconds, bytes) in [(0, 0), (10, 1000)] {
            let blocked = RingChange { blocked_by: vec!["node-2 is down".into()], ..copying(0, 2, bytes) };
            let heard = tracker.hear(second(seconds), &answer(9, Some(blocked)));
            assert!(matches!(heard, Heard::UnderWay(UnderWay { seconds_left: None, .. })));
        }
        let Heard::UnderWay(empty) = tracker.hear(second(11), &answer(10, Some(RingChange::default()))) else {
            panic!("any change is this one's")
        };
        assert_eq!((empty.done, empty.phase().as_str()), (0.0, "step 1 of 1"));
    }
}
