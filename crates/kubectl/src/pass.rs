//! Commands that `dynamo` has: it is run with a forwarded port as its endpoint, and told whom to trust.

use std::{env, ffi::OsString, fs, os::unix::process::ExitStatusExt, path::PathBuf, process::ExitCode};

use dynamo_crd::{TlsMode, names};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use tempfile::TempDir;
use tokio::process::Command;

use crate::{failure::Failure, forward, target::Target};

const BUNDLE: &str = "ca.crt";

/// Runs it to its end, and ends as it does.
pub async fn run(target: &Target, command: &str, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let program = program();
    let asks_for_help = arguments.iter().any(|argument| argument == "--help" || argument == "-h");
    let mut child = Command::new(&program);
    child.arg(command).args(arguments).kill_on_drop(true);
    let mut kept = None;
    if !asks_for_help {
        let forwarded = forward::begin(target, 0).await?;
        let (variables, files) = variables(target, forwarded.port).await?;
        child.envs(variables);
        kept = Some((forwarded, files));
    }
    let ended = child.status().await.map_err(|error| {
        Failure::Unavailable(format!(
            "{} can't be run ({error}): put the `dynamo` command beside this one or on the PATH",
            program.display()
        ))
    })?;
    drop(kept);
    let code = ended.code().or(ended.signal().map(|signal| 128 + signal)).unwrap_or(3);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(3)))
}

/// What `dynamo` has to be told, as its environment; the files live as long as the folder.
pub async fn variables(target: &Target, port: u16) -> Result<(Vec<(String, String)>, Option<TempDir>), Failure> {
    let mut variables = vec![
        ("DYNAMO_ENDPOINT".to_owned(), format!("127.0.0.1:{port}")),
        // The nodes' own addresses are of no use here.
        ("DYNAMO_VIA_ENDPOINT".to_owned(), "true".to_owned()),
    ];
    let Some(bundle) = bundle(target).await? else { return Ok((variables, None)) };
    let folder = TempDir::with_prefix("kubectl-dynamo-")?;
    let file = folder.path().join(BUNDLE);
    fs::write(&file, bundle)?;
    // What a person has set stays: certificates and tokens of their own among it.
    if env::var_os("DYNAMO_TLS_CA").is_none() {
        variables.push(("DYNAMO_TLS_CA".to_owned(), file.display().to_string()));
    }
    if env::var_os("DYNAMO_TLS_SERVER_NAME").is_none() {
        let host = format!("{}.{}.svc", names::client_service(&target.name), target.namespace);
        variables.push(("DYNAMO_TLS_SERVER_NAME".to_owned(), host));
    }
    Ok((variables, Some(folder)))
}

/// Whom to trust; None: the nodes speak plaintext.
async fn bundle(target: &Target) -> Result<Option<String>, Failure> {
    let tls = &target.cluster.spec.tls;
    let missing = |what: &str| Failure::Unavailable(format!("{what} has no {BUNDLE} yet: whom to trust is not known"));
    match tls.mode {
        TlsMode::Plaintext => Ok(None),
        TlsMode::OperatorCA => {
            let name = names::trust(&target.name);
            let maps: Api<ConfigMap> = Api::namespaced(target.client.clone(), &target.namespace);
            let doing = format!("reading ConfigMap {name}");
            let found = maps.get_opt(&name).await.map_err(|error| Failure::api(doing, &error))?;
            let bundle = found.and_then(|map| map.data?.remove(BUNDLE));
            bundle.map(Some).ok_or_else(|| missing(&format!("ConfigMap {name}")))
        }
        TlsMode::Secret if env::var_os("DYNAMO_TLS_CA").is_some() => Ok(Some(String::new())),
        TlsMode::Secret => {
            let name = tls.secret_name.clone().unwrap_or_default();
            let secrets: Api<Secret> = Api::namespaced(target.client.clone(), &target.namespace);
            let doing =
                format!("reading {BUNDLE} of Secret {name} (or set DYNAMO_TLS_CA to a file with the authorities)");
            let found = secrets.get_opt(&name).await.map_err(|error| Failure::api(doing, &error))?;
            let bytes = found
                .and_then(|secret| secret.data?.remove(BUNDLE))
                .ok_or_else(|| missing(&format!("Secret {name}")))?;
            Ok(Some(String::from_utf8_lossy(&bytes.0).into_owned()))
        }
    }
}

/// Beside this one, or else on the PATH.
fn program() -> PathBuf {
    let beside = env::current_exe().ok().and_then(|own| Some(own.parent()?.join("dynamo")));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("dynamo"))
}
