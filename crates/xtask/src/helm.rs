//! Helm, where there is one.

use std::{env, path::PathBuf};

/// Where helm is: in `DYNAMO_HELM`, on the PATH, or where e2e/kind/build leaves it.
pub fn helm() -> Option<PathBuf> {
    if let Some(named) = env::var_os("DYNAMO_HELM") {
        return Some(named.into());
    }
    let cache = env::var_os("DYNAMO_KIND_CACHE").map(PathBuf::from).or_else(|| {
        let caches = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let caches = caches.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
        Some(caches.join("dynamo-kind"))
    });
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(cache.map(|cache| cache.join("bin")));
    folders.map(|folder| folder.join("helm")).find(|file| file.is_file())
}
