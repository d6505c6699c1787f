//! Certificate authorities, rotated in steps of which each waits until every node has loaded what the last one brought.
//!
//! Mounted Secrets come late, and a node that shows a certificate which another does not trust yet is cut off from it. So
//! a phase ends by what the nodes report, never by time. Nothing is remembered: each step is told by what there is.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    action::{Action, Plan},
    names::PodId,
    observed::{NodeView, Observed},
    why::Why,
};

/// The authorities that there are, by fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorities {
    /// Those that could sign.
    pub lives: BTreeMap<String, Life>,
    /// The wall clock, in seconds.
    pub wall_s: u64,
    /// Those in the bundle that nodes and clients are given.
    pub trusted: BTreeSet<String>,
    /// The one that signs; None: there is none yet.
    pub signing: Option<String>,
    /// A person asks for another one than this.
    pub rotate: Option<String>,
}

/// From when and until when an authority is good, by the wall clock in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// When it was made. Of two the later one is the newer, whatever their ends: what the spec asks for may have become
    /// shorter in between.
    pub from_s: u64,
    /// When it ends.
    pub until_s: u64,
}

impl Life {
    /// When it is to be followed by another: after two thirds, so that each life has time for all steps, however short.
    pub fn followed_at_s(self) -> u64 {
        self.from_s + self.until_s.saturating_sub(self.from_s) / 3 * 2
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A new authority is made.
    Make,
    /// It is put into the bundle.
    Trust(String),
    /// It signs from now on, and every node is to ask for a certificate by it.
    Sign(String),
    /// The former one is taken out of the bundle.
    Distrust(String),
    /// Its key is deleted.
    Forget(String),
}

/// Whether the next step goes by what nodes are said to have loaded: then each of them is to be asked itself.
pub fn rests_on_nodes(observed: &Observed) -> bool {
    let Some(authorities) = &observed.authorities else { return false };
    matches!(authorities.next(observed), Ok(Some(Step::Sign(_) | Step::Distrust(_))))
}

/// Plans the next step.
pub fn plan(observed: &Observed, plan: &mut Plan) {
    let Some(authorities) = &observed.authorities else { return };
    match authorities.next(observed) {
        Ok(Some(step)) => plan.act(Action::Certificates(step)),
        Ok(None) => {}
        Err(why) => plan.wait(why),
    }
}

impl Authorities {
    /// The one that the others lead to.
    pub fn newest(&self) -> Option<&String> {
        // Of two of one second the greater name: any order will do that is the same each time.
        self.lives.iter().max_by_key(|(name, life)| (life.from_s, (*name).clone())).map(|(name, _)| name)
    }

    fn next(&self, observed: &Observed) -> Result<Option<Step>, Why> {
        let Some(newest) = self.newest() else { return Ok(Some(Step::Make)) };
        if self.lives[newest].followed_at_s() <= self.wall_s || self.rotate.as_ref() == Some(newest) {
            return Ok(Some(Step::Make));
        }
        if !self.trusted.contains(newest) {
            return Ok(Some(Step::Trust(newest.clone())));
        }
        let Some(signing) = &self.signing else { return Ok(Some(Step::Sign(newest.clone()))) };
        if signing != newest {
            // What one that has ended has signed is believed by nobody any more: there is nothing to lose.
            let has_ended = self.lives.get(signing).is_some_and(|life| life.until_s <= self.wall_s);
            if !has_ended {
                all_have(observed, "the new authority", |node| node.trusts.contains(newest))?;
            }
            return Ok(Some(Step::Sign(newest.clone())));
        }
        if let Some(old) = self.trusted.iter().find(|name| *name != newest) {
            all_have(observed, "a certificate by the new authority", |node| node.signed_by.as_ref() == Some(newest))?;
            return Ok(Some(Step::Distrust(old.clone())));
        }
        Ok(self.lives.keys().find(|name| *name != newest).cloned().map(Step::Forget))
    }
}

/// That every pod's node has loaded it; one that does not answer may come back with what it had.
fn all_have(observed: &Observed, what: &'static str, has: impl Fn(&NodeView) -> bool) -> Result<(), Why> {
    let lacks = |pod: &&PodId| !observed.node(pod).is_some_and(|node| node.up && has(node));
    let pods: Vec<PodId> = observed.pods.keys().filter(lacks).cloned().collect();
    if pods.is_empty() { Ok(()) } else { Err(Why::CertificatesNotLoaded { pods, what }) }
}
