//! How the planner's records are written into Kubernetes' objects: the turn and the founders as a ConfigMap's data, a claim's
//! mark as an annotation.
//!
//! People may edit such objects. What can't be read is an error that says what is wrong; nothing is guessed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use crate::{
    names::PodId,
    observed::{Founders, Mark},
    turn::{Turn, Work},
};

/// A ConfigMap's data.
pub type Data = BTreeMap<String, String>;

/// A record that can't be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError(String);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: nothing was changed; undo what was edited by hand", self.0)
    }
}

impl std::error::Error for RecordError {}

fn wrong(what: &str, text: &str) -> RecordError {
    RecordError(format!("{text:?} is no {what}"))
}

impl FromStr for PodId {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<PodId, RecordError> {
        let (set, ordinal) = text.rsplit_once('-').ok_or_else(|| wrong("pod's name", text))?;
        let ordinal = number(ordinal).map_err(|_| wrong("pod's name", text))?;
        if set.is_empty() || set.contains(char::is_whitespace) {
            return Err(wrong("pod's name", text));
        }
        Ok(PodId { set: set.to_owned(), ordinal })
    }
}

/// Digits as they are written here, so that what is read is written the same again.
fn number<T: FromStr + fmt::Display>(text: &str) -> Result<T, RecordError> {
    let number: T = text.parse().map_err(|_| wrong("number", text))?;
    if number.to_string() == text { Ok(number) } else { Err(wrong("number", text)) }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Left { incarnation, kept: false } => write!(f, "left {incarnation}"),
            Mark::Left { incarnation, kept: true } => write!(f, "left {incarnation} kept"),
            Mark::NeverJoined => f.write_str("never-joined"),
            Mark::Lost => f.write_str("lost"),
        }
    }
}

impl FromStr for Mark {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Mark, RecordError> {
        match text.split(' ').collect::<Vec<_>>().as_slice() {
            ["left", life] => Ok(Mark::Left { incarnation: number(life)?, kept: false }),
            ["left", life, "kept"] => Ok(Mark::Left { incarnation: number(life)?, kept: true }),
            ["never-joined"] => Ok(Mark::NeverJoined),
            ["lost"] => Ok(Mark::Lost),
            _ => Err(wrong("mark", text)),
        }
    }
}

/// The founders, as `<cluster>-founders` has them.
pub fn founders_to_data(founders: &Founders) -> Data {
    founders.zones.iter().map(|(zone, count)| (zone.clone(), count.to_string())).collect()
}

/// The founders of a ConfigMap.
///
/// # Errors
/// A count that is none.
pub fn founders_of_data(data: &Data) -> Result<Founders, RecordError> {
    let zones = data.iter().map(|(zone, count)| Ok((zone.clone(), number(count)?)));
    Ok(Founders { zones: zones.collect::<Result<_, RecordError>>()? })
}

/// The turn that stands, or the last one's number, as `<cluster>-turn` has them.
pub fn turn_to_data(last: u64, turn: Option<&Turn>) -> Data {
    let mut data = Data::from([("last".to_owned(), last.to_string())]);
    let Some(turn) = turn else { return data };
    let mut put = |key: &str, value: String| {
        data.insert(key.to_owned(), value);
    };
    match &turn.work {
        Work::Restart { pods, template } => {
            put("work", "restart".to_owned());
            put("template", template.clone());
            put("pods", pods.iter().map(|(pod, uid)| format!("{pod}={uid}")).collect::<Vec<_>>().join(" "));
        }
        Work::Ring => put("work", "ring".to_owned()),
        Work::Shrink { pods } => {
            put("work", "shrink".to_owned());
            put("pods", pods.iter().map(PodId::to_string).collect::<Vec<_>>().join(" "));
        }
        Work::Replace { pod, claim, incarnation } => {
            put("work", "replace".to_owned());
            put("pods", format!("{pod}={claim}"));
            put("incarnation", incarnation.to_string());
        }
    }
    data
}

/// What a ConfigMap says: the last turn's number, and the turn that stands.
///
/// # Errors
/// It can't be read.
pub fn turn_of_data(data: &Data) -> Result<(u64, Option<Turn>), RecordError> {
    let get = |key: &str| data.get(key).ok_or_else(|| RecordError(format!("the turn has no {key:?}")));
    let last = number(get("last")?)?;
    let Some(work) = data.get("work") else { return Ok((last, None)) };
    let names = || Ok::<_, RecordError>(get("pods")?.split(' ').filter(|name| !name.is_empty()));
    let work = match work.as_str() {
        "restart" => {
            let pods = names()?.map(pair).collect::<Result<_, _>>()?;
            Work::Restart { pods, template: get("template")?.clone() }
        }
        "ring" => Work::Ring,
        "shrink" => Work::Shrink { pods: names()?.map(str::parse).collect::<Result<BTreeSet<_>, _>>()? },
        "replace" => {
            let (pod, claim) = pair(get("pods")?)?;
            Work::Replace { pod, claim, incarnation: number(get("incarnation")?)? }
        }
        other => return Err(wrong("work of a turn", other)),
    };
    Ok((last, Some(Turn { id: last, work })))
}

fn pair(text: &str) -> Result<(PodId, String), RecordError> {
    let (pod, uid) = text.split_once('=').ok_or_else(|| wrong("pod with a uid", text))?;
    Ok((pod.parse()?, uid.to_owned()))
}
