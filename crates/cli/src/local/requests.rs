//! What the supervisor does for other commands. Nothing here waits: what takes its time is a task that sends an event, and
//! whoever asked has the answer then. What changes who is there is written down first.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use tokio::{sync::oneshot, time::timeout};

use super::{
    control::{Reply, Request},
    layout::{NodePlan, check_ports, is_free},
    roster::{Replacing, id_of, kept_as},
    settings::Settings,
    supervisor::{Event, Node, STOP_WITHIN, Supervisor, Then, message},
};
use crate::failure::Failure;

type Answer = oneshot::Sender<Reply>;

impl Supervisor {
    pub(super) fn on_request(&mut self, request: Request, reply: Answer) {
        match request {
            Request::Restart(id) => self.with_node(&id, reply, Self::restart),
            Request::Kill(id) => self.with_node(&id, reply, Self::kill),
            Request::Find(id) => self.with_node(&id, reply, Self::find),
            Request::Add { zone, weight } => self.add(zone, weight, reply),
            Request::Joined(id) => self.with_node(&id, reply, |this, id, reply| {
                let settings = this.settings.with_joined(id);
                this.record(settings, id, reply);
            }),
            Request::Remove(id) => self.with_node(&id, reply, |this, id, reply| this.stop_one(id, Then::Remove, reply)),
            Request::Replace(id) => self.with_node(&id, reply, Self::replace),
            Request::Refilled(id) => self.with_node(&id, reply, |this, id, reply| {
                let mut settings = this.settings.clone();
                settings.replacing = settings.replacing.filter(|replacing| replacing.id != id);
                this.record(settings, id, reply);
            }),
        }
    }

    /// Does it with a node that is there; says so of one that is not.
    fn with_node(&mut self, id: &str, reply: Answer, act: impl FnOnce(&mut Self, &str, Answer)) {
        if self.node(id).is_some() {
            return act(self, id, reply);
        }
        let answer = match self.settings.kept_of(id) {
            Some(kept) => Reply::Left(self.layout.node_dir(kept).display().to_string()),
            None => {
                let known: Vec<&str> = self.nodes.iter().map(|node| node.plan.id.as_str()).collect();
                Reply::Refused(format!("there is no node {id}; there are {}", known.join(", ")))
            }
        };
        tell(reply, answer);
    }

    fn known(&mut self, id: &str) -> &mut Node {
        self.node(id).expect("with_node has found it")
    }

    fn restart(&mut self, id: &str, reply: Answer) {
        let node = self.known(id);
        if node.process.is_running() {
            let pid = node.process.pid;
            return tell(reply, Reply::Refused(format!("{id} is still running, pid {pid}")));
        }
        if node.stopping {
            return tell(reply, Reply::Refused(format!("{id} is being stopped by another command")));
        }
        let plan = node.plan.clone();
        self.launch_for(plan, reply);
    }

    fn kill(&mut self, id: &str, reply: Answer) {
        let node = self.known(id);
        if !node.process.is_running() {
            return tell(reply, Reply::Refused(format!("{id} is not running")));
        }
        node.process.signal(Signal::KILL);
        let (killed, mut process) = (node.row(), node.process.clone());
        tokio::spawn(async move {
            process.wait().await;
            tell(reply, Reply::Done(killed));
        });
    }

    fn find(&mut self, id: &str, reply: Answer) {
        let row = self.known(id).row();
        let Settings { replacing, .. } = &self.settings;
        tell(
            reply,
            if self.settings.joining().is_some_and(|added| id_of(added.number) == id) {
                Reply::Joining(row)
            } else if replacing.as_ref().is_some_and(|replacing| replacing.id == id) {
                Reply::Refilling(row)
            } else {
                Reply::Done(row)
            },
        );
    }

    fn add(&mut self, zone: Option<String>, weight: Option<u32>, reply: Answer) {
        if let Some(joining) = self.settings.joining() {
            let same =
                zone.is_none_or(|zone| zone == joining.zone) && weight.is_none_or(|weight| weight == joining.weight);
            if !same {
                let dir = self.layout.given().display();
                return tell(
                    reply,
                    Reply::Refused(format!(
                        "{} is being added already, in {} and with weight {}. Finish that first, with\n  \
                         dynamo local add-node --dir {dir}",
                        id_of(joining.number),
                        joining.zone,
                        joining.weight
                    )),
                );
            }
            let id = id_of(joining.number);
            return self.go_on_with(&id, reply);
        }
        let layout = self.layout.clone();
        let added = self.settings.with_added(zone, weight.unwrap_or(1), |port| is_free(&layout, port));
        match added.and_then(|settings| self.save(settings)) {
            Ok(()) => {
                let id = self.settings.joining().map(|added| id_of(added.number)).expect("it was just added");
                self.go_on_with(&id, reply);
            }
            Err(failure) => tell(reply, Reply::Refused(message(failure))),
        }
    }

    /// A node that is recorded: started unless it runs; told once it serves.
    fn go_on_with(&mut self, id: &str, reply: Answer) {
        if let Some(node) = self.node(id).filter(|node| node.process.is_running()) {
            let (row, plan, mut process) = (node.row(), node.plan.clone(), node.process.clone());
            tokio::spawn(async move {
                let ended = process.ready(&plan).await;
                tell(reply, ended.map_or_else(|failure| Reply::Failed(message(failure)), |()| Reply::Done(row)));
            });
            return;
        }
        let plan = self.settings.present(&self.layout).into_iter().find(|plan| plan.id == id);
        let plan = plan.expect("it is recorded");
        match check_ports(std::slice::from_ref(&plan)) {
            Ok(()) => self.launch_for(plan, reply),
            Err(failure) => tell(reply, Reply::Failed(message(failure))),
        }
    }

