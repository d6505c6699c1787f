//! The checkers can fail: each variant of the protocol that is known to be wrong is caught within so many seeds, by a
//! scenario that the right protocol passes with the same seeds.

#![cfg(feature = "known-bad")]

use dynamo_sim::{Campaign, Scenario, Tally, Variant};

/// Variant, scenario, seeds, and the checkers of which one must speak.
const CAUGHT: &[(&str, &str, u64, &[&str])] = &[
    ("no-key-epochs", "forgetful", 48, &["acknowledged", "dots"]),
    ("ack-before-disk", "blackouts", 4, &["acknowledged"]),
    ("hint-dropped-unconfirmed", "flapping-homes", 96, &["acknowledged", "phantom"]),
    ("tombstones-by-age", "deletes", 32, &["phantom", "convergence", "latest"]),
    ("repair-overwrites", "slow-ways", 4, &["acknowledged", "strict"]),
    ("identity-reused", "wiped-disk", 64, &["acknowledged", "dots", "strict"]),
    ("context-too-wide", "hot-keys", 4, &["acknowledged"]),
    ("turn-without-seals", "ring-strict", 64, &["strict", "acknowledged"]),
    ("sources-not-whole", "ring-refilled", 32, &["strict", "acknowledged"]),
    ("trees-miss-keys", "bit-flips", 24, &["convergence", "settle"]),
    ("two-registers", "ring-split", 8, &["ring"]),
    ("no-receipt", "operator-scale", 8, &["departure"]),
    ("pods-before-the-ring", "operator-scale", 48, &["departure"]),
    ("restarts-without-quorum", "operator-rollout", 8, &["disruption"]),
];

fn campaign(scenario: &str, seeds: u64, variant: Option<Variant>) -> Tally {
    let scenario = Scenario::named(scenario).expect("there is such a scenario");
    let campaign = Campaign {
        first: 0,
        end: seeds,
        scenario: Some(scenario),
        jobs: 2,
        time_max: None,
        variant,
        stop_at_failure: variant.is_some(),
    };
    campaign.go(|_, _| {})
}

#[test]
fn every_variant_is_caught_within_its_seeds() {
    for (name, scenario, seeds, checkers) in CAUGHT {
        let right = campaign(scenario, *seeds, None);
        assert!(right.failures.is_empty(), "{scenario}: the right protocol fails: {}", right.failures[0].violation);
        let variant = Variant::all().find(|(known, _)| known == name).map(|(_, variant)| variant);
        let tally = campaign(scenario, *seeds, Some(variant.expect("there is such a variant")));
        let first =
            tally.failures.first().unwrap_or_else(|| panic!("{name}: not noticed in {seeds} seeds of {scenario}"));
        let checker = first.violation.checker.as_str();
        assert!(checkers.contains(&checker), "{name}: {} (seed {})", first.violation, first.seed);
    }
}

#[test]
fn no_variant_is_forgotten() {
    let missing: Vec<_> = Variant::all().filter(|(name, _)| CAUGHT.iter().all(|(caught, ..)| caught != name)).collect();
    assert!(missing.is_empty(), "{:?} have no test", missing.iter().map(|(name, _)| name).collect::<Vec<_>>());
}
