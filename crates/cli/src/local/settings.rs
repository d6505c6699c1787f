//! What a local cluster was made with, kept in DIR/cluster.yaml; and the nodes' configuration files made from it.
//! Beside the plans that are kept (`change::file`), this is the one module of the command line that knows YAML.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use super::{
    authority::Authority,
    layout::{Layout, NodePlan, Readers, write_atomically},
    roster::{Added, Left, Replacing},
};
use crate::failure::Failure;

/// The name of clusters that were made before each had its own.
const CLUSTER: &str = "local";
const NODES_DEFAULT: u16 = 5;
/// N where nothing else is said and there are nodes enough.
pub const REPLICAS_DEFAULT: u8 = 3;
const ZONES_DEFAULT: u16 = 3;
const PARTITIONS_DEFAULT: u32 = 256;

/// Fixed when a directory is made, but for the nodes that came and went since (see [`super::roster`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The cluster's name: another one in each directory. Nodes and disks of one never take part in another then, whatever
    /// ports they meet on and wherever somebody copies a node's files to.
    #[serde(default = "first_name")]
    pub name: String,
    /// How many founders.
    pub nodes: u16,
    /// How many zones they are spread over.
    pub zones: u16,
    /// N.
    pub replication: u8,
    /// Q.
    pub partitions: u32,
    /// Client port of the first node.
    pub port: u16,
    /// Seals contexts.
    pub secret: String,
    /// Whether the nodes speak TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// Nodes that were added, and are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Added>,
    /// Nodes that have left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
    /// The node that is being filled anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacing: Option<Replacing>,
}

fn first_name() -> String {
    CLUSTER.to_owned()
}

/// What the flags say; nothing where a flag was not given.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `--nodes`
    pub nodes: Option<u16>,
    /// `--zones`
    pub zones: Option<u16>,
    /// `--replication`
    pub replication: Option<u8>,
    /// `--partitions`
    pub partitions: Option<u32>,
    /// `--port`
    pub port: Option<u16>,
    /// `--tls`
    pub tls: bool,
}

