//! What is to become of which node: from flags, and back to flags for a command that can be copied.

use clap::Args;
use dynamo_wire::v1::{
    JoinEdit, LeaveEdit, RemoveEdit, ReplaceEdit, RingEdit, UpdateEdit,
    ring_edit::Edit::{self, Join, Leave, Remove, Replace, Update},
};

use crate::failure::Failure;

/// The ring takes no greater one.
const WEIGHT_MAX: u32 = 1_000_000;

/// The flags. All of them together are one change.
#[derive(Debug, Clone, Default, Args)]
pub struct Edits {
    /// A node that runs and is no member yet gets its part; WEIGHT in place of its own
    #[arg(long = "join", value_name = "NODE[:WEIGHT]", value_parser = join)]
    joins: Vec<Edit>,
    /// A member that is up hands over all that it has
    #[arg(long = "leave", value_name = "NODE", value_parser = leave)]
    leaves: Vec<Edit>,
    /// A node that is no member takes the place of a member that is down
    #[arg(long = "replace", value_name = "OLD=NEW", value_parser = replace)]
    replacements: Vec<Edit>,
    /// A member that will never return is taken out; its part is filled from the other replicas
    #[arg(long = "remove", value_name = "NODE", value_parser = remove)]
    removals: Vec<Edit>,
    /// A member gets another weight
    #[arg(long = "weight", value_name = "NODE=WEIGHT", value_parser = reweigh)]
    weights: Vec<Edit>,
    /// A member is in another zone
    #[arg(long = "zone", value_name = "NODE=ZONE", value_parser = rezone)]
    zones: Vec<Edit>,
}

impl Edits {
    /// In the order of the flags' kinds; weight and zone of one member are one edit.
    pub fn list(&self) -> Vec<RingEdit> {
        let Self { joins, leaves, replacements, removals, weights, zones } = self;
        let mut edits: Vec<Edit> = [joins, leaves, replacements, removals].into_iter().flatten().cloned().collect();
        for edit in weights.iter().chain(zones) {
            let Update(update) = edit else { unreachable!("weights and zones are read as updates") };
            let same = edits.iter_mut().find_map(|edit| match edit {
                Update(known) if known.node == update.node => Some(known),
                _ => None,
            });
            match same {
                Some(known) if known.zone.is_empty() && update.weight == 0 => known.zone.clone_from(&update.zone),
                _ => edits.push(edit.clone()),
            }
        }
        edits.into_iter().map(|edit| RingEdit { edit: Some(edit) }).collect()
    }
}

/// One edit of each node, all of a kind.
pub fn each(nodes: &[String], edit: impl Fn(&str) -> Result<Edit, String>) -> Result<Vec<RingEdit>, Failure> {
    let edits = nodes.iter().map(|node| edit(node).map(|edit| RingEdit { edit: Some(edit) }));
    edits.collect::<Result<_, _>>().map_err(Failure::usage)
}

/// `NODE[:WEIGHT]`
pub fn join(text: &str) -> Result<Edit, String> {
    match text.rsplit_once(':') {
        Some((node, weight)) => Ok(Join(JoinEdit { node: name(node)?, weight: weigh(weight)? })),
        None => Ok(Join(JoinEdit { node: name(text)?, weight: 0 })),
    }
}

/// `NODE`
pub fn leave(text: &str) -> Result<Edit, String> {
    Ok(Leave(LeaveEdit { node: name(text)? }))
}

/// `NODE`
pub fn remove(text: &str) -> Result<Edit, String> {
    Ok(Remove(RemoveEdit { node: name(text)? }))
}

/// `OLD=NEW`
fn replace(text: &str) -> Result<Edit, String> {
    let (old, new) = pair(text, "OLD=NEW, the member that is down and the node that takes its place")?;
    Ok(Replace(ReplaceEdit { node: name(old)?, with: name(new)? }))
}

