//! All nodes of a local cluster: started together, watched, stopped together. What other commands ask for is in
//! [`super::requests`].

use std::{convert::Infallible, fs, io, path::PathBuf, time::Duration};

use indicatif::ProgressBar;
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    control::{Asked, Reply, Row},
    layout::{Layout, NodePlan, Readers, write_atomically},
    node_process::NodeProcess,
    roster::id_of,
    settings::{Flags, Settings, node_yaml},
};
use crate::{change::preview::counted, failure::Failure};

/// A node that has not ended so long after SIGTERM is killed.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Events that wait; senders wait then.
const EVENTS_WAITING: usize = 64;

/// What the supervisor hears of its nodes.
pub(super) enum Event {
    Ended { id: String, pid: u32, how: String },
    Started { id: String, ended: Result<(), Failure>, reply: oneshot::Sender<Reply> },
    Stopped { id: String, then: Then, reply: oneshot::Sender<Reply> },
}

/// What becomes of a node that was stopped.
pub(super) enum Then {
    Remove,
    Replace,
}

/// A node and its last process.
pub(super) struct Node {
    pub(super) plan: NodePlan,
    pub(super) process: NodeProcess,
    /// It has been ready once.
    pub(super) serves: bool,
    /// Its end is wanted, and no news.
    pub(super) stopping: bool,
}

impl Node {
    pub(super) fn row(&self) -> Row {
        Row {
            id: self.plan.id.clone(),
            zone: self.plan.zone.clone(),
            pid: self.process.pid,
            endpoint: self.plan.client(),
            dir: self.plan.dir.display().to_string(),
        }
    }
}

/// The nodes that are there.
pub struct Supervisor {
    pub(super) layout: Layout,
    pub(super) settings: Settings,
    flags: Flags,
    pub(super) nodes: Vec<Node>,
    pub(super) sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

impl Supervisor {
    /// Writes every node's configuration and starts a process for each. None is ready yet.
    ///
    /// # Errors
    /// The first that could not be started; the others are stopped.
    pub fn start(layout: Layout, settings: Settings, flags: Flags) -> Result<Self, Failure> {
        remove_cluster_file(&layout);
        settings.tidy(&layout)?;
        let (sender, events) = mpsc::channel(EVENTS_WAITING);
        let plans = settings.present(&layout);
        let mut supervisor = Self { layout, settings, flags, nodes: Vec::new(), sender, events };
        // All before the first, so that a wrong --set starts nothing.
        plans.iter().try_for_each(|plan| supervisor.configure(plan))?;
        plans.into_iter().try_for_each(|plan| supervisor.launch(plan))?;
        Ok(supervisor)
    }

    fn configure(&self, plan: &NodePlan) -> Result<(), Failure> {
        let text = node_yaml(&self.settings, &self.layout, plan, &self.flags)?;
        let write = || {
            fs::create_dir_all(&plan.dir)?;
            write_atomically(&plan.config(), text.as_bytes(), Readers::Owner)
        };
        write().map_err(|error| Failure::file(format!("can't write {}", plan.config().display()), &error))
    }

    /// Starts a process for a node, in place of the one that it had.
    pub(super) fn launch(&mut self, plan: NodePlan) -> Result<(), Failure> {
        // Anew each time: who is there to be asked for the others has changed.
        self.configure(&plan)?;
        let process = NodeProcess::start(&plan)?;
        match self.node(&plan.id) {
            Some(node) => (node.process, node.stopping) = (process, false),
            None => self.nodes.push(Node { plan, process, serves: false, stopping: false }),
        }
        Ok(())
    }

