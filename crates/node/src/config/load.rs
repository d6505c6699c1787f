//! Putting the sources together, each over the one before, every wrong value blamed on its source.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::{Mapping, Value};

use super::{Config, ConfigError, check::Problem, keys};

/// Environment variables that begin with this are configuration.
pub const ENV_PREFIX: &str = "DYNAMO_NODE__";

/// The key whose value is shown nowhere.
const SECRET: &str = "cluster.secret";

/// A value for one key as somebody typed it, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What is blamed: the flag or the variable.
    pub source: String,
    /// `section.key`
    pub key: String,
    /// Taken as it is where the key is a text; read as YAML otherwise.
    pub value: String,
}

impl Setting {
    /// `section.key=value`, as `--set` takes it.
    ///
    /// # Errors
    /// There is no `=`.
    pub fn from_flag(flag: &str) -> Result<Self, ConfigError> {
        match flag.split_once('=') {
            // The value is not repeated: it may be the secret.
            Some((key, value)) => Ok(Self { source: format!("--set {key}"), key: key.into(), value: value.into() }),
            None => Err(format!("--set {flag}: expected section.key=value").into()),
        }
    }

    fn from_variable(name: &str, value: &str) -> Option<Self> {
        let key = name.strip_prefix(ENV_PREFIX)?.to_lowercase().replace("__", ".");
        Some(Self { source: format!("environment variable {name}"), key, value: value.into() })
    }
}

/// Reads the configuration from its sources. `file`: its name (for messages) and text; `env`: all variables, those of
/// other programs too; `flags`: in order, the last of a key wins.
///
/// # Errors
/// What is wrong with the first source that can't be read; else all that [`Config::check`] finds, with its sources.
pub fn load(
    file: Option<(&str, &str)>,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &[Setting],
) -> Result<Config, ConfigError> {
    // In the order of names, so that the same environment always gives the same.
    let variables: BTreeSet<_> = env.into_iter().collect();
    let variables = variables.iter().filter_map(|(name, value)| Setting::from_variable(name, value));
    let from_file = match file {
        Some((name, text)) => read_file(name, text)?,
        None => Config::default(),
    };
    let mut merged = serde_yaml::to_value(from_file).expect("plain data can be converted");
    let mut origins = origins(&merged, file.map(|(name, _)| name));
    for setting in variables.chain(flags.iter().cloned()) {
        set(&mut merged, &setting).map_err(|error| format!("{}: {error}", setting.source))?;
        origins.insert(setting.key, setting.source);
    }
    let config: Config =
        serde_yaml::from_value(merged.clone()).map_err(|error| ConfigError::from(error.to_string()))?;
    let problems = config.problems();
    if problems.is_empty() {
        return Ok(config);
    }
    let blame = |problem: &Problem| blame(problem, &merged, &origins);
    Err(ConfigError { problems: problems.iter().map(blame).collect() })
}

fn read_file(name: &str, text: &str) -> Result<Config, ConfigError> {
    serde_yaml::from_str(text).map_err(|error| {
        let told = error.to_string();
        let (key, _) = told.split_once(": ").unwrap_or_default();
        // The parser leaves out the place where it is the first one.
        let place = error.location().filter(|_| !told.contains(" at line "));
        let place = place.map(|place| format!(" at line {} column {}", place.line(), place.column()));
        format!("{name}: {}", explain(key, &told, &place.unwrap_or_default())).into()
    })
}

/// Where what differs from the defaults came from, when all of it came from the file.
fn origins(merged: &Value, file: Option<&str>) -> BTreeMap<String, String> {
    let Some(file) = file else { return BTreeMap::new() };
    let differing = keys::all().into_iter().filter(|(key, default)| value_of(merged, key) != Some(default));
    differing.map(|(key, _)| (key, file.to_owned())).collect()
}

fn value_of<'a>(merged: &'a Value, key: &str) -> Option<&'a Value> {
    let (section, name) = key.split_once('.')?;
    merged.get(section)?.get(name)
}

/// The problem with the value and where it is from; a default needs neither.
fn blame(problem: &Problem, merged: &Value, origins: &BTreeMap<String, String>) -> String {
    let Some(origin) = origins.get(problem.key) else { return problem.to_string() };
    match value_of(merged, problem.key) {
        Some(Value::String(text)) if problem.key != SECRET => format!("{problem} ({text:?} is from {origin})"),
        Some(Value::Number(number)) => format!("{problem} ({number} is from {origin})"),
        _ => format!("{problem} (from {origin})"),
    }
}

fn set(merged: &mut Value, setting: &Setting) -> Result<(), String> {
    let (section, name) = keys::split(&setting.key)?;
    let value = read_value(section, name, &setting.value)?;
    let section = merged.get_mut(section).and_then(Value::as_mapping_mut).expect("all sections are there");
    section.insert(name.into(), value);
    Ok(())
}

/// A value as text. The key's type decides, not the look of the value: the node named 7 is named "7". So it is taken
/// as it is where the key takes any text, and read as YAML otherwise, for numbers and lists.
fn read_value(section: &str, name: &str, text: &str) -> Result<Value, String> {
    // Nothing: an optional key is not given, which is what an empty variable of a template means.
    if text.is_empty() && fits(section, name, &Value::Null).is_ok() {
        return Ok(Value::Null);
    }
    // Line ends come with what was read from a file, such as a mounted secret.
    let verbatim = Value::String(text.trim_end_matches(['\r', '\n']).to_owned());
    if fits(section, name, &verbatim).is_ok() {
        return Ok(verbatim);
    }
    let value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    fits(section, name, &value)?;
    Ok(value)
}

/// Whether the key can have this value.
fn fits(section: &str, name: &str, value: &Value) -> Result<(), String> {
    let only = |key: &str, value: Value| Value::Mapping(Mapping::from_iter([(key.into(), value)]));
    match serde_yaml::from_value::<Config>(only(section, only(name, value.clone()))) {
        Ok(_) => Ok(()),
        Err(error) => Err(explain(&format!("{section}.{name}"), &error.to_string(), "")),
    }
}

/// The parser's error in the reader's words, and what was probably meant.
fn explain(key: &str, error: &str, place: &str) -> String {
    let mut told = error.to_owned();
    for (_, _, bounds) in Config::default().numbers().into_iter().filter(|(bounded, ..)| *bounded == key) {
        let expected = format!("expected a whole number from {} to {}", bounds.start(), bounds.end());
        for number in ["expected u8", "expected u32", "expected u64", "expected usize"] {
            told = told.replace(number, &expected);
        }
    }
    let hint = if error.contains("expected a sequence") {
        Some("a list is written [a, b]".to_owned())
    } else if error.contains("expected a string") {
        Some("put it in quotes".to_owned())
    } else {
        keys::hint(error)
    };
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{told}{place}{hint}")
}
