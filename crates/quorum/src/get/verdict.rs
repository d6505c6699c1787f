//! What the client hears, and which homes are repaired after that (§5).

use super::{
    Answer, Get, GetEffect, GetEffects,
    peers::{Peer, Phase},
};
use crate::{NotEnough, Operation};

impl Get {
    pub(super) fn answer(&mut self, effects: &mut GetEffects) {
        self.answered = true;
        let answers = self.peers.iter().filter(|peer| self.resolved(peer)).map(|peer| peer.digest);
        let first = answers.clone().next();
        let diverged = answers.clone().any(|digest| Some(digest) != first);
        let answer = Answer { found: self.join.held().cloned(), answers: answers.count() as u8, diverged };
        effects.push(GetEffect::Answer(answer));
    }

    pub(super) fn fail(&mut self, timed_out: bool, effects: &mut GetEffects) {
        effects.push(GetEffect::Fail(self.not_enough(timed_out)));
        self.finish(effects);
    }

    /// Time is up.
    pub(super) fn expire(&mut self, effects: &mut GetEffects) {
        if self.answered { self.conclude(effects) } else { self.fail(true, effects) }
    }

    /// Nobody is waited for any more.
    pub(super) fn conclude(&mut self, effects: &mut GetEffects) {
        if let Some(held) = self.join.held() {
            let stale = |peer: &&Peer| peer.home && peer.digest.is_some_and(|digest| digest != held.digest);
            for peer in self.peers.iter().filter(stale) {
                effects.push(GetEffect::Repair { to: peer.node, state: held.clone() });
            }
        }
        self.finish(effects);
    }

    fn finish(&mut self, effects: &mut GetEffects) {
        self.finished = true;
        effects.push(GetEffect::Finished);
    }

    pub(super) fn not_enough(&self, timed_out: bool) -> NotEnough {
        NotEnough {
            operation: Operation::Read,
            strict: !self.settings.sloppy,
            needed: self.r,
            acked: self.peers.iter().filter(|peer| self.resolved(peer)).count() as u8,
            holding: 0,
            homes: self.homes,
            homes_alive: self.homes_alive,
            lacks_durable: false,
            begun: self.peers.iter().any(|peer| peer.phase != Phase::Idle),
            timed_out,
            refusals: self.refusals,
        }
    }
}
