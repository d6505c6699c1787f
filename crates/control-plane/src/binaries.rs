//! Where the programs are.

use std::{env, path::PathBuf};

/// Those of one control plane.
pub struct Binaries {
    pub etcd: PathBuf,
    pub server: PathBuf,
    /// Where controllers are wanted.
    pub manager: Option<PathBuf>,
}

impl Binaries {
    /// All that are needed; nothing, and a word about what is missing, where one is not there.
    pub fn find(test: &str, controllers: bool) -> Option<Self> {
        let names = ["etcd", "kube-apiserver", "kube-controller-manager"];
        let needed = if controllers { &names[..] } else { &names[..2] };
        let missing: Vec<_> = needed.iter().copied().filter(|name| find(name).is_none()).collect();
        if missing.is_empty() {
            let found = |name| find(name).expect("it was there a moment ago");
            return Some(Self {
                etcd: found(names[0]),
                server: found(names[1]),
                manager: controllers.then(|| found(names[2])),
            });
        }
        let required = env::var("DYNAMO_REQUIRE_CONTROL_PLANE").is_ok_and(|value| value == "1");
        let word = format!(
            "NOT RUN: {test}: no {} in KUBEBUILDER_ASSETS, on the PATH, or in {}: `e2e/kind/build control-plane` builds them",
            missing.join(", "),
            cache().map_or("~/.cache/dynamo-kind/bin".into(), |folder| folder.display().to_string()),
        );
        assert!(!required, "{word}");
        eprintln!("{word}");
        None
    }
}

/// A program of this name.
pub fn find(name: &str) -> Option<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = assets.into_iter().chain(env::split_paths(&path)).chain(cache());
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Where `e2e/kind/build` leaves what it has built.
fn cache() -> Option<PathBuf> {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let kind = named("DYNAMO_KIND_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join("dynamo-kind")))
        .or_else(|| named("HOME").map(|folder| folder.join(".cache/dynamo-kind")));
    kind.map(|folder| folder.join("bin"))
}
