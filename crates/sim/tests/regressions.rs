//! Runs that once showed a fault, made smaller and kept: each passes now.

use std::{fs, path::Path};

use dynamo_sim::{Plan, Telling, run};

#[test]
fn every_kept_run_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut kept = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let plan = Plan::from_yaml(&fs::read_to_string(&path).expect("it can be read"))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let report = run(&plan, Telling::No, None);
        assert_eq!(report.violation, None, "{}", path.display());
        kept += 1;
    }
    assert!(kept > 0, "no run is kept");
}
