//! All nodes of a local cluster: started together, watched, restarted on request, stopped together.

use std::{convert::Infallible, fs, io, time::Duration};

use indicatif::ProgressBar;
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    control::{Asked, Reply, Request, Row},
    layout::{Layout, NodePlan, Readers, write_atomically},
    node_process::NodeProcess,
};
use crate::failure::Failure;

/// A node that has not ended so long after SIGTERM is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Events that wait; senders wait then.
const EVENTS_WAITING: usize = 64;

/// What the supervisor hears of its nodes.
enum Event {
    Ended { index: usize, pid: u32, how: String },
    Restarted { index: usize, ended: Result<(), Failure>, reply: oneshot::Sender<Reply> },
}

/// The nodes, by their place in the plan.
pub struct Supervisor {
    layout: Layout,
    nodes: Vec<(NodePlan, NodeProcess)>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

impl Supervisor {
    /// Starts a process for every node; their configurations are written. None is ready yet.
    ///
    /// # Errors
    /// The first that could not be started; the others are stopped.
    pub fn start(layout: Layout, plans: Vec<NodePlan>) -> Result<Self, Failure> {
        remove_cluster_file(&layout);
        let (sender, events) = mpsc::channel(EVENTS_WAITING);
        let mut supervisor = Self { layout, nodes: Vec::with_capacity(plans.len()), sender, events };
        for plan in plans {
            let process = NodeProcess::start(&plan)?;
            supervisor.nodes.push((plan, process));
        }
        Ok(supervisor)
    }

    /// Waits until all are ready, then writes cluster.json and watches them.
    ///
    /// # Errors
    /// The first that ended or was not ready in time, with the end of its log.
    pub async fn ready(&mut self) -> Result<(), Failure> {
        // Draws on a terminal only.
        let spinner = ProgressBar::new_spinner();
        spinner.enable_steady_tick(Duration::from_millis(100));
        let mut waiting = JoinSet::new();
        for (plan, process) in &self.nodes {
            let (plan, mut process) = (plan.clone(), process.clone());
            waiting.spawn(async move { process.ready(&plan).await });
        }
        let mut ready = 0;
        let mut failed = None;
        spinner.set_message(format!("starting {} nodes", self.nodes.len()));
        while let Some(ended) = waiting.join_next().await {
            if let Err(failure) = ended.expect("waiting does not panic") {
                failed = Some(failure);
                break;
            }
            ready += 1;
            spinner.set_message(format!("{ready} of {} nodes are ready", self.nodes.len()));
        }
        spinner.finish_and_clear();
        if let Some(failure) = failed {
            return Err(failure);
        }
        (0..self.nodes.len()).for_each(|index| self.watch(index));
        self.write_cluster_file()
    }

    /// The nodes as cluster.json has them.
    pub fn rows(&self) -> Vec<Row> {
        self.nodes.iter().map(|(plan, process)| row(plan, process)).collect()
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
        remove_cluster_file(&self.layout);
        self.nodes.iter().for_each(|(_, process)| process.signal(Signal::TERM));
        let deadline = Instant::now() + STOP_WITHIN;
        for (plan, process) in &mut self.nodes {
            if timeout_at(deadline, process.wait()).await.is_err() {
                eprintln!("{} has not stopped within {} s and is killed", plan.id, STOP_WITHIN.as_secs());
                process.signal(Signal::KILL);
                process.wait().await;
            }
        }
    }

    /// Tells when the node's present process ends.
    fn watch(&self, index: usize) {
        let mut process = self.nodes[index].1.clone();
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let how = process.wait().await;
            let _ = sender.send(Event::Ended { index, pid: process.pid, how }).await;
        });
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Ended { index, pid, how } => {
                let (id, dir) = (&self.nodes[index].0.id, self.layout.given().display());
                eprintln!(
                    "{id} (pid {pid}) has ended: {how}. Bring it back with\n  dynamo local restart-node {id} --dir {dir}"
                );
            }
            Event::Restarted { index, ended, reply } => {
                let (plan, process) = &self.nodes[index];
                let answer = match ended.and_then(|()| self.write_cluster_file()) {
                    Ok(()) => {
                        eprintln!("{} is back, pid {}", plan.id, process.pid);
                        self.watch(index);
                        Reply::Done(row(plan, process))
                    }
                    Err(failure) => {
                        process.signal(Signal::KILL);
                        Reply::Failed(message(failure))
                    }
                };
                // Who asked may be gone.
                let _ = reply.send(answer);
            }
        }
    }

    fn on_request(&mut self, request: Request, reply: oneshot::Sender<Reply>) {
        let (Request::Restart(id) | Request::Kill(id)) = &request;
        let Some(index) = self.nodes.iter().position(|(plan, _)| plan.id == *id) else {
            let known: Vec<&str> = self.nodes.iter().map(|(plan, _)| plan.id.as_str()).collect();
            let _ = reply.send(Reply::Refused(format!("there is no node {id}; there are {}", known.join(", "))));
            return;
        };
        let (plan, process) = &mut self.nodes[index];
        match (&request, process.is_running()) {
            (Request::Restart(id), true) => {
                let _ = reply.send(Reply::Refused(format!("{id} is still running, pid {}", process.pid)));
            }
            (Request::Kill(id), false) => {
                let _ = reply.send(Reply::Refused(format!("{id} is not running")));
            }
            (Request::Restart(_), false) => match NodeProcess::start(plan) {
                Err(failure) => drop(reply.send(Reply::Failed(message(failure)))),
                Ok(started) => {
                    *process = started;
                    let (plan, mut process, sender) = (plan.clone(), process.clone(), self.sender.clone());
                    tokio::spawn(async move {
                        let ended = process.ready(&plan).await;
                        let _ = sender.send(Event::Restarted { index, ended, reply }).await;
                    });
                }
            },
            (Request::Kill(_), true) => {
                process.signal(Signal::KILL);
                let (killed, mut process) = (row(plan, process), process.clone());
                tokio::spawn(async move {
                    process.wait().await;
                    let _ = reply.send(Reply::Done(killed));
                });
            }
        }
    }

    fn write_cluster_file(&self) -> Result<(), Failure> {
        let rows = self.rows();
        let document = json!({ "endpoint": rows[0].endpoint, "nodes": rows });
        let text = serde_json::to_string_pretty(&document).expect("plain data can be written") + "\n";
        let path = self.layout.cluster_file();
        write_atomically(&path, text.as_bytes(), Readers::All)
            .map_err(|error| Failure::file(format!("can't write {}", path.display()), &error))
    }
}

fn row(plan: &NodePlan, process: &NodeProcess) -> Row {
    Row {
        id: plan.id.clone(),
        zone: plan.zone.clone(),
        pid: process.pid,
        endpoint: plan.client(),
        dir: plan.dir.display().to_string(),
    }
}

fn message(failure: Failure) -> String {
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
