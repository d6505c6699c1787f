//! Which nodes a local cluster has: the founders, those that were added, those that have left. Kept in DIR/cluster.yaml,
//! written before anything is done, so that whatever is interrupted is completed by the same command run again.
//!
//! The founders are `cluster.members` of every node for ever: that list never changes once a cluster exists.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    layout::{Layout, NodePlan},
    settings::Settings,
};
use crate::failure::Failure;

/// Peers' ports begin so much above clients': there is no room for more nodes.
const NODES_MAX: u16 = 1000;
/// The ring takes no longer ones.
const ZONE_BYTES: usize = 253;

/// A node that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Added {
    /// It is node-NUMBER.
    pub number: u16,
    pub zone: String,
    pub weight: u32,
    /// For clients.
    pub port: u16,
    /// Not known to be a member of the ring yet.
    #[serde(default)]
    pub joining: bool,
}

/// A node that has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// It was node-NUMBER; no other is ever called so.
    pub number: u16,
    /// Its directory has this name now.
    pub kept: String,
}

/// A node that is being filled anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacing {
    pub id: String,
    /// The directory that it had has this name now.
    pub kept: String,
}

/// node-1 and so on.
pub fn id_of(number: u16) -> String {
    format!("node-{number}")
}

impl Settings {
    /// The founders, whether they are there or not.
    pub fn founders(&self, layout: &Layout) -> Vec<NodePlan> {
        let port = |number| self.port + number - 1;
        (1..=self.nodes).map(|number| layout.plan(number, self.zone_of(number), 1, port(number))).collect()
    }

    /// The nodes that are there.
    pub fn present(&self, layout: &Layout) -> Vec<NodePlan> {
        let mut plans = self.founders(layout);
        plans.retain(|plan| self.kept_of(&plan.id).is_none());
        plans.extend(self.added.iter().map(|added| {
            let Added { number, zone, weight, port, .. } = added;
            layout.plan(*number, zone.clone(), *weight, *port)
        }));
        plans
    }

    /// Zones go round.
    fn zone_of(&self, number: u16) -> String {
        let letter = char::from(b'a' + u8::try_from((number - 1) % self.zones).expect("at most 26 zones"));
        format!("zone-{letter}")
    }

    /// The node that is being added, if there is one.
    pub fn joining(&self) -> Option<&Added> {
        self.added.iter().find(|added| added.joining)
    }

    /// The name of the directory that a node which has left had.
    pub fn kept_of(&self, id: &str) -> Option<&str> {
        self.left.iter().find(|left| id_of(left.number) == id).map(|left| left.kept.as_str())
    }

    /// With another node, on the first free ports, under a number that none has ever had.
    ///
    /// # Errors
    /// A zone that can't be, or no ports left.
    pub fn with_added(
        &self,
        zone: Option<String>,
        weight: u32,
        is_free: impl Fn(u16) -> bool,
    ) -> Result<Self, Failure> {
        let numbers = self.added.iter().map(|added| added.number).chain(self.left.iter().map(|left| left.number));
        let number = numbers.max().unwrap_or(0).max(self.nodes) + 1;
        let zone = zone.unwrap_or_else(|| self.zone_of(number));
        if zone.is_empty() || zone.len() > ZONE_BYTES {
            return Err(Failure::usage(format!("--zone {zone:?}: 1 to {ZONE_BYTES} bytes. No node was added")));
        }
        let after = self.port.saturating_add(NODES_MAX).min(u16::MAX - 2 * NODES_MAX);
        let unused = |port: &u16| self.added.iter().all(|added| added.port != *port) && is_free(*port);
        let Some(port) = (self.port + self.nodes..after).find(unused) else {
            return Err(Failure::usage(format!(
                "no ports are free from {} to {}, and 1000 and 2000 above: no node was added",
                self.port + self.nodes,
                after
            )));
        };
        let mut with = self.clone();
        with.added.push(Added { number, zone, weight, port, joining: true });
        Ok(with)
    }

    /// With this node a member.
    pub fn with_joined(&self, id: &str) -> Self {
        let mut with = self.clone();
        with.added.iter_mut().filter(|added| id_of(added.number) == id).for_each(|added| added.joining = false);
        with
    }

    /// Without this node, whose directory is kept under another name.
    pub fn without(&self, id: &str, kept: String) -> Self {
        let mut with = self.clone();
        let founders = 1..=self.nodes;
        let number = self.added.iter().map(|added| added.number).chain(founders).find(|number| id_of(*number) == id);
        with.added.retain(|added| id_of(added.number) != id);
        with.left.extend(number.map(|number| Left { number, kept }));
        with.replacing = with.replacing.filter(|replacing| replacing.id != id);
        with
    }