    fn replace(&mut self, id: &str, reply: Answer) {
        match &self.settings.replacing {
            None => self.stop_one(id, Then::Replace, reply),
            Some(replacing) if replacing.id == id => self.go_on_with(id, reply),
            Some(Replacing { id: other, .. }) => {
                let dir = self.layout.given().display();
                let refusal = format!(
                    "{other} is being filled anew: with two empty disks at once, data could be lost. Finish that first, with\n  \
                     dynamo local replace-node {other} --dir {dir}"
                );
                tell(reply, Reply::Refused(refusal));
            }
        }
    }

    fn launch_for(&mut self, plan: NodePlan, reply: Answer) {
        let id = plan.id.clone();
        if let Err(failure) = self.launch(plan.clone()) {
            return tell(reply, Reply::Failed(message(failure)));
        }
        let (mut process, sender) = (self.known(&id).process.clone(), self.sender.clone());
        tokio::spawn(async move {
            let ended = process.ready(&plan).await;
            let _ = sender.send(Event::Started { id, ended, reply }).await;
        });
    }

    pub(super) fn on_started(&mut self, id: &str, ended: Result<(), Failure>, reply: Answer) {
        // It may have been removed meanwhile.
        let Some(node) = self.node(id) else {
            return tell(reply, Reply::Failed(format!("{id} was removed while it was started")));
        };
        let ready = ended.is_ok();
        node.serves |= ready;
        let row = node.row();
        if !ready {
            node.process.signal(Signal::KILL);
        }
        let answer = match ended.and_then(|()| self.write_cluster_file()) {
            Ok(()) => {
                eprintln!("{id} serves, pid {}", row.pid);
                Reply::Done(row)
            }
            Err(failure) => Reply::Failed(message(failure) + &self.way_out(id)),
        };
        if let Some(node) = self.nodes.iter().find(|node| ready && node.plan.id == id) {
            self.watch(node);
        }
        tell(reply, answer);
    }

    /// What is left to do with a node that can't be started and is no member: its join may have been taken back, and then it
    /// never starts again with the disk that it has.
    fn way_out(&self, id: &str) -> String {
        if self.settings.joining().is_none_or(|added| id_of(added.number) != id) {
            return String::new();
        }
        let dir = self.layout.given().display();
        format!("\nIt has not joined, and can be taken away with\n  dynamo local remove-node {id} --dir {dir}")
    }

    /// Asks a node to stop, kills it if it does not.
    fn stop_one(&mut self, id: &str, then: Then, reply: Answer) {
        let node = self.known(id);
        if node.stopping {
            return tell(reply, Reply::Refused(format!("{id} is being stopped by another command")));
        }
        node.stopping = true;
        let (id, mut process, sender) = (id.to_owned(), node.process.clone(), self.sender.clone());
        tokio::spawn(async move {
            process.signal(Signal::TERM);
            if timeout(STOP_WITHIN, process.wait()).await.is_err() {
                process.signal(Signal::KILL);
                process.wait().await;
            }
            let _ = sender.send(Event::Stopped { id, then, reply }).await;
        });
    }

    pub(super) fn on_stopped(&mut self, id: &str, then: Then, reply: Answer) {
        let why = match then {
            Then::Remove => "left",
            Then::Replace => "replaced",
        };
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (kept, path) = kept_as(&self.layout, id, why, unix_s);
        let settings = match then {
            Then::Remove => self.settings.without(id, kept),
            Then::Replace => {
                let replacing = Some(Replacing { id: id.to_owned(), kept });
                Settings { replacing, ..self.settings.clone() }
            }
        };
        let moved = self.save(settings).and_then(|()| self.settings.tidy(&self.layout));
        if let Err(failure) = moved {
            self.known(id).stopping = false;
            return tell(reply, Reply::Failed(message(failure)));
        }
        let path = path.display().to_string();
        match then {
            Then::Remove => {
                self.nodes.retain(|node| node.plan.id != id);
                eprintln!("{id} has left; its files are in {path}");
                let written = self.write_cluster_file();
                tell(reply, written.map_or_else(|failure| Reply::Failed(message(failure)), |()| Reply::Left(path)));
            }
            Then::Replace => {
                eprintln!("{id} begins anew with an empty disk; its files are in {path}");
                let plan = self.known(id).plan.clone();
                self.launch_for(plan, reply);
            }
        }
    }

    fn record(&mut self, settings: Settings, id: &str, reply: Answer) {
        let row = self.known(id).row();
        let saved = self.save(settings);
        tell(reply, saved.map_or_else(|failure| Reply::Failed(message(failure)), |()| Reply::Done(row)));
    }

    /// On disk first: what is not written down has not happened.
    fn save(&mut self, settings: Settings) -> Result<(), Failure> {
        settings.save(&self.layout)?;
        self.settings = settings;
        Ok(())
    }
}

/// Who asked may be gone.
fn tell(reply: Answer, answer: Reply) {
    let _ = reply.send(answer);
}
