//! The table before an evaluator of CEL in this process. It checks rules alone: what is absent has its default from our own
//! types, and bounds are not looked at.

use dynamo_crd::{DynamoCluster, definition_yaml_value};
use kube::core::cel::Validator;
use serde_json::Value;

use crate::{applied, cases};

/// As the API server would fill it up.
fn with_defaults(name: &str, spec: &Value) -> Value {
    let typed: DynamoCluster =
        serde_json::from_value(applied::resource(name, spec)).expect("a case of the right types");
    serde_json::to_value(typed).unwrap()
}

#[test]
fn rules_evaluated_here_refuse_what_they_should_and_nothing_else() {
    let document = definition_yaml_value();
    let schema = &document["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let cases = cases::all();
    let mut wrong = vec![];
    for case in &cases {
        let before = case.before.as_ref().map(|before| with_defaults(case.name, before));
        let said = Validator::new().validate(schema, &with_defaults(case.name, &case.spec), before.as_ref());
        let said = said.map_err(|errors| errors.to_string());
        wrong.extend(applied::judge("the evaluator", case, &said).err());
    }
    applied::conclude(cases.len(), &wrong);
}