    /// Moves directories of nodes that have left, or are filled anew, out of the way: what a crash left undone.
    ///
    /// # Errors
    /// One can't be moved.
    pub fn tidy(&self, layout: &Layout) -> Result<(), Failure> {
        let left = self.left.iter().map(|left| (id_of(left.number), &left.kept));
        let replaced = self.replacing.iter().map(|replacing| (replacing.id.clone(), &replacing.kept));
        for (id, kept) in left.chain(replaced) {
            let (from, to) = (layout.node_dir(&id), layout.node_dir(kept));
            if to.exists() {
                continue;
            }
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::file(format!("can't move {} to {}", from.display(), to.display()), &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The name that a node's directory gets, and the whole path.
pub fn kept_as(layout: &Layout, id: &str, why: &str, unix_s: u64) -> (String, PathBuf) {
    // The same node may be replaced twice in a second.
    let names = (0..).map(|more: u64| format!("{id}.{why}-{}", unix_s + more));
    let mut free = names.filter(|name| !layout.node_dir(name).exists());
    let name = free.next().expect("there are numbers enough");
    let path = layout.node_dir(&name);
    (name, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::settings::Asked;

    fn cluster() -> (tempfile::TempDir, Layout, Settings) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let settings = Settings::open(&layout, &Asked::default()).unwrap();
        (dir, layout, settings)
    }

    fn ids(plans: &[NodePlan]) -> Vec<&str> {
        plans.iter().map(|plan| plan.id.as_str()).collect()
    }

    #[test]
    fn added_nodes_go_on_with_numbers_zones_and_ports_and_no_number_comes_back() {
        let (_dir, layout, settings) = cluster();
        let taken = 7405;
        let one = settings.with_added(None, 1, |port| port != taken).unwrap();
        let two = one.with_added(Some("attic".into()), 3, |port| port != taken).unwrap();
        let (first, second) = (&two.added[0], &two.added[1]);
        assert_eq!((first.number, first.zone.as_str(), first.port), (6, "zone-c", 7406));
        assert_eq!((second.number, second.zone.as_str(), second.weight, second.port), (7, "attic", 3, 7407));
        let again = two.without("node-7", "x".into()).with_added(None, 1, |_| true).unwrap();
        assert_eq!((again.added[1].number, again.added[1].port), (8, taken));
        assert_eq!(
            ids(&again.present(&layout)),
            ["node-1", "node-2", "node-3", "node-4", "node-5", "node-6", "node-8"]
        );
        assert!(settings.with_added(None, 1, |_| false).is_err());
        assert!(settings.with_added(Some(String::new()), 1, |_| true).is_err());
    }

    #[test]
    fn a_founder_that_has_left_is_a_founder_still() {
        let (_dir, layout, settings) = cluster();
        let without = settings.without("node-2", "node-2.left-1".into());
        assert_eq!(ids(&without.present(&layout)), ["node-1", "node-3", "node-4", "node-5"]);
        assert_eq!(without.founders(&layout), settings.founders(&layout));
        assert_eq!(without.kept_of("node-2"), Some("node-2.left-1"));
        assert_eq!(without.kept_of("node-20"), None);
    }

    #[test]
    fn what_was_recorded_is_there_when_the_directory_is_opened_again() {
        let (_dir, layout, settings) = cluster();
        let changed = settings.with_added(None, 2, |_| true).unwrap().without("node-1", "node-1.left-5".into());
        changed.save(&layout).unwrap();
        assert_eq!(Settings::open(&layout, &Asked::default()).unwrap(), changed);
        assert_eq!(changed.joining().unwrap().number, 6);
        let joined = changed.with_joined("node-6");
        joined.save(&layout).unwrap();
        assert!(Settings::open(&layout, &Asked::default()).unwrap().joining().is_none());
    }

    #[test]
    fn a_directory_that_a_crash_left_in_place_is_moved_once_and_nothing_is_written_over() {
        let (_dir, layout, settings) = cluster();
        let (name, kept) = kept_as(&layout, "node-1", "left", 17);
        assert_eq!(name, "node-1.left-17");
        let without = settings.without("node-1", name);
        fs::create_dir_all(layout.node_dir("node-1").join("data")).unwrap();
        without.tidy(&layout).unwrap();
        assert!(kept.join("data").exists() && !layout.node_dir("node-1").exists());
        without.tidy(&layout).unwrap();
        assert_eq!(kept_as(&layout, "node-1", "left", 17).0, "node-1.left-18");

        let mut replacing = settings;
        replacing.replacing = Some(Replacing { id: "node-2".into(), kept: "node-2.replaced-1".into() });
        fs::create_dir_all(layout.node_dir("node-2")).unwrap();
        replacing.tidy(&layout).unwrap();
        // The one that is filled now stays where it is.
        fs::create_dir_all(layout.node_dir("node-2")).unwrap();
        replacing.tidy(&layout).unwrap();
        assert!(layout.node_dir("node-2").exists() && layout.node_dir("node-2.replaced-1").exists());
    }
}
