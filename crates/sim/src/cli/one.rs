//! One run, of a seed or from a file.

use std::fs;

use dynamo_sim::{Plan, Scenario, Telling};

use super::{Args, Output, report};

/// Runs it; true if nothing was found.
pub fn run(args: &Args) -> Result<bool, String> {
    let plan = plan(args)?;
    if let Some(path) = &args.keep {
        fs::write(path, plan.to_yaml()).map_err(|error| format!("{} was not written: {error}", path.display()))?;
    }
    let telling = if args.trace { Telling::Printed } else { Telling::No };
    let result = dynamo_sim::run(&plan, telling, args.variant());
    match args.output {
        Output::Text => report::one(&plan, &result),
        Output::Json => report::one_json(&plan, &result),
    }
    if args.coverage {
        report::coverage(&result.coverage);
    }
    Ok(result.violation.is_none())
}

fn plan(args: &Args) -> Result<Plan, String> {
    if let Some(path) = &args.replay {
        let text = fs::read_to_string(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
        return Plan::from_yaml(&text).map_err(|error| format!("{} is no run: {error}", path.display()));
    }
    let seed = args.seed.unwrap_or(0);
    Ok(args.scenario()?.unwrap_or_else(|| Scenario::of_seed(seed)).plan(seed))
}
