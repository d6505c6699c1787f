//! Actions in words, for the plan that status and `kubectl dynamo plan` show.

use std::fmt;

use crate::{
    action::{Action, Edit},
    certificates::Step,
    names::{listed, said_of},
    observed::Mark,
};

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::RecordZones(zones) => {
                write!(f, "note that the {} {}", said_of(zones.len(), "zone is", "zones are"), listed(zones))
            }
            Action::CreateFounders(founders) => {
                let counts = founders.zones.iter().map(|(zone, count)| format!("{count} in {zone}"));
                write!(f, "found the cluster with {}", listed(counts))
            }
            Action::CreateSet { set, replicas, .. } => write!(f, "create StatefulSet {set} with {}", pods(*replicas)),
            Action::RaiseSet { set, to, .. } => write!(f, "raise StatefulSet {set} to {}", pods(*to)),
            Action::ShrinkSet { set, to, cleared, .. } => {
                let going = cleared.iter().map(|cleared| cleared.pod());
                write!(f, "shrink StatefulSet {set} to {}: {} may go", pods(*to), listed(going))
            }
            Action::DeleteSet { set, orphan: true, .. } => {
                write!(f, "remake StatefulSet {set} with larger claims; its pods stay")
            }
            Action::DeleteSet { set, .. } => write!(f, "delete StatefulSet {set}, whose zone is no more"),
            Action::SetTemplate { set, .. } => {
                write!(f, "give StatefulSet {set} the new template; nobody restarts yet")
            }
            Action::LowerPartition { set, to, .. } => write!(f, "let the pods of {set} from {to} on be made anew"),
            Action::ParkPartition { set, .. } => write!(f, "let no pod of {set} be made anew"),
            Action::CheckSets(_) => f.write_str("look whether the StatefulSets are as they were seen"),
            Action::DeletePod { pod, .. } => write!(f, "restart {pod}"),
            Action::MarkClaim { pod, mark, .. } => write!(f, "note on the claim of {pod} that {}", of_disk(mark)),
            Action::DeleteClaim { pod, .. } => write!(f, "delete the disk of {pod}"),
            Action::GrowClaim { pod, to_bytes, .. } => write!(f, "grow the disk of {pod} to {to_bytes} bytes"),
            Action::Retire(lives) => {
                write!(f, "list the disks that left and are to be emptied: {}", listed(lives.keys()))
            }
            Action::TakeTurn { turn, .. } => write!(f, "begin {}", turn.work.in_words()),
            Action::EndTurn { id, .. } => write!(f, "end turn {id}"),
            Action::ChangeRing { edits, .. } => write!(f, "change the ring: {}", listed(edits)),
            Action::CancelChange { id } => write!(f, "take change {id} of the ring back"),
            Action::SetBudget(allowed) => write!(f, "let {} be evicted at a time", pods(*allowed)),
            Action::Certificates(step) => write!(f, "{step}"),
        }
    }
}

fn pods(count: u32) -> String {
    format!("{count} {}", said_of(count as usize, "pod", "pods"))
}

fn of_disk(mark: &Option<Mark>) -> &'static str {
    match mark {
        None => "it is in use",
        Some(Mark::Left { kept: true, .. }) => "its node left with a receipt, and it stays",
        Some(Mark::Left { .. }) => "its node left with a receipt",
        Some(Mark::NeverJoined) => "its node never joined",
        Some(Mark::Lost) => "it is lost",
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Edit::Join { pod, .. } => write!(f, "{pod} joins"),
            Edit::Leave { pod } => write!(f, "{pod} leaves"),
            Edit::Remove { pod } => write!(f, "{pod} is removed, as its disk is gone"),
            Edit::Reweigh { pod, weight } => write!(f, "{pod} weighs {weight}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Make => f.write_str("make a new certificate authority"),
            Step::Trust(name) => write!(f, "let everybody trust authority {name}"),
            Step::Sign(name) => write!(f, "sign with authority {name}"),
            Step::Distrust(name) => write!(f, "withdraw authority {name}"),
            Step::Forget(name) => write!(f, "delete the key of authority {name}"),
        }
    }
}

/// A number that changes all the time, as coarse as a person needs it: what stands in status is written each time that it
/// changes.
pub(crate) fn about(number: u64) -> String {
    let mut bound = 10u64;
    while bound < number {
        bound = bound.saturating_mul(10);
    }
    format!("up to {bound}")
}

/// A time that runs out, likewise.
pub(crate) fn within(seconds: u64) -> String {
    match seconds {
        0..=60 => "a minute".to_owned(),
        61..=600 => "ten minutes".to_owned(),
        601..=3600 => "an hour".to_owned(),
        3601..=86_400 => format!("{} hours", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_one_is_said_otherwise_of_several() {
        use crate::{names::PodId, why::Why};

        let pods = |count: u32| (0..count).map(|ordinal| PodId::new("c-a", ordinal)).collect::<Vec<_>>();
        let behind = |count| Why::NodesBehind { pods: pods(count) }.to_string();
        assert_eq!(behind(1), "c-a-0 has not heard of the present ring yet: restarts wait for it");
        assert_eq!(behind(2), "c-a-0 and c-a-1 have not heard of the present ring yet: restarts wait for them");
        let updated = |count| Why::UpdatedNotReady { pods: pods(count) }.to_string();
        assert!(
            updated(1).contains("was restarted") && updated(1).contains("is not ready") && updated(1).contains("its")
        );
        assert!(updated(2).contains("were restarted") && updated(2).contains("are not ready"));
        let full = |count| Why::DiskRefuses { pods: pods(count) }.to_string();
        assert!(full(1).starts_with("the disk of c-a-0 takes no writes"), "{}", full(1));
        assert!(full(2).starts_with("the disks of c-a-0 and c-a-1 take no writes"), "{}", full(2));
        let grows = |count| Why::VolumesGrow { pods: pods(count) }.to_string();
        assert_eq!(
            [grows(1), grows(2)],
            ["the volume of c-a-0 is asked to grow", "the volumes of c-a-0 and c-a-1 are asked to grow"]
        );
        let raise = |to| Action::RaiseSet { set: "c-a".to_owned(), to, version: String::new() }.to_string();
        assert_eq!([raise(1), raise(2)], ["raise StatefulSet c-a to 1 pod", "raise StatefulSet c-a to 2 pods"]);
    }

    #[test]
    fn what_changes_all_the_time_is_told_in_few_words() {
        assert_eq!(
            [1, 10, 11, u64::MAX].map(about),
            ["up to 10", "up to 10", "up to 100", &format!("up to {}", u64::MAX)]
        );
        let told = [0, 60, 61, 600, 601, 3601, 86_400, 86_401].map(within);
        let words = ["a minute", "a minute", "ten minutes", "ten minutes", "an hour", "2 hours", "24 hours", "2 days"];
        assert_eq!(told, words);
    }
}
