//! The nodes' pods.
//!
//! They meet Pod Security `restricted`. What may change without a restart (trust, tokens) is mounted as whole
//! folders, since kubelet never renews a file that is mounted by `subPath`.

use std::collections::BTreeMap;

use dynamo_crd::{TlsMode, names};
use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, ConfigMapKeySelector, ConfigMapVolumeSource, Container, ContainerPort, EnvVar,
        EnvVarSource, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, ObjectFieldSelector, PodAffinityTerm,
        PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, SeccompProfile,
        SecretKeySelector, SecretVolumeSource, SecurityContext, ServiceAccountTokenProjection, Volume, VolumeMount,
        VolumeProjection, WeightedPodAffinityTerm,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    AUDIENCE, Basis, CLIENT_PORT, CONTEXT_KEY, DATA, HTTP_PORT, LABEL_TEMPLATE, PEER_PORT, ZonePlace, config, retired,
    template,
};

const DATA_DIR: &str = "/var/lib/dynamo";
const CONFIG_DIR: &str = "/etc/dynamo/config";
pub(super) const TRUST_DIR: &str = "/etc/dynamo/trust";
pub(super) const SIGNER_DIR: &str = "/etc/dynamo/signer";
pub(super) const CERTIFICATE_DIR: &str = "/etc/dynamo/tls";
pub(super) const TOKENS_DIR: &str = "/etc/dynamo/tokens";
pub(super) const TOKEN_FILE: &str = "token";

/// The image's user, who owns what it writes.
const USER: i64 = 65532;
/// Read by its group, which is that of `USER`.
const SECRET_MODE: i32 = 0o440;
/// What stopping takes beside handing over: requests that are under way, and the last bytes to the disk.
const STOP_S: u32 = 10;
/// The node takes no more for handing over.
const HAND_OVER_MAX_S: u32 = 3600;
/// A token of a pod is renewed by kubelet long before it ends.
const TOKEN_S: i64 = 3600;

/// The image of the nodes.
pub fn image(basis: &Basis<'_>) -> String {
    let (spec, release) = (&basis.cluster.spec, basis.release);
    let version = spec.version.as_ref().unwrap_or(&release.version);
    spec.image.clone().unwrap_or_else(|| format!("{}:{version}", release.image_repository))
}

pub(super) fn pods(basis: &Basis<'_>, zone: &ZonePlace, own_labels: &BTreeMap<String, String>) -> PodTemplateSpec {
    let wanted = &basis.cluster.spec.pod_template;
    let mut labels = wanted.labels.clone();
    labels.extend(own_labels.clone());
    labels.insert(LABEL_TEMPLATE.to_owned(), template(basis));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: some(wanted.annotations.clone()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(basis, zone)],
            volumes: Some(volumes(basis)),
            service_account_name: Some(names::node_account(&basis.resource())),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                // Else each start would go through every file of the volume.
                fs_group_change_policy: Some("OnRootMismatch".to_owned()),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(i64::from(wanted.termination_grace_period_seconds)),
            node_selector: some(node_selector(basis, zone)),
            affinity: Some(affinity(basis, zone, own_labels)),
            tolerations: some(wanted.tolerations.clone()),
            priority_class_name: wanted.priority_class_name.clone(),
            image_pull_secrets: some(wanted.image_pull_secrets.clone()),
            ..PodSpec::default()
        }),
    }
}

/// A list or map where there is something in it: an empty one is a difference to what the API server keeps.
fn some<C: IntoIterator + Default + PartialEq>(all: C) -> Option<C> {
    (all != C::default()).then_some(all)
}