impl Settings {
    /// Those of the directory; a new directory gets the flags' and the defaults, and they are for the caller to save: not
    /// before it is known that they work, or the same directory would be refused with others.
    ///
    /// # Errors
    /// The directory was made with other settings, or can't be used.
    pub fn open(layout: &Layout, asked: &Asked) -> Result<Self, Failure> {
        let path = layout.settings_file();
        let settings = match fs::read_to_string(&path) {
            Ok(text) => {
                let found: Self = serde_yaml::from_str(&text).map_err(|error| {
                    Failure::usage(format!(
                        "{} can't be read: {error}. Put it right, or use another --dir",
                        path.display()
                    ))
                })?;
                found.same_as(asked, layout.given())?;
                found
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(asked),
            Err(error) => return Err(Failure::file(format!("can't read {}", path.display()), &error)),
        };
        settings.check()?;
        Ok(settings)
    }

    /// Writes them down, durably and whole.
    ///
    /// # Errors
    /// They can't be written; what was there is there still.
    pub fn save(&self, layout: &Layout) -> Result<(), Failure> {
        let path = layout.settings_file();
        let text = serde_yaml::to_string(self).expect("plain data can be written");
        write_atomically(&path, text.as_bytes(), Readers::Owner)
            .map_err(|error| Failure::file(format!("can't write {}", path.display()), &error))
    }

    fn make(asked: &Asked) -> Self {
        let nodes = asked.nodes.unwrap_or(NODES_DEFAULT);
        Self {
            name: format!("{CLUSTER}-{:06x}", rand::random::<u32>() >> 8),
            nodes,
            zones: asked.zones.unwrap_or(ZONES_DEFAULT.min(nodes)),
            replication: asked.replication.unwrap_or(REPLICAS_DEFAULT.min(nodes.try_into().unwrap_or(u8::MAX))),
            partitions: asked.partitions.unwrap_or(PARTITIONS_DEFAULT),
            port: asked.port.unwrap_or(crate::args::LOCAL_PORT),
            secret: format!("{:032x}", rand::random::<u128>()),
            tls: asked.tls,
            added: Vec::new(),
            left: Vec::new(),
            replacing: None,
        }
    }

    /// Refuses a directory that was made with other settings than asked for.
    fn same_as(&self, asked: &Asked, dir: &Path) -> Result<(), Failure> {
        let differs = |name: &str, found: u64, asked: Option<u64>| match asked {
            Some(asked) if asked != found => Some(format!("--{name} {found}, not {asked}")),
            _ => None,
        };
        let differences: Vec<String> = [
            differs("nodes", self.nodes.into(), asked.nodes.map(Into::into)),
            differs("zones", self.zones.into(), asked.zones.map(Into::into)),
            differs("replication", self.replication.into(), asked.replication.map(Into::into)),
            differs("partitions", self.partitions.into(), asked.partitions.map(Into::into)),
            differs("port", self.port.into(), asked.port.map(Into::into)),
            (asked.tls && !self.tls).then(|| "plaintext, not --tls".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if differences.is_empty() {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{dir} was made with {}. Leave these flags out to reopen its data, or use another --dir",
            differences.join(", "),
            dir = dir.display()
        )))
    }

    fn check(&self) -> Result<(), Failure> {
        let refuse = |message: String| Err(Failure::usage(message));
        if !(1..=100).contains(&self.nodes) {
            return refuse(format!("--nodes {}: 1 to 100", self.nodes));
        }
        if self.zones == 0 || self.zones > self.nodes.min(26) {
            return refuse(format!("--zones {}: 1 to the number of nodes, at most 26", self.zones));
        }
        if self.replication == 0 || u16::from(self.replication) > self.nodes.min(16) {
            return refuse(format!("--replication {}: 1 to the number of nodes, at most 16", self.replication));
        }
        if !self.partitions.is_power_of_two() || self.partitions > 65536 {
            return refuse(format!("--partitions {}: a power of two, at most 65536", self.partitions));
        }
        if self.partitions < u32::from(self.nodes) {
            return refuse(format!("--partitions {}: at least one for each of {} nodes", self.partitions, self.nodes));
        }
        if self.port == 0 || u32::from(self.port) + 2000 + u32::from(self.nodes) > 65536 {
            return refuse(format!("--port {}: 1 to {}", self.port, 63536 - u32::from(self.nodes)));
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Member<'a> {
    name: &'a str,
    zone: &'a str,
    address: String,
    client_address: String,
    weight: u32,
}

/// What nodes are started with beside what the directory was made with: it may differ from start to start.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--durability`
    pub durability: String,
    /// `--set`: section.key=value
    pub sets: Vec<String>,
}

/// The configuration of one node. `cluster.members` are the founders, whoever is there now; the others find those that are
/// there through `cluster.seeds`.
///
/// # Errors
/// A `--set` that is not of this form, or certificates that can't be made.
pub fn node_yaml(settings: &Settings, layout: &Layout, plan: &NodePlan, flags: &Flags) -> Result<String, Failure> {
    let founders = settings.founders(layout);
    let members: Vec<Member> = founders
        .iter()
        .map(|plan| Member {
            name: &plan.id,
            zone: &plan.zone,
            address: plan.peer(),
            client_address: plan.client(),
            weight: plan.weight,
        })
        .collect();
    let present = settings.present(layout);
    let seeds: Vec<String> = present.iter().filter(|other| other.id != plan.id).map(NodePlan::peer).collect();
    let mut document = serde_json::json!({
        "cluster": {
            "name": settings.name, "secret": settings.secret, "replication": settings.replication,
            "partitions": settings.partitions, "members": members, "seeds": seeds,
        },
        "node": {
            "name": plan.id, "zone": plan.zone, "data_dir": plan.dir.join("data"),
            "client_listen": plan.client(), "peer_listen": plan.peer(), "http_listen": plan.http(),
        },
        "storage": { "durability": flags.durability },
        "log": { "format": "text", "level": "info" },
        "tls": match settings.tls {
            true => Authority::open(layout, &settings.name)?.node(plan)?,
            false => serde_json::json!({ "mode": "plaintext" }),
        },
    });
    if !founders.contains(plan) {
        document["node"]["weight"] = plan.weight.into();
        document["node"]["advertise_client"] = plan.client().into();
        document["node"]["advertise_peer"] = plan.peer().into();
    }
    let mut document = serde_yaml::to_value(document).expect("plain data can be converted");
    for set in &flags.sets {
        apply_set(&mut document, set)?;
    }
    Ok(serde_yaml::to_string(&document).expect("plain data can be written"))
}

fn apply_set(document: &mut Value, set: &str) -> Result<(), Failure> {
    let wrong = |why: &str| Failure::usage(format!("--set {set}: {why}"));
    let (path, value) = set.split_once('=').ok_or_else(|| wrong("expected section.key=value"))?;
    let value: Value = serde_yaml::from_str(value).map_err(|error| wrong(&error.to_string()))?;
    let mut place = document;
    for part in path.split('.') {
        if part.is_empty() {
            return Err(wrong("expected section.key=value"));
        }
        let mapping = place.as_mapping_mut().ok_or_else(|| wrong("no such key"))?;
        place = mapping.entry(part.into()).or_insert_with(|| Value::Mapping(Mapping::new()));
    }
    *place = value;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(dir: &tempfile::TempDir) -> Layout {
        Layout::new(dir.path()).unwrap()
    }

    #[test]
    fn a_directory_reopens_with_what_it_was_made_with_also_without_the_flags() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Asked { nodes: Some(4), port: Some(9000), ..Default::default() };
        let made = Settings::open(&layout(&dir), &asked).unwrap();
        made.save(&layout(&dir)).unwrap();
        assert_eq!((made.nodes, made.zones, made.replication, made.port), (4, 3, 3, 9000));
        assert_eq!(made.secret.len(), 32);
        assert_eq!(Settings::open(&layout(&dir), &Asked::default()).unwrap(), made);
        assert_eq!(Settings::open(&layout(&dir), &asked).unwrap(), made);
    }

    #[test]
    fn other_settings_than_the_directorys_are_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        Settings::open(&layout(&dir), &Asked::default()).unwrap().save(&layout(&dir)).unwrap();
        let asked = Asked { nodes: Some(3), port: Some(7500), ..Default::default() };
        let Err(Failure::Told(_, message)) = Settings::open(&layout(&dir), &asked) else { panic!("taken") };
        assert!(message.contains("--nodes 5, not 3") && message.contains("--port 7400, not 7500"), "{message}");
        assert!(message.contains("another --dir"), "{message}");
    }

