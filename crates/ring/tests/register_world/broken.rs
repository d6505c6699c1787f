//! Rules that are broken on purpose, outside the machines: their drivers do what they must not, or the machines hear
//! answers that nobody gave, as if a rule that waits for these were not there. Tests that do not notice prove nothing.

use std::collections::BTreeSet;

use dynamo_ring::register::{Accepted, Answer, Reply, Value, Voter};

use super::World;

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    Nothing,
    /// Voters answer before their disks have what they say.
    ReplyBeforePersist,
    /// A value counts as chosen by its own voters' majority alone.
    AcceptByNewVotersOnly,
    /// A value counts as chosen by its previous voters' majority alone.
    AcceptByPreviousVotersOnly,
    /// A half-accepted value is finished without the promises of its own voters.
    FinishWithoutNewVoters,
    /// A half-accepted value is finished without the promises of its previous voters.
    FinishWithoutPreviousVoters,
    /// A wiped disk votes under the old incarnation.
    WipedVotesAgain,
    /// A reader takes a value for chosen that one voter has accepted.
    LooksAtOneVoter,
    /// Proposers use ballots before their disks have them, and may use them again after a crash.
    BallotsForgotten,
}

/// What an attempt really heard.
#[derive(Debug, Default)]
pub struct Heard {
    promised: BTreeSet<Voter>,
    accepted: BTreeSet<Voter>,
    newest: Option<Accepted>,
}

impl Heard {
    fn note(&mut self, Reply { from, answer, .. }: &Reply) {
        match answer {
            Answer::Promised { accepted } => {
                self.promised.insert(*from);
                let ballot = |accepted: &Option<Accepted>| accepted.as_ref().map(|accepted| accepted.ballot);
                if ballot(accepted) > ballot(&self.newest) {
                    self.newest = accepted.clone();
                }
            }
            Answer::Accepted => {
                self.accepted.insert(*from);
            }
            Answer::Refused { .. } | Answer::Elsewhere { .. } | Answer::Seen { .. } => {}
        }
    }
}

impl World {
    /// After a true answer: those that a broken rule does without.
    pub(super) fn hear_what_nobody_said(&mut self, to: usize, reply: Reply) {
        let Some(job) = &mut self.nodes[to].job else { return };
        if job.machine.as_ref().is_none_or(|machine| machine.ballot() != reply.ballot) {
            return;
        }
        job.heard.note(&reply);
        let accepting = reply.answer == Answer::Accepted;
        let value = if accepting { job.sending.clone() } else { job.heard.newest.clone().map(|newest| newest.value) };
        let Some(value) = value else { return };
        let Some((enough, unheard)) = self.broken.ignores(accepting, &value) else { return };
        let heard = if accepting { &job.heard.accepted } else { &job.heard.promised };
        if enough.iter().filter(|voter| heard.contains(voter)).count() * 2 > enough.len() {
            let answer = if accepting { Answer::Accepted } else { Answer::Promised { accepted: None } };
            for &from in unheard {
                self.hear(to, Reply { from, ballot: reply.ballot, answer: answer.clone() });
            }
        }
    }
}

impl Broken {
    /// Whose majority is enough, and whose is then not waited for.
    fn ignores(self, accepting: bool, value: &Value) -> Option<(&[Voter], &[Voter])> {
        match (self, accepting) {
            (Broken::AcceptByNewVotersOnly, true) | (Broken::FinishWithoutPreviousVoters, false) => {
                Some((value.voters(), value.previous_voters()))
            }
            (Broken::AcceptByPreviousVotersOnly, true) | (Broken::FinishWithoutNewVoters, false) => {
                Some((value.previous_voters(), value.voters()))
            }
            _ => None,
        }
    }
}