    pub(super) fn node(&mut self, id: &str) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.plan.id == id)
    }

    /// Waits until all are ready, then writes cluster.json and watches them. Where there is data already a node may be
    /// missing, its disk damaged for example: the others have what it has, and are there for it.
    ///
    /// # Errors
    /// The first that ended or was not ready in time, with the end of its log, if the cluster is a new one or none is ready.
    pub async fn ready(&mut self, is_new: bool) -> Result<(), Failure> {
        // Draws on a terminal only.
        let spinner = ProgressBar::new_spinner();
        spinner.enable_steady_tick(Duration::from_millis(100));
        let mut waiting = JoinSet::new();
        for Node { plan, process, .. } in &self.nodes {
            let (plan, mut process) = (plan.clone(), process.clone());
            waiting.spawn(async move {
                let ended = process.ready(&plan).await;
                (plan.id, ended)
            });
        }
        let mut missing = Vec::new();
        spinner.set_message(format!("starting {}", counted(self.nodes.len() as u32, "node")));
        while let Some(ended) = waiting.join_next().await {
            match ended.expect("waiting does not panic") {
                (id, Ok(())) => self.node(&id).expect("it was started").serves = true,
                (_, Err(failure)) if is_new => return Err(failure),
                (id, Err(failure)) => missing.push((id, failure)),
            }
            let ready = self.nodes.iter().filter(|node| node.serves).count();
            spinner.set_message(format!("{ready} of {} are ready", counted(self.nodes.len() as u32, "node")));
        }
        spinner.finish_and_clear();
        if missing.len() == self.nodes.len() {
            return Err(missing.swap_remove(0).1);
        }
        missing.into_iter().for_each(|(id, failure)| self.missing(&id, failure));
        self.nodes.iter().filter(|node| node.serves).for_each(|node| self.watch(node));
        self.write_cluster_file()
    }

    /// A node that can't be started.
    fn missing(&mut self, id: &str, failure: Failure) {
        if let Some(node) = self.node(id) {
            node.process.signal(Signal::KILL);
        }
        let dir = self.layout.given().display();
        eprintln!("{id} is missing: {}", message(failure));
        if self.settings.joining().is_some_and(|added| id_of(added.number) == id) {
            return eprintln!(
                "The others run. It was being added: try it again, or take it away, with\n  \
                 dynamo local add-node --dir {dir}\n  \
                 dynamo local remove-node {id} --dir {dir}"
            );
        }
        eprintln!(
            "The others run. Once what is wrong with it is put right, bring it back; or, if its disk is lost, have it begin \
             with an empty one (its files are kept), with\n  \
             dynamo local restart-node {id} --dir {dir}\n  \
             dynamo local replace-node {id} --dir {dir}"
        );
    }

    /// The nodes as cluster.json has them.
    pub fn rows(&self) -> Vec<Row> {
        self.nodes.iter().filter(|node| node.serves).map(Node::row).collect()
    }

    /// Reports nodes that end, and does what is asked, for ever.
    pub async fn supervise(&mut self, requests: &mut mpsc::Receiver<Asked>) -> Infallible {
        loop {
            tokio::select! {
                event = self.events.recv() => self.on_event(event.expect("this holds a sender itself")),
                Some((request, reply)) = requests.recv() => self.on_request(request, reply),
            }
        }
    }

    /// Stops all nodes: asks them, waits, then kills.
    pub async fn stop(mut self) {
        eprintln!("stopping {}", counted(self.nodes.len() as u32, "node"));
        remove_cluster_file(&self.layout);
        self.nodes.iter().for_each(|node| node.process.signal(Signal::TERM));
        let deadline = Instant::now() + STOP_WITHIN;
        for Node { plan, process, .. } in &mut self.nodes {
            if timeout_at(deadline, process.wait()).await.is_err() {
                eprintln!("{} has not stopped within {} s and is killed", plan.id, STOP_WITHIN.as_secs());
                process.signal(Signal::KILL);
                process.wait().await;
            }
        }
    }

    /// Tells when the node's present process ends.
    pub(super) fn watch(&self, node: &Node) {
        let (id, mut process) = (node.plan.id.clone(), node.process.clone());
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let how = process.wait().await;
            let _ = sender.send(Event::Ended { id, pid: process.pid, how }).await;
        });
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Ended { id, pid, how } => self.on_end(&id, pid, &how),
            Event::Started { id, ended, reply } => self.on_started(&id, ended, reply),
            Event::Stopped { id, then, reply } => self.on_stopped(&id, then, reply),
        }
    }

    fn on_end(&mut self, id: &str, pid: u32, how: &str) {
        let is_news = self.node(id).is_some_and(|node| node.process.pid == pid && !node.stopping);
        if is_news {
            let dir = self.layout.given().display();
            eprintln!(
                "{id} (pid {pid}) has ended: {how}. Bring it back with\n  dynamo local restart-node {id} --dir {dir}"
            );
        }
    }

    pub(super) fn write_cluster_file(&self) -> Result<(), Failure> {
        let rows = self.rows();
        let endpoint = rows.first().map(|row| row.endpoint.as_str());
        let document = json!({ "endpoint": endpoint, "nodes": rows });
        let text = serde_json::to_string_pretty(&document).expect("plain data can be written") + "\n";
        let write = |path: PathBuf, text: String| {
            write_atomically(&path, text.as_bytes(), Readers::All)
                .map_err(|error| Failure::file(format!("can't write {}", path.display()), &error))
        };
        write(self.layout.cluster_file(), text)?;
        if self.layout.caller().is_some() {
            let endpoints: Vec<String> = rows.into_iter().map(|row| row.endpoint).collect();
            write(self.layout.profile_file(), format!("{:#}\n", self.layout.profile(&endpoints)))?;
        }
        Ok(())
    }
}

pub(super) fn message(failure: Failure) -> String {
    match failure {
        Failure::Told(_, message) => message,
        Failure::Silent(_) | Failure::BrokenPipe => String::new(),
    }
}

/// A file left behind would name processes that are none of this cluster.
fn remove_cluster_file(layout: &Layout) {
    match fs::remove_file(layout.cluster_file()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            eprintln!("warning: can't remove {}: {error}", layout.cluster_file().display());
        }
        _ => {}
    }
}
