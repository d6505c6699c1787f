//! A case as documents.

use serde_json::{Value, json};

use crate::cases::Case;

/// The resource that is applied.
pub fn resource(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{}/{}", dynamo_crd::GROUP, dynamo_crd::VERSION),
        "kind": "DynamoCluster",
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// Whether what was said of a case is what should be said: nothing, or the message of the rule that it breaks.
pub fn judge(judge: &str, case: &Case, said: &Result<(), String>) -> Result<(), String> {
    let Case { what, spec, before, .. } = case;
    let about = format!("{what}: {spec} over {before:?}");
    match (said, case.breaks) {
        (Ok(()), None) => Ok(()),
        (Err(said), Some(check)) if said.contains(check.message) => Ok(()),
        (Ok(()), Some(check)) => Err(format!("{judge} takes it, although it breaks {:?}: {about}", check.name)),
        (Err(said), None) => Err(format!("{judge} refuses it: {about}\n    {said}")),
        (Err(said), Some(check)) => {
            Err(format!("{judge} refuses it, but not for {:?}: {about}\n    {said}", check.name))
        }
    }
}

/// Fails with all that was found.
pub fn conclude(cases: usize, wrong: &[String]) {
    assert!(wrong.is_empty(), "{} of {cases} cases:\n- {}", wrong.len(), wrong.join("\n- "));
}
