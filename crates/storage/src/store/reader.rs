//! The reading threads: each takes a question and answers it, which may wait for the disk.

use super::{Completion, Question, Shared};
use crate::answer::answer;
use crossbeam_channel::Receiver;
use std::sync::Arc;

pub(super) fn run<C: Completion>(shared: Arc<Shared>, questions: Receiver<Question<C>>) {
    while let Ok(Question::Read(read, completion)) = questions.recv() {
        completion.done(answer(&*shared.live.engine, &shared.live, &read));
    }
}