    #[test]
    fn a_directory_speaks_tls_for_ever_or_never() {
        let dir = tempfile::tempdir().unwrap();
        let tls = Asked { tls: true, ..Default::default() };
        Settings::open(&layout(&dir), &tls).unwrap().save(&layout(&dir)).unwrap();
        assert!(
            Settings::open(&layout(&dir), &Asked::default()).unwrap().tls && dir.path().join("cluster.yaml").exists()
        );
        let plain = tempfile::tempdir().unwrap();
        Settings::open(&layout(&plain), &Asked::default()).unwrap().save(&layout(&plain)).unwrap();
        assert!(!fs::read_to_string(plain.path().join("cluster.yaml")).unwrap().contains("tls"));
        let Err(Failure::Told(_, message)) = Settings::open(&layout(&plain), &tls) else { panic!("taken") };
        assert!(message.contains("plaintext, not --tls") && message.contains("another --dir"), "{message}");
    }

    #[test]
    fn settings_that_were_not_saved_bind_nobody() {
        let dir = tempfile::tempdir().unwrap();
        Settings::open(&layout(&dir), &Asked::default()).unwrap();
        let asked = Asked { port: Some(7500), ..Default::default() };
        assert_eq!(Settings::open(&layout(&dir), &asked).unwrap().port, 7500);
    }

