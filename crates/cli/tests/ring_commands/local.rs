//! `dynamo local add-node`, `remove-node` and `replace-node`, between a fake supervisor and a fake node: the order of what
//! they ask of both, and that run again they go on where they were.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    sync::{Arc, Mutex},
};

use dynamo_wire::v1::{
    JoinEdit, LeaveEdit,
    ring_edit::Edit::{Join, Leave},
};
use serde_json::{Value, json};

use crate::{
    Ended, fake,
    fake::{Fake, at, receipt},
    run,
};

/// A directory in which a supervisor seems to run, whose nodes are all the fake.
struct Local {
    fake: Fake,
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Local {
    /// `find` is what it says of a node that it is asked about.
    fn start(find: &'static str) -> Self {
        let (fake, dir) = (fake(), tempfile::tempdir().unwrap());
        let row = |id: &str| json!({"id": id, "zone": "zone-a", "pid": 7, "endpoint": fake.address, "dir": "d"});
        let file = json!({"endpoint": fake.address, "nodes": [row("node-1"), row("node-4")]});
        std::fs::write(dir.path().join("cluster.json"), file.to_string()).unwrap();
        let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (heard, row) = (asked.clone(), row("node-4"));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                let request: Value = serde_json::from_str(&line).unwrap();
                let kind = request.as_object().unwrap().keys().next().unwrap().clone();
                let reply = match kind.as_str() {
                    "find" if find == "left" => json!({"left": "/kept"}),
                    "find" => json!({find: row}),
                    "remove" => json!({"left": "/kept"}),
                    _ => json!({"done": row}),
                };
                heard.lock().unwrap().push(kind);
                writeln!(stream, "{reply}").unwrap();
            }
        });
        Self { fake, dir, asked }
    }

    fn run(&self, line: &str) -> Ended {
        run(&self.fake, &format!("local {line} --dir {}", self.dir.path().display()))
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn applied(&self) -> usize {
        self.fake.with(|state| state.applied.len())
    }
}

#[test]
fn a_new_node_joins_once_the_others_have_heard_of_it() {
    let local = Local::start("done");
    local.fake.with(|state| state.unheard = 2);
    let Ended { code, out, err } = local.run("add-node --zone zone-b --weight 2");
    assert_eq!((code, local.asked()), (0, vec!["add".to_owned(), "joined".to_owned()]), "{err}");
    let edit = local.fake.with(|state| state.applied[0].edits[0].edit.clone());
    assert_eq!(edit, Some(Join(JoinEdit { node: "node-4".into(), weight: 0 })), "its configuration has the weight");
    assert!(out.contains("node-4 serves in zone-a") && out.ends_with("node-4 is a member of the ring.\n"), "{out}");
}

#[test]
fn a_join_that_was_interrupted_is_not_made_twice() {
    let local = Local::start("done");
    local.fake.with(|state| state.ahead = vec![at(0, 1), at(0, 2), at(1, 3)]);
    let Ended { code, err, .. } = local.run("add-node");
    assert_eq!((code, local.applied(), local.asked()), (0, 0, vec!["add".to_owned(), "joined".to_owned()]), "{err}");
    assert!(err.contains("A change of the ring is under way"), "{err}");
    // And once it is a member, nothing is left but to say so.
    let Ended { code, .. } = local.run("add-node");
    assert_eq!((code, local.applied()), (0, 0));
}

#[test]
fn a_node_whose_join_is_taken_back_is_not_said_to_be_a_member() {
    let local = Local::start("done");
    local.fake.with(|state| state.course.last_mut().unwrap().cancelled = true);
    let Ended { code, err, .. } = local.run("add-node");
    assert_eq!((code, local.asked()), (3, vec!["add".to_owned()]));
    assert!(err.contains("was taken back"), "{err}");
}

#[test]
fn a_join_that_was_over_before_it_was_seen_to_be_taken_back_is_found_out() {
    let local = Local::start("done");
    local.fake.with(|state| state.members_after = state.members.clone());
    let Ended { code, err, .. } = local.run("add-node");
    assert_eq!((code, local.asked()), (3, vec!["add".to_owned()]));
    assert!(err.contains("node-4 is no member") && err.contains("dynamo local remove-node node-4"), "{err}");
}

