//! Runs one plan, and says what came of it.

use dynamo_version::Payload;

use crate::{
    coverage::{self, Coverage},
    history::{Ending, Evidence, Violation, check},
    known_bad::KnownBad,
    plan::Plan,
    trace::Trace,
    world::World,
};

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// What must not be, if anything was found.
    pub violation: Option<Violation>,
    /// Virtual time that passed, microseconds.
    pub virtual_us: u64,
    /// Events that happened.
    pub events: u64,
    /// Operations that clients were answered: writes acknowledged, reads.
    pub acknowledged: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Sums up all that happened: the same plan gives the same one.
    pub fingerprint: u64,
    /// Which rare branches were taken.
    pub coverage: Coverage,
    /// The run line by line, where it was asked for.
    pub lines: Vec<String>,
}

/// How a run is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// Not at all.
    No,
    /// Kept in the report.
    Kept,
    /// Printed while it goes on.
    Printed,
}

/// A rule of the protocol that is broken on purpose in a run. There is none without the feature `known-bad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant(pub(crate) KnownBad);

#[cfg(feature = "known-bad")]
impl Variant {
    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = (&'static str, Self)> {
        KnownBad::ALL.into_iter().map(|(variant, name)| (name, Self(variant)))
    }
}

/// Runs a plan to its end and checks what came of it.
pub fn run(plan: &Plan, telling: Telling, variant: Option<Variant>) -> Report {
    let trace = match telling {
        Telling::No => Trace::Off,
        Telling::Kept => Trace::Kept(Default::default()),
        Telling::Printed => Trace::Printed,
    };
    // What a run before this one on the same thread has left, were it to have been given up.
    drop(coverage::take());
    let mut world = World::new(plan.clone(), trace, variant.map(|variant| variant.0));
    world.run();
    let unsettled = world.settle();
    let endings: Vec<Ending> = (0..plan.keys).map(|key| ending(&world, key)).collect();
    let (history, terms) = (&world.kernel.history, plan.terms());
    // A loss tells more than what did not settle because of it.
    let broken = world.kernel.violation.clone();
    let violation = broken.or_else(|| check(&Evidence::new(&terms, history, &endings))).or(unsettled);
    let (acknowledged, reads) = (history.acknowledged() as u64, history.reads.len() as u64);
    if let Some(violation) = &violation {
        let (now, line) = (world.kernel.now, format!("!!! {violation}"));
        world.kernel.trace.line(now, line);
    }
    Report {
        violation,
        virtual_us: world.kernel.now,
        events: world.kernel.events,
        acknowledged,
        reads,
        fingerprint: world.fingerprint(),
        coverage: coverage::take(),
        lines: world.kernel.trace.into_lines(),
    }
}

/// What stands of a key at the end: the join of its homes.
fn ending(world: &World, key: u16) -> Ending {
    let (shape, history) = (&world.kernel.shape, &world.kernel.history);
    let mode = shape.bucket_of(key).mode;
    let mut joined = dynamo_version::SiblingSet::new();
    for set in world.replicas(key).into_iter().filter_map(|replica| replica.set) {
        joined.merge(&set, mode);
    }
    let mut ending = Ending {
        siblings: joined.siblings().len(),
        actors: joined.causality().entries().len() + joined.causality().dots().len(),
        ..Ending::default()
    };
    for sibling in joined.siblings() {
        let write = match &sibling.payload {
            Payload::Value(value) => history.write_in(key, value),
            Payload::Tombstone => history.write_of(key, &sibling.dot),
        };
        match (write, &sibling.payload) {
            (Some(write), _) => ending.standing.push(write),
            (None, Payload::Value(value)) => ending.strange.push(value.escape_ascii().to_string()),
            (None, Payload::Tombstone) => ending.strange.push(format!("a delete {:?}", sibling.dot)),
        }
    }
    ending.standing.sort_unstable();
    ending
}