    #[test]
    fn no_two_clusters_have_one_name_and_one_without_a_name_keeps_the_first() {
        let (one, other) = (Settings::make(&Asked::default()), Settings::make(&Asked::default()));
        assert_ne!(one.name, other.name);
        let dir = tempfile::tempdir().unwrap();
        let old = "nodes: 3\nzones: 3\nreplication: 3\npartitions: 256\nport: 7400\nsecret: abc\n";
        fs::write(dir.path().join("cluster.yaml"), old).unwrap();
        assert_eq!(Settings::open(&layout(&dir), &Asked::default()).unwrap().name, "local");
    }

    #[test]
    fn a_half_written_settings_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cluster.yaml"), "nodes: 5\nzo").unwrap();
        assert!(matches!(Settings::open(&layout(&dir), &Asked::default()), Err(Failure::Told(..))));
    }

    #[test]
    fn small_clusters_get_settings_that_work_and_impossible_ones_are_refused() {
        let one = Settings::make(&Asked { nodes: Some(1), ..Default::default() });
        assert_eq!((one.zones, one.replication), (1, 1));
        assert!(one.check().is_ok());
        for asked in [
            Asked { nodes: Some(0), ..Default::default() },
            Asked { nodes: Some(2), replication: Some(3), ..Default::default() },
            Asked { zones: Some(9), ..Default::default() },
            Asked { partitions: Some(100), ..Default::default() },
            Asked { partitions: Some(4), ..Default::default() },
            Asked { port: Some(64000), ..Default::default() },
        ] {
            assert!(Settings::make(&asked).check().is_err(), "{asked:?}");
        }
    }

    fn written(layout: &Layout, settings: &Settings, plan: &NodePlan, sets: &[&str]) -> Result<Value, Failure> {
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        let text = node_yaml(settings, layout, plan, &Flags { durability: "fsync".into(), sets })?;
        Ok(serde_yaml::from_str(&text).unwrap())
    }

    #[test]
    fn the_nodes_file_holds_all_members_and_what_was_set() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, settings) = (layout(&dir), Settings::make(&Asked::default()));
        let plan = &settings.founders(&layout)[1];
        let document =
            written(&layout, &settings, plan, &["limits.key_bytes=100", "storage.durability=interval"]).unwrap();
        assert_eq!(document["cluster"]["members"].as_sequence().unwrap().len(), 5);
        assert_eq!(document["node"]["client_listen"], "127.0.0.1:7401");
        assert_eq!(document["limits"]["key_bytes"], 100);
        assert_eq!(document["storage"]["durability"], "interval");
        // A secret of digits only must not come back as a number.
        assert!(document["cluster"]["secret"].is_string());
        for bad in ["x", ".=1", "node.name.x=1", "storage.x=[1"] {
            assert!(written(&layout, &settings, plan, &[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_node_s_file_is_one_that_a_node_takes_and_members_are_the_founders_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(&dir);
        let settings = Settings::make(&Asked::default()).with_added(Some("attic".into()), 2, |_| true).unwrap();
        let settings = settings.without("node-1", "x".into());
        let flags = Flags { durability: "fsync".into(), sets: Vec::new() };
        for plan in settings.present(&layout) {
            let text = node_yaml(&settings, &layout, &plan, &flags).unwrap();
            let config = dynamo_node::config::load(Some(("node.yaml", &text)), [], &[]).unwrap();
            assert_eq!(config.cluster.members.len(), 5);
            assert_eq!(config.cluster.seeds.len(), 4, "all that are there but itself");
            assert!(!config.cluster.seeds.contains(&"127.0.0.1:8400".to_owned()), "node-1 has left");
            let this = config.this_node();
            assert_eq!((this.name, this.zone, this.weight), (plan.id.clone(), plan.zone.clone(), plan.weight));
            assert_eq!((this.address, this.client_address), (plan.peer(), plan.client()));
        }
    }
}