/// `NODE=WEIGHT`
fn reweigh(text: &str) -> Result<Edit, String> {
    let (node, weight) = pair(text, "NODE=WEIGHT, for example node-2=3")?;
    Ok(Update(UpdateEdit { node: name(node)?, weight: weigh(weight)?, zone: String::new() }))
}

/// `NODE=ZONE`
fn rezone(text: &str) -> Result<Edit, String> {
    let (node, zone) = pair(text, "NODE=ZONE, for example node-2=zone-c")?;
    Ok(Update(UpdateEdit { node: name(node)?, weight: 0, zone: name(zone)? }))
}

fn pair<'a>(text: &'a str, form: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once('=').ok_or_else(|| format!("expected {form}"))
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a name is empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn weigh(text: &str) -> Result<u32, String> {
    let weight = text.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    weight.ok_or_else(|| format!("{text:?} is no weight: a whole number from 1 to {WEIGHT_MAX}"))
}

/// The flags that say this, for a shell.
pub fn flags(edits: &[RingEdit]) -> String {
    let flags = edits.iter().filter_map(|edit| edit.edit.as_ref()).map(|edit| match edit {
        Join(JoinEdit { node, weight: 0 }) => format!("--join {}", word(node)),
        Join(JoinEdit { node, weight }) => format!("--join {}", word(&format!("{node}:{weight}"))),
        Leave(LeaveEdit { node }) => format!("--leave {}", word(node)),
        Replace(ReplaceEdit { node, with }) => format!("--replace {}", word(&format!("{node}={with}"))),
        Remove(RemoveEdit { node }) => format!("--remove {}", word(node)),
        Update(UpdateEdit { node, weight, zone }) => {
            let weight = (*weight > 0).then(|| format!("--weight {}", word(&format!("{node}={weight}"))));
            let zone = (!zone.is_empty()).then(|| format!("--zone {}", word(&format!("{node}={zone}"))));
            weight.into_iter().chain(zone).collect::<Vec<_>>().join(" ")
        }
    });
    flags.collect::<Vec<_>>().join(" ")
}

/// In quotes where a shell needs them.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=/".contains(&byte);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        edits: Edits,
    }

    fn edits(flags: &str) -> Vec<RingEdit> {
        Line::parse_from(["x"].into_iter().chain(flags.split_whitespace())).edits.list()
    }

    #[test]
    fn flags_become_edits_and_edits_the_same_flags() {
        for line in [
            "--join node-6",
            "--join node-6:2 --join node-7",
            "--leave node-1 --remove node-2",
            "--replace node-3=node-8",
            "--weight node-1=5",
            "--zone node-1=zone-b",
            "--weight node-1=5 --zone node-1=zone-b",
        ] {
            assert_eq!(flags(&edits(line)), line);
        }
    }

    #[test]
    fn weight_and_zone_of_one_member_are_one_edit() {
        assert_eq!(edits("--zone a=z --weight a=2 --weight b=3").len(), 2);
        assert_eq!(edits("--weight a=2 --weight a=3").len(), 2, "the cluster says what is wrong with that");
    }

    #[test]
    fn what_is_none_is_refused_with_what_was_expected() {
        for (line, says) in [
            ("--join node-6:heavy", "no weight"),
            ("--join node-6:0", "1 to 1000000"),
            ("--join :2", "empty"),
            ("--replace node-1", "OLD=NEW"),
            ("--weight node-1", "NODE=WEIGHT"),
            ("--weight node-1=-1", "no weight"),
            ("--zone node-1=", "empty"),
        ] {
            let error = Line::try_parse_from(["x"].into_iter().chain(line.split(' '))).err().unwrap().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn names_that_a_shell_would_take_apart_are_quoted() {
        assert_eq!(flags(&each(&["a b".into()], leave).unwrap()), "--leave 'a b'");
        assert_eq!(word("it's"), r"'it'\''s'");
    }
}
