//! Administrators: each asks a node for a change of the ring, and tries again elsewhere when it is refused.

use dynamo_keeper::ChangeError;

use super::{
    World,
    event::Event,
    kernel::{Kernel, index_of, say},
};
use crate::coverage::cover;

/// How often a change is tried.
const TRIES: u8 = 12;
/// Between two tries, microseconds.
const PAUSE_US: u64 = 2_500_000;
/// So long nothing may have changed for a majority to be expected: longer than a change is tried by the node asked.
const CALM_US: u64 = 15_000_000;

fn request_of(edit: u16, tries: u8) -> u64 {
    u64::from(edit) << 8 | u64::from(tries)
}

impl World {
    pub(super) fn admin_acts(&mut self, number: u16, tries: u8) {
        let shape = self.kernel.shape.clone();
        let edit = &shape.plan.edits[usize::from(number)];
        let nodes = shape.nodes();
        let asked = (0..nodes).map(|step| (edit.via + tries + step) % nodes);
        let running = |node: &u8| {
            let host = &self.hosts[usize::from(*node)];
            host.node.is_some() && host.paused_until <= self.kernel.now
        };
        let Some(node) = asked.clone().find(running) else { return self.kernel.edit_again(number, tries) };
        say!(self.kernel, "an administrator asks node-{node}: {:?}", edit.edit);
        let (host, kernel) = (&mut self.hosts[usize::from(node)], &mut self.kernel);
        let node = host.node.as_mut().expect("it runs");
        if let Err(why) = node.edit(request_of(number, tries), edit.edit, kernel) {
            cover!("admin.refused");
            say!(kernel, "it is refused: {why}");
            kernel.edit_again(number, tries);
        }
    }

    /// Somebody asks a node whether its ring is the newest: each in its turn, also one that does not run.
    pub(super) fn operator_looks(&mut self, number: u64) {
        let node = (number % u64::from(self.kernel.shape.nodes())) as usize;
        let (host, kernel) = (&mut self.hosts[node], &mut self.kernel);
        let newest = kernel.newest().version;
        if let Some(node) = host.node.as_mut().filter(|_| host.paused_until <= kernel.now) {
            kernel.looks.insert(number, newest);
            node.look_at_the_register(number, kernel);
        }
        kernel.look_later(number + 1);
    }
}

impl Kernel {
    /// What came of a change that an administrator had asked for.
    pub fn edit_done(&mut self, request: u64, node: u8, result: Result<u64, ChangeError>) {
        let (number, tries) = ((request >> 8) as u16, request as u8);
        let edit = self.shape.plan.edits[usize::from(number)].edit;
        match &result {
            Ok(version) => {
                cover!("admin.begun");
                if edit == crate::edit::Edit::Cancel {
                    cover!("ring.cancelled");
                }
                return say!(self, "node-{node} has made it version {version} of the register: {edit:?}");
            }
            Err(ChangeError::Outdated { .. }) => cover!("admin.outdated"),
            Err(ChangeError::NoMajority(_)) => {
                cover!("admin.no_majority");
                self.check_no_majority(node);
            }
            Err(ChangeError::Unknown) => cover!("admin.unknown"),
            Err(ChangeError::Unable(_) | ChangeError::Refused(_)) => cover!("admin.unable"),
        }
        say!(self, "node-{node} has not made the change {edit:?}: {result:?}");
        self.edit_again(number, tries);
    }

    /// When the next look is due.
    pub fn look_later(&mut self, number: u64) {
        let every_us = u64::from(self.shape.plan.cluster.looks_every_ms) * 1000;
        if every_us > 0 {
            self.after(every_us, Event::OperatorLooks { number });
        }
    }

    /// What a node says of its ring. What anybody went by before it was asked is not newer than what it says is the newest.
    pub fn looked(&mut self, number: u64, node: u8, result: Result<u64, String>) {
        let least = self.looks.remove(&number).unwrap_or(0);
        match result {
            Ok(version) if version < least => {
                let what =
                    format!("node-{node} says that version {version} is the newest, and {least} was known before");
                self.broken("register", what);
            }
            Ok(_) => cover!("look.confirmed"),
            Err(why) => {
                cover!("look.not_confirmed");
                say!(self, "node-{node} does not know whether its ring is the newest: {why}");
            }
        }
    }

    /// A node that has long reached most members has a majority.
    fn check_no_majority(&mut self, node: u8) {
        let members: Vec<u8> = self.newest().ring().members().iter().map(|member| index_of(member.id)).collect();
        let reaches =
            |member: &&u8| self.is_on(**member) && (**member == node || self.network.connected(node, **member));
        let reached = members.iter().filter(reaches).count();
        if self.calm_for(CALM_US) && reached > members.len() / 2 {
            let what = format!("node-{node} reaches {reached} of {} members, and finds no majority", members.len());
            self.broken("register", what);
        }
    }

    fn edit_again(&mut self, number: u16, tries: u8) {
        let again = self.now + PAUSE_US;
        if tries + 1 < TRIES && again < self.shape.plan.run_us() {
            self.at(again, Event::AdminActs { edit: number, tries: tries + 1 });
        }
    }
}
