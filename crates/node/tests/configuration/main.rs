//! Configuration: its sources, what is said about wrong ones, its page of documentation, and the process that takes it.

mod newcomer;
mod page;
mod process;
mod rubbish;
mod sources;

use dynamo_node::config::{Config, ConfigError, ENV_PREFIX, Setting, load};
use serde_yaml::Value;

/// A file that a node could start with, with every kind of value.
pub const FILE: &str = r#"# The cluster.
cluster:
  name: shop
  secret: "12345"
  replication: 2
  partitions: 8
  members:
    - {name: a, zone: x, address: "a.shop:8400", client_address: "a.shop:7400", weight: 2}
    - name: b
      zone: y
      address: '[::1]:8400'
  seeds: ["c.shop:8400", 'd.shop:8400']
node:
  name: a
  data_dir: /data
  client_listen: localhost:7400
  advertise_client: a.shop:7400
tls:
  mode: plaintext
storage:
  engine: memory
  durability: one-fsync
  cache_mib: 16
log:
  format: json
  level: info,dynamo_node=debug
"#;

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// What `--set` makes of it.
pub fn flag(key: &str, value: &str) -> Setting {
    Setting::from_flag(&format!("{key}={value}")).unwrap()
}

/// Loads FILE under these variables and flags.
pub fn load_with(variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let flags: Vec<Setting> = flags.iter().map(|(key, value)| flag(key, value)).collect();
    load(Some(("node.yaml", FILE)), variables, &flags)
}

/// The value of a key.
pub fn value_of(config: &Config, key: &str) -> Value {
    let (section, name) = key.split_once('.').unwrap();
    serde_yaml::to_value(config).unwrap()[section][name].clone()
}

/// Every key with its default.
pub fn keys() -> Vec<(String, Value)> {
    let Value::Mapping(sections) = serde_yaml::to_value(Config::default()).unwrap() else { panic!("no sections") };
    let of_section = |(section, keys): (Value, Value)| {
        let Value::Mapping(keys) = keys else { panic!("{section:?} is no section") };
        keys.into_iter()
            .map(move |(key, value)| (format!("{}.{}", section.as_str().unwrap(), key.as_str().unwrap()), value))
    };
    sections.into_iter().flat_map(of_section).collect()
}
