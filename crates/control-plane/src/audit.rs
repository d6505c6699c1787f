//! Who wrote what, from the API server's audit log.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use serde::Deserialize;
use serde_json::{Value, json};

/// A moment in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

/// A request that writes, whatever became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Whose it is, such as `system:serviceaccount:dynamo:operator`.
    pub user: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// What is written, with its subresource if it is one, such as `dynamoclusters/status`.
    pub resource: String,
    /// Empty for what is in none.
    pub namespace: String,
    /// Empty for what is created: the log has it in the object alone.
    pub name: String,
    /// The answer; nothing: there is none yet.
    pub code: Option<u16>,
}

/// Writes, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Writes(pub Vec<Write>);

impl Writes {
    /// Those of one user.
    pub fn of(&self, user: &str) -> Self {
        self.that(|write| write.user == user)
    }

    /// Those for which this holds.
    pub fn that(&self, holds: impl Fn(&Write) -> bool) -> Self {
        Self(self.0.iter().filter(|write| holds(write)).cloned().collect())
    }

    /// How many each user sent of each resource.
    pub fn counted(&self) -> BTreeMap<(&str, &str), usize> {
        let mut counted = BTreeMap::new();
        for write in &self.0 {
            *counted.entry((&write.user[..], &write.resource[..])).or_default() += 1;
        }
        counted
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Write { user, verb, resource, namespace, name, code, .. } in &self.0 {
            let code = code.map_or("no answer yet".to_owned(), |code| code.to_string());
            writeln!(f, "{user}: {verb} {resource} {namespace}/{name}: {code}")?;
        }
        Ok(())
    }
}

const READS: [&str; 3] = ["get", "list", "watch"];

/// What the API server logs: writes, without what stands in them, and what these users read. Questions about rights and tokens
/// are sent as if they were writes, and nothing is written.
pub fn policy(readers: &[&str]) -> Value {
    let mut rules = vec![
        json!({
            "level": "None",
            "resources": [{ "group": "authentication.k8s.io" }, { "group": "authorization.k8s.io" }],
        }),
        json!({ "level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"] }),
    ];
    if !readers.is_empty() {
        rules.push(json!({ "level": "Metadata", "users": readers, "verbs": READS }));
    }
    json!({ "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules })
}

/// A line of the log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    id: String,
    stage: String,
    verb: String,
    user: User,
    #[serde(rename = "requestURI")]
    uri: String,
    object_ref: Option<Object>,
    response_status: Option<Response>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Response {
    code: Option<u16>,
}

/// The end of the log. Its last line may be half written, and is then after this moment.
pub fn mark(log: &Path) -> Mark {
    Mark(u64::try_from(whole_lines(&read(log, 0)).len()).expect("a size"))
}

/// The writes that came after a moment.
pub fn since(log: &Path, mark: Mark) -> Writes {
    all_since(log, mark).that(|request| !is_read(request))
}

/// The reads that came after a moment, of those whose reads are logged.
pub fn reads_since(log: &Path, mark: Mark) -> Writes {
    all_since(log, mark).that(is_read)
}

fn is_read(request: &Write) -> bool {
    READS.contains(&request.verb.as_str())
}

fn all_since(log: &Path, mark: Mark) -> Writes {
    let text = read(log, mark.0);
    let event = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("no event, {error}: {line}"));
    requests(whole_lines(&text).lines().map(event))
}

fn read(log: &Path, from: u64) -> String {
    let mut text = String::new();
    let read = fs::File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_string(&mut text)
    });
    read.unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    text
}

fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}

/// Each request once: it is logged when it comes, and again when it is answered.
fn requests(events: impl Iterator<Item = Event>) -> Writes {
    let mut found: Vec<Write> = vec![];
    let mut places = BTreeMap::new();
    for event in events.filter(|event| !event.uri.contains("dryRun=All")) {
        if event.stage == "RequestReceived" {
            places.insert(event.id.clone(), found.len());
            found.push(request(event));
        } else if let Some(place) = places.get(&event.id) {
            found[*place].code = event.response_status.and_then(|status| status.code);
        }
    }
    Writes(found)
}

fn request(event: Event) -> Write {
    let object = event.object_ref.unwrap_or_default();
    let resource = match &object.subresource[..] {
        "" => object.resource,
        subresource => format!("{}/{subresource}", object.resource),
    };
    Write {
        user: event.user.username,
        verb: event.verb,
        group: object.api_group,
        resource,
        namespace: object.namespace,
        name: object.name,
        code: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, stage: &str, more: &str) -> String {
        let verb = if more.contains("watch") { "watch" } else { "patch" };
        format!(
            r#"{{"auditID":"{id}","stage":"{stage}","verb":"{verb}","user":{{"username":"u"}},"requestURI":"/x{more}",
               "objectRef":{{"resource":"pods","subresource":"status","namespace":"n","name":"p"}},
               "responseStatus":{{"code":200}}}}"#
        )
        .replace('\n', "")
            + "\n"
    }

    #[test]
    fn a_request_counts_once_and_a_dry_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let before = event("1", "RequestReceived", "");
        let text = [
            &before[..],
            &event("1", "ResponseComplete", ""),
            &event("2", "RequestReceived", ""),
            &event("3", "RequestReceived", "?dryRun=All"),
            &event("3", "ResponseComplete", "?dryRun=All"),
            &event("2", "ResponseComplete", ""),
            &event("4", "RequestReceived", ""),
            "{\"half",
        ];
        fs::write(&log, text.concat()).unwrap();
        let all = since(&log, Mark(0));
        assert_eq!(all.0.iter().map(|write| write.code).collect::<Vec<_>>(), [Some(200), Some(200), None]);
        assert_eq!(all.counted(), [(("u", "pods/status"), 3)].into());
        assert_eq!(since(&log, Mark(before.len() as u64)).len(), 2, "what came before is counted again");
        assert!(since(&log, mark(&log)).is_empty());
    }

    #[test]
    fn a_read_is_no_write() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let stages = ["RequestReceived", "ResponseStarted"].map(|stage| event("1", stage, "?watch=1"));
        fs::write(&log, stages.concat() + &event("2", "RequestReceived", "")).unwrap();
        assert_eq!((since(&log, Mark(0)).len(), reads_since(&log, Mark(0)).len()), (1, 1));
    }
}