#[test]
fn a_node_is_stopped_only_after_it_has_left_and_its_receipt_is_complete() {
    let local = Local::start("done");
    local.fake.with(|state| {
        state.members.push("node-4");
        state.members_after = vec!["node-1", "node-2", "node-3"];
        state.receipts = vec![receipt(false), receipt(true)];
    });
    let Ended { code, out, err } = local.run("remove-node node-4");
    assert_eq!((code, local.asked()), (0, vec!["find".to_owned(), "remove".to_owned()]), "{err}");
    let edit = local.fake.with(|state| state.applied[0].edits[0].edit.clone());
    assert_eq!(edit, Some(Leave(LeaveEdit { node: "node-4".into() })));
    assert!(out.contains("node-4 may be switched off for good") && out.contains("kept in /kept"), "{out}");
    // Interrupted after it had left: there is no second leave.
    let Ended { code, .. } = local.run("remove-node node-4");
    assert_eq!((code, local.applied(), local.asked()), (0, 1, vec!["find".to_owned(), "remove".to_owned()]));
}

#[test]
fn a_node_that_has_left_before_is_said_to_have() {
    let local = Local::start("left");
    let Ended { code, out, .. } = local.run("remove-node node-4");
    assert_eq!((code, out.contains("has left before; its files are in /kept")), (0, true), "{out}");
    assert_eq!(local.asked(), ["find"]);
}

#[test]
fn a_node_that_never_was_a_member_or_was_taken_out_as_lost_is_removed_without_a_receipt() {
    for is in ["joining", "done"] {
        let local = Local::start(is);
        local.fake.with(|state| state.receipts = vec![receipt(false)]);
        let Ended { code, err, .. } = local.run("remove-node node-4");
        let asked = ["find", "remove"].map(str::to_owned);
        assert_eq!((code, local.applied(), local.asked()), (0, 0, asked.to_vec()), "{err}");
    }
}

#[test]
fn a_node_is_emptied_only_while_all_others_are_up_and_full_and_nothing_changes() {
    for says in ["node-2 is not up", "the ring is changing (node-4 joins)", "is being filled still"] {
        let local = Local::start("done");
        local.fake.with(|state| match says {
            "node-2 is not up" => state.down = vec!["node-2"],
            "is being filled still" => state.refilling = vec![5],
            _ => state.ahead = vec![at(0, 1), at(0, 2)],
        });
        let Ended { code, err, .. } = local.run("replace-node node-4");
        assert_eq!((code, local.asked()), (3, vec!["find".to_owned()]), "{err}");
        assert!(err.contains("nothing was changed") && err.contains(says), "{err}");
    }
}

#[test]
fn a_node_that_has_the_only_copy_is_not_emptied() {
    let local = Local::start("done");
    local.fake.with(|state| state.members = vec!["node-4"]);
    let Ended { code, err, .. } = local.run("replace-node node-4");
    assert_eq!((code, local.asked()), (3, vec!["find".to_owned()]), "{err}");
    assert!(err.contains("nothing was changed: no other node has what node-4 has"), "{err}");
}

#[test]
fn one_whose_join_was_taken_back_gives_its_receipt_before_it_is_removed() {
    let local = Local::start("joining");
    local.fake.with(|state| {
        state.waited_for = vec!["node-4"];
        state.receipts = vec![receipt(false), receipt(true)];
    });
    let Ended { code, out, err } = local.run("remove-node node-4");
    assert_eq!((code, local.asked()), (0, vec!["find".to_owned(), "remove".to_owned()]), "{err}");
    assert!(out.contains("node-4 may be switched off for good"), "{out}");
}

#[test]
fn an_emptied_node_is_waited_for_until_it_is_full() {
    let local = Local::start("done");
    local.fake.with(|state| {
        state.down = vec!["node-4"];
        state.refilling = vec![0, 40, 20, 1];
    });
    let Ended { code, out, err } = local.run("replace-node node-4");
    let asked = ["find", "replace", "refilled"].map(str::to_owned);
    assert_eq!((code, local.asked()), (0, asked.to_vec()), "{err}");
    assert!(out.ends_with("node-4 is full: it has its part of 40 partitions again.\n"), "{out}");
}

#[test]
fn one_whose_filling_was_interrupted_is_not_asked_for_conditions_again() {
    let local = Local::start("refilling");
    local.fake.with(|state| {
        state.down = vec!["node-2"];
        state.refilling = vec![7, 3];
    });
    let Ended { code, err, .. } = local.run("replace-node node-4");
    assert_eq!(code, 0, "{err}");
}
