//! What comes in, and to whom of the keeper's parts it belongs: others' questions, their answers, what the store has done.

use dynamo_merkle::Tree;
use dynamo_ring::NodeId;

use crate::{
    effect::{Effect, Effects, StoreDone},
    keeper::{Asked, Keeper, Situation, Ticket, with_tree},
    message::{Answer, Question},
};

impl Keeper {
    /// A question of another node; [`Effect::Answer`] gives `call` back, at most once.
    pub fn on_question(
        &mut self,
        from: NodeId,
        call: u64,
        question: Question,
        at: &Situation<'_>,
        effects: &mut Effects,
    ) {
        let mut out = Vec::new();
        match question {
            // An old copy must not answer these, and this may be one. It answers what helps the others to know of themselves.
            Question::Vote(_) | Question::Attest { .. } | Question::Seal { .. } if !self.recall.known() => {
                effects.push(Effect::Answer { call, answer: Answer::Unable });
            }
            // What this disk has may be older than what was collected since, and nobody must have that from it.
            Question::Compare(_) | Question::Round(_) if self.in_doubt() => {
                effects.push(Effect::Answer { call, answer: Answer::Unable });
            }
            Question::Recall(started) => self.recalled(from, call, started, effects),
            Question::Vote(request) => self.registry.on_vote(call, request, &mut out),
            Question::Attest { incarnation } => self.registry.on_attest(from, call, incarnation, &mut out),
            Question::Pull { version } => {
                let newer = (self.version() > version).then(|| self.known().clone());
                effects.push(Effect::Answer { call, answer: Answer::Newer(newer) });
            }
            Question::Tell(value) => {
                let newer = self.known().is_newer(&value).then(|| self.known().clone());
                effects.push(Effect::Answer { call, answer: Answer::Newer(newer) });
                self.registry.on_chosen(value, &mut out);
            }
            Question::Report { version } => {
                self.versions.insert(from, version);
                effects.push(Effect::Answer { call, answer: Answer::Report(self.report()) });
            }
            Question::Seal { version } => {
                self.versions.insert(from, version);
                self.seal(version, at.now, effects);
                effects.push(Effect::Answer { call, answer: Answer::Report(self.report()) });
            }
            Question::Compare(question) => {
                self.schedule.on_asked(question.call.partition, from);
                self.compared(from, call, question, at, effects);
            }
            Question::Roots(question) => {
                let root_of = |partition| Some(with_tree(at.trees, partition, Tree::root));
                let reply = self.schedule.answer(from, &question, root_of);
                effects.push(Effect::Answer { call, answer: Answer::Roots(reply) });
            }
            Question::Round(ask) => {
                let reply = self.round_part(ask, at, effects);
                effects.push(Effect::Answer { call, answer: Answer::Round(reply) });
            }
            Question::Held(items) => self.asked_what_is_held(call, items, effects),
            Question::Collect(items) => self.asked_to_collect(from, call, items, effects),
        }
        self.registered(out, at, effects);
        self.advance(at, effects);
    }

    /// The answer to an [`Effect::Ask`]; `None`: there will be none.
    pub fn on_answer(&mut self, call: u64, answer: Option<Answer>, at: &Situation<'_>, effects: &mut Effects) {
        let Some((from, asked)) = self.asked.remove(&call) else { return };
        let mut out = Vec::new();
        match (asked, answer) {
            (Asked::Compare(job), answer) => {
                let answer = if let Some(Answer::Compare(answer)) = answer { Some(answer) } else { None };
                let mut out = Vec::new();
                self.jobs.on_answer(job, answer, at.trees, at.now, &mut out);
                self.job_effects(out, at, effects);
            }
            (Asked::Roots, Some(Answer::Roots(reply))) => self.roots_answered(from, reply, at, effects),
            (Asked::Vote, Some(Answer::Vote(reply))) => self.registry.on_voted(reply, at.now, at.random, &mut out),
            (Asked::Attest, Some(Answer::Attested { incarnation })) => {
                self.registry.on_attested(from, incarnation, &mut out);
            }
            (Asked::Recall, Some(Answer::Recalled { mark, newest_life })) => {
                self.on_recalled(from, mark, newest_life, at.now, effects);
            }
            (Asked::Newer, Some(Answer::Newer(Some(value)))) => self.registry.on_chosen(value, &mut out),
            (Asked::Report, Some(Answer::Report(report))) => {
                self.versions.insert(from, report.version);
                self.doubt.heard(from, report.version);
                self.steward.on_report(from, report);
            }
            (Asked::Round | Asked::Held(_) | Asked::Collect, answer) => {
                self.collect_answered(from, asked, answer, at);
            }
            _ => {}
        }
        self.registered(out, at, effects);
        self.advance(at, effects);
    }

    /// The store has done what [`Effect::Store`] asked for.
    pub fn on_stored(&mut self, ticket: u64, done: StoreDone, at: &Situation<'_>, effects: &mut Effects) {
        let Some(owner) = self.tickets.remove(&ticket) else { return };
        let kept = done == StoreDone::Kept;
        match owner {
            Ticket::Registry(write) => {
                let mut out = Vec::new();
                self.registry.on_kept(write, kept, at.now, &mut out);
                self.registered(out, at, effects);
            }
            Ticket::LearntFence => self.learnt(true, kept, at, effects),
            Ticket::LearntValue => self.learnt(false, kept, at, effects),
            Ticket::Sealed(epoch, partitions) => {
                self.refused.ended(kept, at.now);
                if kept && epoch == self.charter().ring().epoch() {
                    self.sealed.extend(partitions);
                }
            }
            // Told again with the next change of it.
            Ticket::Whole | Ticket::Fenced => {}
            Ticket::Marks => self.marks_kept(kept, effects),
            Ticket::Clear => self.clear_kept(kept),
            Ticket::Lots => self.lots_kept(kept),
            Ticket::Job(owner) => {
                let mut out = Vec::new();
                self.jobs.on_stored(owner, done, at.trees, at.now, &mut out);
                self.job_effects(out, at, effects);
            }
            Ticket::Forgot(partition) => self.forgot(partition, done, at),
            Ticket::Round(step) => self.collect_stored(step, done, at, effects),
            Ticket::Scrubbed => {
                let page = match done {
                    StoreDone::Scrubbed { go_on, damaged, bytes } => Some((go_on, damaged, bytes)),
                    _ => None,
                };
                self.scrubbed(page, at, effects);
            }
        }
        self.advance(at, effects);
    }
}
