//! How fast background work may go: by the foreground's 99th percentile (§6.5).
//!
//! What a good percentile is differs from machine to machine, so it is learnt: what the foreground has while background
//! work rests, or moves no more than the least rate. The target is a little above that, and never above the one that is
//! configured. A window that was worse than the target makes the rate shrink by a factor, as soon as that is certain; a good
//! one makes it grow, but only if somebody could have used more: a rate that nobody tried is not known to be
//! bearable. A percentile needs many requests to say more of the node than of chance: the driver calls only once there were
//! enough, or enough slow ones ([`Watch`]), and no request is seen twice. Where background
//! work never rests by itself it is made to now and then, else the load of the morning would be the measure of the evening.

use crate::slices::SliceSettings;

/// Windows of work after which it rests.
const WORK_WINDOWS: u64 = 80;
/// It goes at the least rate then until the foreground was seen so often: in the first stretch what was begun is ended.
const REST_SAMPLES: u32 = 2;
/// A target below this is not worth yielding for, microseconds.
const UNFELT_US: u64 = 1_000;

/// Part of its rate by which it grows at least after a good window: from little in small steps, from much in large ones.
const GROWTH: u64 = 4;
/// Where requests are few a sample is waited for longer: the rate grows by a step for each so many windows of it, up to so many.
const STEP_WINDOWS: u64 = 4;
const STEPS_AT_ONCE: u64 = 4;

/// What a sample of the foreground is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// There was no foreground: the first requests are told at once.
    Traffic,
    /// Background work goes at the least rate: a percentile of many requests, which becomes the measure.
    Quiet,
    /// It goes faster: as soon as the percentile is bound to be above so many microseconds, or of many requests.
    Harm(u64),
}

/// What was seen of background work since the last sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Bytes that it took.
    pub taken_bytes: u64,
    /// Somebody wanted more than he got.
    pub wanted_more: bool,
}

/// Finds the rate.
#[derive(Debug)]
pub(crate) struct Controller {
    settings: SliceSettings,
    /// What holds while there is foreground traffic and no rest.
    rate_bytes_per_s: u64,
    idle: bool,
    p99_us: Option<u64>,
    /// The foreground's percentile without background work.
    quiet_us: Option<u64>,
    /// The worst since the rate was changed.
    worst_us: u64,
    /// Somebody wanted more since then.
    wanted_more: bool,
    sampled_at: u64,
    changed_at: u64,
    /// Since when it has been working without a rest.
    working_since: u64,
    /// It rests for so many samples more.
    resting: u32,
}

impl Controller {
    /// Begins with the least rate, as if there were foreground traffic.
    pub(crate) fn new(settings: SliceSettings, now: u64) -> Controller {
        Controller {
            rate_bytes_per_s: settings.rate_min_bytes_per_s,
            settings,
            idle: false,
            p99_us: None,
            quiet_us: None,
            worst_us: 0,
            wanted_more: false,
            sampled_at: now,
            changed_at: now,
            working_since: now,
            resting: 0,
        }
    }

    /// What may be moved at present, bytes per second. With no foreground traffic at all it is the greatest.
    pub(crate) fn rate(&self) -> u64 {
        match (self.idle, self.resting) {
            (true, _) => self.settings.rate_max_bytes_per_s,
            (false, 0) => self.rate_bytes_per_s,
            (false, _) => self.settings.rate_min_bytes_per_s,
        }
    }

    /// What the next sample is waited for.
    pub(crate) fn watch(&self) -> Watch {
        match (self.idle, self.rate() > self.settings.rate_min_bytes_per_s) {
            (true, _) => Watch::Traffic,
            (false, false) => Watch::Quiet,
            (false, true) => Watch::Harm(self.target_us()),
        }
    }

    /// The last sample.
    pub(crate) fn p99_us(&self) -> Option<u64> {
        self.p99_us
    }

    /// What the foreground's percentile is to stay below.
    pub(crate) fn target_us(&self) -> u64 {
        let most = self.settings.p99_target_us;
        self.quiet_us.map_or(most, |quiet| {
            let bearable = u128::from(quiet) * u128::from(self.settings.bearable_percent) / 100;
            u64::try_from(bearable).unwrap_or(u64::MAX).max(UNFELT_US).min(most)
        })
    }

    /// How the foreground fared since the last sample, how busy the device is, and what background work did meanwhile.
    pub(crate) fn on_sample(&mut self, p99_us: Option<u64>, busy_permille: Option<u32>, work: Work, now: u64) {
        self.p99_us = p99_us;
        self.idle = p99_us.is_none();
        self.learn(p99_us, work, now);
        self.worst_us = self.worst_us.max(p99_us.unwrap_or(0));
        self.wanted_more |= work.wanted_more;
        if self.rests(now) || self.idle || now < self.changed_at.saturating_add(self.settings.window_us) {
            return;
        }
        let SliceSettings { rate_min_bytes_per_s: min, rate_max_bytes_per_s: max, .. } = self.settings;
        let bearable = busy_permille.is_none_or(|busy| busy <= self.settings.busy_permille_max);
        if self.worst_us > self.target_us() {
            let less = u128::from(self.rate_bytes_per_s) * u128::from(self.settings.decrease_to_percent) / 100;
            self.rate_bytes_per_s = u64::try_from(less).expect("less than before").max(min);
        } else if bearable && self.wanted_more {
            let step = self.settings.increase_bytes_per_s.max(self.rate_bytes_per_s / GROWTH);
            let windows = (now - self.changed_at) / self.settings.window_us.max(1);
            let more = step.saturating_mul((windows / STEP_WINDOWS).clamp(1, STEPS_AT_ONCE));
            self.rate_bytes_per_s = self.rate_bytes_per_s.saturating_add(more).min(max);
        }
        (self.worst_us, self.wanted_more, self.changed_at) = (0, false, now);
    }

    /// It falls faster than it rises, and no single sample lifts it by more than an eighth: a moment in which something else
    /// held up the requests must not become the measure, nor a morning's import that of the quiet hour after it.
    fn learn(&mut self, p99_us: Option<u64>, work: Work, now: u64) {
        let elapsed = now.saturating_sub(self.sampled_at);
        self.sampled_at = self.sampled_at.max(now);
        let least = u128::from(self.settings.rate_min_bytes_per_s) * u128::from(elapsed) / 1_000_000;
        if u128::from(work.taken_bytes) > least {
            return;
        }
        self.working_since = now;
        if let Some(p99) = p99_us {
            let before = self.quiet_us.unwrap_or(p99);
            self.quiet_us = Some(match p99.checked_sub(before) {
                Some(worse) => before + worse.min(before) / 8,
                None => before - (before - p99) / 4,
            });
        }
    }

    /// Begins and ends rests. What is seen during one says nothing of the rate.
    fn rests(&mut self, now: u64) -> bool {
        let longest = WORK_WINDOWS.saturating_mul(self.settings.window_us);
        match self.resting {
            0 if !self.idle && now >= self.working_since.saturating_add(longest) => self.resting = REST_SAMPLES,
            0 => return false,
            1 => {
                (self.resting, self.working_since) = (0, now);
                (self.worst_us, self.wanted_more, self.changed_at) = (0, false, now);
            }
            _ => self.resting -= 1,
        }
        true
    }
}