fn container(basis: &Basis<'_>, zone: &ZonePlace) -> Container {
    Container {
        name: "node".to_owned(),
        image: Some(image(basis)),
        args: some(arguments(basis)),
        env: Some(environment(basis, zone)),
        ports: Some(vec![port("client", CLIENT_PORT), port("peer", PEER_PORT), port("http", HTTP_PORT)]),
        resources: basis.cluster.spec.resources.clone(),
        volume_mounts: Some(mounts(basis)),
        // A long log may have to be read again before it answers, which no restart makes shorter.
        startup_probe: Some(probe("/healthz", 2, 900)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        lifecycle: Some(before_stop(basis)),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// What this node is told beside the file that all have: by its environment, which whoever hands over before it stops has, too.
/// Kubernetes puts the pod's name in.
fn environment(basis: &Basis<'_>, zone: &ZonePlace) -> Vec<EnvVar> {
    let pod = "$(POD_NAME)";
    let mut pattern = basis.cluster.spec.clients.clone();
    pattern.advertise = pattern.advertise.as_deref().map(plain);
    let clients = pattern.advertised(pod, &zone.name).unwrap_or_else(|| basis.address(pod, CLIENT_PORT));
    let told = [
        ("DYNAMO_NODE_CONFIG", format!("{CONFIG_DIR}/{}", config::FILE)),
        ("DYNAMO_NODE__NODE__NAME", pod.to_owned()),
        ("DYNAMO_NODE__NODE__ZONE", zone.name.clone()),
        ("DYNAMO_NODE__CLUSTER__SEEDS", seeds(basis)),
        ("DYNAMO_NODE__NODE__ADVERTISE_PEER", basis.address(pod, PEER_PORT)),
        ("DYNAMO_NODE__NODE__ADVERTISE_CLIENT", clients),
    ];
    let told = told.map(|(name, value)| EnvVar { name: name.to_owned(), value: Some(value), ..EnvVar::default() });
    [pod_name(), context_key(basis), retired_lives(basis)].into_iter().chain(told).collect()
}

/// Where a node that joins finds the others when no founder is left: the first of each zone. That of its own is there as long as the
/// StatefulSet has any, since it keeps its lowest numbers. (The Service's name would do for all, but one that is alone could not tell that
/// it is.)
fn seeds(basis: &Basis<'_>) -> String {
    let first = |zone: &ZonePlace| basis.address(&names::pod(&basis.resource(), &zone.name, 0), PEER_PORT);
    let first: Vec<String> = basis.zones.iter().map(first).collect();
    format!("[{}]", first.join(", "))
}

/// Other keys of the configuration: as flags, which are refused with a word on what was meant.
fn arguments(basis: &Basis<'_>) -> Vec<String> {
    let config = basis.cluster.spec.config.iter();
    config.map(|(key, value)| format!("--set={}={}", plain(key), plain(value))).collect()
}

/// A text in which Kubernetes is to put nothing in.
fn plain(text: &str) -> String {
    text.replace('$', "$$")
}

fn pod_name() -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: "metadata.name".to_owned() };
    EnvVar {
        name: "POD_NAME".to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

/// A node does not start without it: contexts that it sealed with another key would be refused by the others.
fn context_key(basis: &Basis<'_>) -> EnvVar {
    let name = names::context_key(&basis.resource());
    let key = SecretKeySelector { name, key: CONTEXT_KEY.to_owned(), optional: None };
    EnvVar {
        name: "DYNAMO_NODE__CLUSTER__SECRET".to_owned(),
        value_from: Some(EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

/// Which lives left, as they are known when it starts: a disk of one of them is emptied then. There are none before a node has left.
fn retired_lives(basis: &Basis<'_>) -> EnvVar {
    let (name, key) = (retired::config_map_name(&basis.resource()), retired::NODES_KEY.to_owned());
    let lives = ConfigMapKeySelector { name, key, optional: Some(true) };
    EnvVar {
        name: "DYNAMO_NODE__CLUSTER__RETIRED".to_owned(),
        value_from: Some(EnvVarSource { config_map_key_ref: Some(lives), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

/// Hands over while it still serves. What is left of its time is for stopping.
fn before_stop(basis: &Basis<'_>) -> Lifecycle {
    let seconds = basis.cluster.spec.pod_template.termination_grace_period_seconds.saturating_sub(STOP_S);
    let seconds = seconds.clamp(1, HAND_OVER_MAX_S);
    let command = ["dynamo-node", "prestop", &format!("--seconds={seconds}")].map(str::to_owned);
    let exec = Some(ExecAction { command: Some(command.into()) });
    Lifecycle { pre_stop: Some(LifecycleHandler { exec, ..LifecycleHandler::default() }), ..Lifecycle::default() }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period_s: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_s),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// What is mounted where, beside the data.
fn folders(basis: &Basis<'_>) -> Vec<(&'static str, Volume)> {
    let (cluster, tls) = (basis.resource(), &basis.cluster.spec.tls);
    let config = config::config_map_name(&cluster, &template(basis));
    let mut folders = vec![(CONFIG_DIR, config_map("config", config))];
    match tls.mode {
        TlsMode::Plaintext => {}
        TlsMode::OperatorCA => {
            folders.push((TRUST_DIR, config_map("trust", names::trust(&cluster))));
            folders.push((SIGNER_DIR, signer_token()));
        }
        TlsMode::Secret => {
            folders.push((CERTIFICATE_DIR, secret("tls", tls.secret_name.clone())));
        }
    }
    if tls.tokens_secret_name.is_some() {
        folders.push((TOKENS_DIR, secret("tokens", tls.tokens_secret_name.clone())));
    }
    folders
}

fn volumes(basis: &Basis<'_>) -> Vec<Volume> {
    folders(basis).into_iter().map(|(_, volume)| volume).collect()
}

fn mounts(basis: &Basis<'_>) -> Vec<VolumeMount> {
    let data = VolumeMount { name: DATA.to_owned(), mount_path: DATA_DIR.to_owned(), ..VolumeMount::default() };
    let read = |(path, volume): (&str, Volume)| VolumeMount {
        name: volume.name,
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    [data].into_iter().chain(folders(basis).into_iter().map(read)).collect()
}

fn config_map(name: &str, of: String) -> Volume {
    let source = ConfigMapVolumeSource { name: of, ..ConfigMapVolumeSource::default() };
    Volume { name: name.to_owned(), config_map: Some(source), ..Volume::default() }
}

fn secret(name: &str, of: Option<String>) -> Volume {
    let source =
        SecretVolumeSource { secret_name: of, default_mode: Some(SECRET_MODE), ..SecretVolumeSource::default() };
    Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() }
}

/// What proves to the signer which pod this is; the API server takes it for nothing.
fn signer_token() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_S),
        path: TOKEN_FILE.to_owned(),
    };
    let source = VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() };
    let projected = ProjectedVolumeSource { sources: Some(vec![source]), default_mode: Some(SECRET_MODE) };
    Volume { name: "signer".to_owned(), projected: Some(projected), ..Volume::default() }
}

fn node_selector(basis: &Basis<'_>, zone: &ZonePlace) -> BTreeMap<String, String> {
    let mut labels = basis.cluster.spec.pod_template.node_selector.clone();
    labels.extend(zone.label_value.clone().map(|value| (names::LABEL_NODE_ZONE.to_owned(), value)));
    labels
}

/// Nodes of a zone stand on different machines. They must where replicas of a key share zones, since there are fewer of them than
/// replicas; elsewhere they do as far as there are machines.
fn affinity(basis: &Basis<'_>, zone: &ZonePlace, own_labels: &BTreeMap<String, String>) -> Affinity {
    let spec = &basis.cluster.spec;
    let mut affinity = spec.pod_template.affinity.clone().unwrap_or_default();
    let apart = affinity.pod_anti_affinity.get_or_insert_with(PodAntiAffinity::default);
    let of_zone = own_labels.get_key_value(names::LABEL_ZONE).map(|(key, value)| (key.clone(), value.clone()));
    let selector = names::selector(&basis.resource());
    if basis.zones.len() < usize::from(spec.replication.n) {
        let terms = apart.required_during_scheduling_ignored_during_execution.get_or_insert_with(Vec::new);
        terms.push(one_a_machine(selector.into_iter().chain(of_zone).collect()));
        return affinity;
    }
    let terms = apart.preferred_during_scheduling_ignored_during_execution.get_or_insert_with(Vec::new);
    let mut prefer = |weight, labels| {
        terms.push(WeightedPodAffinityTerm { weight, pod_affinity_term: one_a_machine(labels) });
    };
    if zone.label_value.is_none() {
        // Zones that are anywhere may share machines, too.
        prefer(50, selector.clone());
    }
    prefer(100, selector.into_iter().chain(of_zone).collect());
    affinity
}

fn one_a_machine(labels: BTreeMap<String, String>) -> PodAffinityTerm {
    PodAffinityTerm {
        topology_key: "kubernetes.io/hostname".to_owned(),
        label_selector: Some(LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }),
        ..PodAffinityTerm::default()
    }
}
