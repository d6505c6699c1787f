//! What is written down about the workspace agrees with it.

use std::{collections::BTreeSet, fs, path::PathBuf};

fn text(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of `[workspace.dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let lines = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let entries = lines.take_while(|line| !line.starts_with('['));
    entries.filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim().to_owned()).collect()
}

/// The names of the table rows that give a reason, and of our own crates.
fn documented(page: &str) -> BTreeSet<String> {
    let (tables, own) = page.split_once("## The project's own crates").expect("the last section");
    let rows = tables.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let with_reason = rows.filter(|(_, reason)| reason.trim_end_matches([' ', '|']).len() > 10);
    let names = with_reason.map(|(name, _)| name.to_owned());
    names.chain(own.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The manifests of the crates.
fn manifests() -> String {
    let crates = fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    let manifests = crates.map(|entry| fs::read_to_string(entry.unwrap().path().join("Cargo.toml")).unwrap());
    manifests.collect()
}

#[test]
fn every_dependency_is_some_crates() {
    let manifests = manifests();
    let unused = dependencies(&text("Cargo.toml"));
    let unused: Vec<_> = unused.iter().filter(|name| !manifests.contains(&format!("\n{name}"))).collect();
    assert!(unused.is_empty(), "no crate takes {unused:?}: remove them, here and from docs/DEPENDENCIES.md");
}

#[test]
fn every_dependency_has_its_reason_and_no_absent_one_is_listed() {
    let (there, listed) = (dependencies(&text("Cargo.toml")), documented(&text("docs/DEPENDENCIES.md")));
    assert!(there.len() > 30, "the manifest was not understood: {there:?}");
    let missing: Vec<_> = there.difference(&listed).collect();
    let absent: Vec<_> = listed.difference(&there).collect();
    assert!(missing.is_empty(), "docs/DEPENDENCIES.md gives no reason for {missing:?}");
    assert!(absent.is_empty(), "docs/DEPENDENCIES.md lists what Cargo.toml does not have: {absent:?}");
}

/// The files that a page names in backticks, with their folder.
fn named_files(page: &str) -> BTreeSet<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| name.ends_with(".rs") && name.contains('/') && !name.contains('{'))
        .map(str::to_owned)
        .collect()
}

/// Whether a file is there, named from the top, from `crates/`, or from some crate's `src/`.
fn is_there(name: &str) -> bool {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = fs::read_dir(top.join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    [top.clone(), top.join("crates")].into_iter().chain(crates).any(|from| from.join(name).exists())
}

#[test]
fn every_file_that_a_page_names_is_there() {
    for page in [
        "docs/ARCHITECTURE.md",
        "docs/PROTOCOL.md",
        "docs/SIMULATOR.md",
        "docs/BENCHMARKS.md",
        "docs/SECURITY.md",
        "docs/OPERATIONS.md",
        "docs/KIND.md",
        "docs/KUBECTL.md",
        "CONTRIBUTING.md",
        "README.md",
    ] {
        let missing: Vec<_> = named_files(&text(page)).into_iter().filter(|name| !is_there(name)).collect();
        assert!(missing.is_empty(), "{page} names {missing:?}");
    }
    assert!(named_files(&text("docs/PROTOCOL.md")).len() > 10);
}

/// The single words in CamelCase that a source has as texts, without its tests.
fn reasons(path: &str) -> BTreeSet<String> {
    let source = text(path);
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let is_reason = |word: &&str| {
        word.starts_with(|first: char| first.is_ascii_uppercase())
            && word.contains(|letter: char| letter.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    source.split('"').skip(1).step_by(2).filter(is_reason).map(str::to_owned).collect()
}

#[test]
fn what_the_operator_waits_for_and_tells_is_in_the_page_for_who_is_on_call() {
    let page = text("docs/OPERATIONS.md");
    let why = text("crates/planner/src/why.rs");
    let (_, variants) = why.split_once("pub enum Why {\n").expect("the waits");
    let (variants, _) = variants.split_once("\n}\n").expect("their end");
    let mut names: BTreeSet<String> =
        variants.lines().filter_map(|line| line.trim().split([' ', ',']).next()).map(str::to_owned).collect();
    assert!(names.len() > 30, "the waits were not understood: {names:?}");
    for source in ["events.rs", "tell.rs", "buckets.rs", "controller.rs", "act/failure.rs"] {
        names.extend(reasons(&format!("crates/operator/src/{source}")));
    }
    // A condition's status; and what is tried again without a word.
    let unsaid = ["True", "NotHeardYet"];
    let missing: Vec<_> =
        names.iter().filter(|name| !unsaid.contains(&name.as_str()) && !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md does not say what {missing:?} mean");
}
