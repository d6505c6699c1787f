//! The ring as a person sees and changes it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{cluster::PATIENCE, nodes::Nodes};

impl Nodes {
    /// Names of the ring's members, in order; None: nobody answers.
    pub fn members(&self) -> Option<Vec<String>> {
        let ring = self.json(&["ring"])?;
        let members = ring["members"].as_array()?;
        let mut names: Vec<String> = members.iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect();
        names.sort();
        Some(names)
    }

    /// JSON of a command, if it succeeds.
    pub fn json(&self, args: &[&str]) -> Option<Value> {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        let output = self.run(&args);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Waits for something that has to come true.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            let status = String::from_utf8(self.run(&["ring", "status"]).stdout).unwrap();
            assert!(Instant::now() < until, "{what}: not in time; {status}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until the ring is settled and nothing is left to do for it, as every node says of itself.
    pub fn until_settled(&self) {
        self.until("the ring is settled", || {
            let says = |name: &String| {
                let endpoint = self.endpoint(name);
                let Some(status) = self.json(&["ring", "status", "--endpoint", &endpoint]) else { return false };
                let nothing = |key: &str| status[key].as_u64() == Some(0);
                let behind = status["behind"].as_array().unwrap();
                status["settled"] == true && behind.is_empty() && nothing("leftovers") && nothing("refilling")
            };
            self.running().iter().all(says)
        });
    }

    /// Waits until no node holds a hint.
    pub fn until_hints_drained(&self) {
        self.until("hints drain", || {
            let drained = |name: &String| {
                let status = self.json(&["status", "--endpoint", &self.endpoint(name)]);
                let Some(status) = status else { return false };
                let rows = status["nodes"].as_array().unwrap();
                rows.iter().any(|row| row["id"] == name.as_str() && row["hints"].as_u64() == Some(0))
            };
            self.running().iter().all(drained)
        });
    }

    /// Makes a change, whatever happens meanwhile: tried until the members are these and the ring is settled.
    pub fn change_to(&self, wanted: &[&str]) {
        let mut wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        wanted.sort();
        let mut refused = String::new();
        let until = Instant::now() + PATIENCE;
        while !self.is_settled_with(&wanted, &mut refused) {
            assert!(Instant::now() < until, "the members are not {wanted:?} in time: {refused}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn is_settled_with(&self, wanted: &[String], refused: &mut String) -> bool {
        let Some(status) = self.json(&["ring", "status"]) else { return false };
        let Some(members) = self.members().filter(|_| status["settled"] == true) else { return false };
        if members == wanted {
            return true;
        }
        let joins = wanted.iter().filter(|name| !members.contains(name)).map(|name| format!("--join={name}"));
        let leaves = members.iter().filter(|name| !wanted.contains(name)).map(|name| format!("--leave={name}"));
        let edits: Vec<String> = joins.chain(leaves).collect();
        let args: Vec<&str> =
            ["ring", "apply", "--yes", "--no-wait"].into_iter().chain(edits.iter().map(String::as_str)).collect();
        let output = self.run(&args);
        if !output.status.success() {
            *refused = String::from_utf8(output.stderr).unwrap();
        }
        false
    }

    /// Waits until a node that has left may be switched off for good.
    pub fn until_may_be_switched_off(&self, name: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let receipt = self.run(&["node", "receipt", name]);
            if receipt.status.success() {
                return;
            }
            assert!(Instant::now() < until, "{}", String::from_utf8(receipt.stdout).unwrap());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
