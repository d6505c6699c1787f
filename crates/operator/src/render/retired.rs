//! The ConfigMap that names for each pod the last life that left.
//!
//! A node reads it when it starts, from its environment: the key `nodes`, which is a value of the node's key `cluster.retired`. A key for
//! each pod says the same to people and to the operator.

use std::collections::BTreeMap;

use dynamo_planner::PodId;

/// The key that nodes read; no pod is called so, since pods have a number.
pub(super) const NODES_KEY: &str = "nodes";

/// The ConfigMap's name.
pub fn config_map_name(cluster: &str) -> String {
    format!("{cluster}-retired")
}

/// Its data for these lives.
pub fn data(lives: &BTreeMap<PodId, u64>) -> BTreeMap<String, String> {
    let of_node = |(pod, life): (&PodId, &u64)| format!("{{name: {pod}, life: {life}}}");
    let nodes: Vec<String> = lives.iter().map(of_node).collect();
    let mut data: BTreeMap<_, _> = lives.iter().map(|(pod, life)| (pod.to_string(), life.to_string())).collect();
    data.insert(NODES_KEY.to_owned(), format!("[{}]", nodes.join(", ")));
    data
}

/// The lives that its data name, each as it is written.
pub fn lives(data: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    data.iter().filter(|(key, _)| *key != NODES_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_people_are_told_the_same() {
        let named = BTreeMap::from([(PodId::new("shop-a", 2), 7), (PodId::new("shop-b", 0), 1_700_000_000_000)]);
        let data = data(&named);
        let read: BTreeMap<_, _> =
            lives(&data).map(|(pod, life)| (pod.parse::<PodId>().unwrap(), life.parse::<u64>().unwrap())).collect();
        assert_eq!(read, named);
        let nodes: Vec<BTreeMap<String, serde_yaml::Value>> = serde_yaml::from_str(&data[NODES_KEY]).unwrap();
        assert_eq!((nodes[0]["name"].as_str(), nodes[0]["life"].as_u64()), (Some("shop-a-2"), Some(7)));
        assert_eq!(nodes.len(), 2);
        assert_eq!(super::data(&BTreeMap::new())[NODES_KEY], "[]");
    }
}
