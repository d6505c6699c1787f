//! Operators that are known to be wrong: each takes something for so that is not, and the judge has to notice what it does
//! then.

use dynamo_planner::{Observed, PodId, Wanted};

/// What an operator takes for so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Whoever is not wanted any more has left: no receipt is waited for.
    NoReceipt,
    /// A change of the ring is done as soon as it has begun.
    ChangesAreDone,
    /// A range needs none of its homes: any number of them may restart at once.
    NoQuorum,
}

impl Bad {
    /// What it sees.
    pub(crate) fn sees(self, wanted: &Wanted, observed: &mut Observed) {
        let zones = observed.recorded_zones.clone();
        let Some(ring) = &mut observed.ring else { return };
        let gone: Vec<PodId> = match self {
            Bad::NoReceipt => {
                let all: Vec<PodId> = ring.members.keys().cloned().collect();
                all.into_iter().filter(|pod| !is_wanted(wanted, &zones, pod)).collect()
            }
            Bad::ChangesAreDone => ring.change.take().into_iter().flat_map(|change| change.leaves).collect(),
            Bad::NoQuorum => {
                ring.quorum = 0;
                Vec::new()
            }
        };
        for pod in gone {
            ring.members.remove(&pod);
            ring.leavers.remove(&pod);
            ring.nodes.remove(&pod);
        }
    }
}

/// Zones get the wanted nodes evenly, the first ones what is over.
fn is_wanted(wanted: &Wanted, zones: &[String], pod: &PodId) -> bool {
    let count = zones.len().max(1) as u32;
    let at = zones.iter().position(|zone| pod.set == format!("{}-{zone}", wanted.cluster)).unwrap_or(0) as u32;
    pod.ordinal < wanted.replicas / count + u32::from(at < wanted.replicas % count)
}
