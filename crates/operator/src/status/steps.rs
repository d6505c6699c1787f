//! The plan as people read it: what is being done, and what waits, with the sentences that say for what.

use dynamo_crd::status::{PlanStatus, PlannedStep, StepState};
use dynamo_planner::{Action, Why};

use super::{Told, cut};

const STEPS_MAX: usize = 32;
const WAITS_MAX: usize = 8;
const WORDS_MAX: usize = 512;

pub(super) fn plan(told: &Told<'_>) -> PlanStatus {
    let mut steps = withheld(told);
    steps.extend(under_way(told));
    for why in &told.plan.waits {
        let Some(what) = goal(why) else { continue };
        let step = steps.iter_mut().find(|step| step.what == what && step.state == StepState::Blocked);
        match step {
            Some(step) if step.waits_for.len() < WAITS_MAX => step.waits_for.push(sentence(why)),
            Some(_) => {}
            None => {
                let waits_for = vec![sentence(why)];
                steps.push(PlannedStep { what: what.to_owned(), state: StepState::Blocked, waits_for });
            }
        }
    }
    steps.truncate(STEPS_MAX);
    PlanStatus { steps }
}

/// What would be done, but for the maintenance that was asked for.
fn withheld(told: &Told<'_>) -> Vec<PlannedStep> {
    let because = told.plan.waits.iter().find(|why| matches!(why, Why::Paused | Why::PlanOnly)).map(sentence);
    let actions = told.plan.withheld.iter().filter(|action| !matches!(action, Action::CheckSets(_)));
    let step = |(index, action): (usize, &Action)| PlannedStep {
        what: cut(&action.to_string(), WORDS_MAX),
        state: if index == 0 { StepState::Blocked } else { StepState::Later },
        waits_for: if index == 0 { because.clone().into_iter().collect() } else { vec![] },
    };
    actions.enumerate().map(step).collect()
}

/// The turn. What is written in a moment is no step: it is done before anybody reads of it.
fn under_way(told: &Told<'_>) -> Option<PlannedStep> {
    let turn = told.observed.turn.turn.as_ref()?;
    let what = cut(&turn.work.in_words(), WORDS_MAX);
    Some(PlannedStep { what, state: StepState::UnderWay, waits_for: vec![] })
}

fn sentence(why: &Why) -> String {
    cut(&why.to_string(), WORDS_MAX)
}

/// What it is that waits; None: it is told otherwise.
fn goal(why: &Why) -> Option<&'static str> {
    Some(match why {
        Why::InTurn { .. } | Why::TurnBegins { .. } | Why::Paused | Why::PlanOnly => return None,
        Why::NoZone | Why::NoHostIn { .. } | Why::FoundersLost => "found the cluster",
        Why::NewZone { .. } => "use the new zone",
        Why::NoNodeAnswers | Why::RingNotConfirmed => "everything that needs the ring",
        Why::PodsNotReady { .. } | Why::DiskLeft { .. } | Why::DiskGoes { .. } => "let new nodes join",
        Why::ChangeUnderWay { .. } | Why::ChangeBlocked { .. } => "change the ring",
        Why::LeaverIsDown { .. }
        | Why::TooFewWouldStay { .. }
        | Why::StillMember { .. }
        | Why::HandsOver { .. }
        | Why::NoReceipt { .. }
        | Why::PodsGo { .. } => "take nodes away",
        Why::RemovalWouldLose { .. } => "remove a node that is gone for good",
        Why::MachineGone { .. } | Why::OnlyCopies { .. } | Why::ReplacementWouldBreakQuorum { .. } => "replace a disk",
        Why::Refilling { .. } => "fill disks from their replicas",
        Why::HintsUndelivered { .. }
        | Why::NodesBehind { .. }
        | Why::UpdatedNotReady { .. }
        | Why::RestartWouldBreakQuorum { .. } => "restart nodes",
        Why::VolumesCannotGrow | Why::VolumesGrow { .. } | Why::GrowthWaitsForRollout { .. } => "grow the volumes",
        Why::DiskRefuses { .. } => "take writes on every disk",
        Why::CertificatesNotLoaded { .. } => "change the certificate authority",
        Why::EvictionsHeld { .. } => "let pods be evicted",
    })
}
