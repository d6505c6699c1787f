//! docs/SIMULATOR.md agrees with the crate.

use std::{fs, path::Path};

use dynamo_sim::Scenario;

#[test]
fn the_page_names_each_scenario_and_each_checker() {
    let sim = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(sim.join(path)).expect("it is in the repository");
    let page = read("../../docs/SIMULATOR.md");
    let named = |name: &str| page.contains(&format!("`{name}`"));
    for scenario in Scenario::all() {
        assert!(named(scenario.name), "{} is not there", scenario.name);
    }
    let checkers = ["src/check", "../history/src/check"].map(|folder| fs::read_dir(sim.join(folder)));
    for entry in checkers.into_iter().flat_map(|folder| folder.expect("the checkers are there")) {
        let path = entry.expect("it can be listed").path();
        let checker = path.file_stem().expect("a file").to_string_lossy().into_owned();
        assert!(checker == "mod" || named(&checker), "{checker} is not there");
    }
}
