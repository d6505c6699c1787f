//! The same plan gives the same run, byte for byte, on whatever thread and after whatever other runs.

use dynamo_sim::{Plan, Scenario, Telling, run};

#[test]
fn the_same_seed_gives_the_same_run_line_by_line() {
    for scenario in Scenario::all() {
        let mut plan = scenario.plan(7);
        plan.run_ms = 12_000;
        let once = run(&plan, Telling::Kept, None);
        let again = std::thread::spawn(move || run(&plan, Telling::Kept, None)).join().expect("it ran once");
        assert!(once.lines.len() > 300, "{}: {} lines", scenario.name, once.lines.len());
        let differing = once.lines.iter().zip(&again.lines).find(|(one, other)| one != other);
        assert_eq!(differing, None, "{}", scenario.name);
        assert_eq!(once.lines.len(), again.lines.len());
        assert_eq!((once.fingerprint, once.events), (again.fingerprint, again.events));
    }
}

#[test]
fn telling_a_run_does_not_change_it_and_another_seed_does() {
    let plan = |seed| Scenario::all()[0].plan(seed);
    let silent = run(&plan(3), Telling::No, None);
    assert_eq!(silent.fingerprint, run(&plan(3), Telling::Kept, None).fingerprint);
    assert_ne!(silent.fingerprint, run(&plan(4), Telling::No, None).fingerprint);
}

#[test]
fn a_plan_that_went_through_a_file_is_the_same_run() {
    for scenario in Scenario::all() {
        let plan = scenario.plan(11);
        let read = Plan::from_yaml(&plan.to_yaml()).expect("what was written can be read");
        assert_eq!(plan, read, "{}", scenario.name);
    }
    let error = Plan::from_yaml("seed: 1\n").expect_err("that is no plan");
    assert!(error.contains("missing field"), "{error}");
}
