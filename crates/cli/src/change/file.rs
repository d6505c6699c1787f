//! A plan that is kept: the edits and the version that they were planned on, as YAML that a person can read and review.

use std::{fs, path::Path};

use dynamo_wire::v1::{
    JoinEdit, LeaveEdit, RemoveEdit, ReplaceEdit, RingEdit, UpdateEdit,
    ring_edit::Edit::{Join, Leave, Remove, Replace, Update},
};
use serde::{Deserialize, Serialize};

use super::meant::Meant;
use crate::{
    failure::Failure,
    local::layout::{Readers, write_atomically},
};

const HEAD: &str =
    "# A planned change of the ring. `dynamo ring apply --plan FILE` applies it to the version of the ring that
# it was planned on, and refuses it when the ring has changed since.
";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    version: u64,
    #[serde(default)]
    allow_fewer_than_n: bool,
    #[serde(default)]
    accept_loss: bool,
    #[serde(with = "serde_yaml::with::singleton_map_recursive")]
    edits: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Entry {
    Join {
        node: String,
        #[serde(default, skip_serializing_if = "is_unset")]
        weight: u32,
    },
    Leave {
        node: String,
    },
    Replace {
        node: String,
        with: String,
    },
    Remove {
        node: String,
    },
    Update {
        node: String,
        #[serde(default, skip_serializing_if = "is_unset")]
        weight: u32,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        zone: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_unset(weight: &u32) -> bool {
    *weight == 0
}

/// What a file holds.
pub struct Kept {
    /// The version that it was planned on.
    pub version: u64,
    /// What is meant by it.
    pub meant: Meant,
    /// What is to change.
    pub edits: Vec<RingEdit>,
}

/// Reads a plan.
///
/// # Errors
/// It can't be read, or is no plan.
pub fn read(path: &Path) -> Result<Kept, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("the plan {shown} can't be read: {error}. Nothing was changed; check the path"))
    })?;
    let file: PlanFile = serde_yaml::from_str(&text).map_err(|error| {
        Failure::usage(format!(
            "{shown} is no plan: {error}. Nothing was changed; make one with `dynamo ring plan --out`"
        ))
    })?;
    if file.version == 0 || file.edits.is_empty() {
        return Err(Failure::usage(format!(
            "{shown} is no plan: it names no version, or no edits. Nothing was changed; make one with `dynamo ring plan --out`"
        )));
    }
    let edits = file.edits.into_iter().map(to_wire).collect();
    let PlanFile { version, allow_fewer_than_n, accept_loss, .. } = file;
    Ok(Kept { version, meant: Meant { allow_fewer_than_n, accept_loss }, edits })
}

/// Writes a plan.
///
/// # Errors
/// It can't be written.
pub fn write(path: &Path, kept: &Kept) -> Result<(), Failure> {
    let edits = kept.edits.iter().filter_map(of_wire).collect();
    let Meant { allow_fewer_than_n, accept_loss } = kept.meant;
    let file = PlanFile { version: kept.version, allow_fewer_than_n, accept_loss, edits };
    let text = HEAD.to_owned() + &serde_yaml::to_string(&file).expect("plain data can be written");
    write_atomically(path, text.as_bytes(), Readers::All)
        .map_err(|error| Failure::file(format!("can't write {}", path.display()), &error))
}

fn to_wire(entry: Entry) -> RingEdit {
    RingEdit {
        edit: Some(match entry {
            Entry::Join { node, weight } => Join(JoinEdit { node, weight }),
            Entry::Leave { node } => Leave(LeaveEdit { node }),
            Entry::Replace { node, with } => Replace(ReplaceEdit { node, with }),
            Entry::Remove { node } => Remove(RemoveEdit { node }),
            Entry::Update { node, weight, zone } => Update(UpdateEdit { node, weight, zone }),
        }),
    }
}

fn of_wire(edit: &RingEdit) -> Option<Entry> {
    Some(match edit.edit.clone()? {
        Join(JoinEdit { node, weight }) => Entry::Join { node, weight },
        Leave(LeaveEdit { node }) => Entry::Leave { node },
        Replace(ReplaceEdit { node, with }) => Entry::Replace { node, with },
        Remove(RemoveEdit { node }) => Entry::Remove { node },
        Update(UpdateEdit { node, weight, zone }) => Entry::Update { node, weight, zone },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_as_it_was_kept_and_reads_well() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.yaml");
        let entries = vec![
            Entry::Join { node: "node-6".into(), weight: 2 },
            Entry::Join { node: "7".into(), weight: 0 },
            Entry::Leave { node: "null".into() },
            Entry::Replace { node: "a".into(), with: "b".into() },
            Entry::Remove { node: "c".into() },
            Entry::Update { node: "d".into(), weight: 0, zone: "zone-b".into() },
        ];
        let meant = Meant { allow_fewer_than_n: true, accept_loss: true };
        let edits: Vec<RingEdit> = entries.into_iter().map(to_wire).collect();
        write(&path, &Kept { version: 12, meant, edits: edits.clone() }).unwrap();
        let kept = read(&path).unwrap();
        assert_eq!((kept.version, kept.meant, kept.edits), (12, meant, edits));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# A planned change") && text.contains("- join:\n    node: node-6\n"), "{text}");
    }

    #[test]
    fn what_is_no_plan_is_told_and_nothing_of_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.yaml");
        assert!(matches!(read(&path), Err(Failure::Told(_, message)) if message.contains("can't be read")));
        for text in [
            "",
            "version: 1",
            "version: 0\nedits: [{leave: {node: a}}]",
            "version: 1\nedits: []",
            "version: 1\nedits: [{explode: {node: a}}]",
            "version: 1\nedits: [{leave: {node: a}}]\nmore: 1",
        ] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(Failure::Told(_, message)) if message.contains("is no plan")), "{text}");
        }
    }
}
