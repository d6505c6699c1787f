//! What somebody at a terminal is asked, and what the answers do.

use std::{
    fs::File,
    io::Write,
    process::{Child, Stdio},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{Ended, command, fake, fake::Fake};

/// Runs it with a terminal at its input, at which this is typed.
fn typed(fake: &Fake, line: &str, answer: &str) -> Ended {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let input = File::options().read(true).write(true).open(name).unwrap();
    let child: Child = command(fake, line).stdin(Stdio::from(input)).spawn().unwrap();
    // It waits in the terminal until somebody reads it.
    File::from(terminal.try_clone().unwrap()).write_all(format!("{answer}\n").as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap().into();
    drop(terminal);
    ended
}

fn applied(fake: &Fake) -> usize {
    fake.with(|state| state.applied.len())
}

#[test]
fn a_change_is_shown_and_made_only_after_a_yes() {
    for (answer, code, changes) in [("y", 0, 1), ("Yes", 0, 1), ("n", 2, 0), ("", 2, 0)] {
        let fake = fake();
        let ended = typed(&fake, "ring apply --join node-4", answer);
        assert_eq!((ended.code, applied(&fake)), (code, changes), "{answer:?}: {}", ended.err);
        assert!(ended.out.contains("node-4") && ended.err.contains("Apply this? [y/N]"), "{}", ended.err);
        assert_eq!(ended.err.contains("Nothing was changed."), changes == 0);
    }
}

#[test]
fn a_node_that_is_taken_out_has_to_be_named() {
    for (answer, code, changes) in [("node-2", 0, 1), ("y", 2, 0), ("node-3", 2, 0)] {
        let fake = fake();
        let ended = typed(&fake, "node remove node-2", answer);
        assert_eq!((ended.code, applied(&fake)), (code, changes), "{answer}: {}", ended.err);
        assert!(ended.err.contains("Type the name of the node to go on (node-2)"), "{}", ended.err);
    }
}
