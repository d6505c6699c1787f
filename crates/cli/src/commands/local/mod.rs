//! `dynamo local`: a whole cluster on this machine; killing and restarting its nodes, adding, removing and replacing them.

mod add_node;
mod members;
mod remove_node;
mod replace_node;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use dynamo_client::{Client, Config};
use dynamo_wire::v1::ProgressResponse;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    change::watch,
    failure::Failure,
    local::{
        control::{self, Control, Request},
        layout::{Layout, check_ports},
        settings::{Asked, Flags, REPLICAS_DEFAULT, Settings},
        supervisor::Supervisor,
    },
    output,
};

/// How long a new cluster's homes are waited for; they serve without that, too.
const FOUNDED_WITHIN: Duration = Duration::from_secs(15);

const EXAMPLES: &str = "\
Examples:
  dynamo local                                  # five nodes in three zones, data in .dynamo
  dynamo local --nodes 3 --dir /tmp/small --port 7500
  dynamo local --durability interval --set limits.value_bytes=65536
  dynamo local kill-node node-2                 # from another terminal, as kill -9 does
  dynamo local restart-node node-2
  dynamo local add-node                         # a sixth node, which joins the ring
  dynamo local remove-node node-1               # it leaves the ring, and stops
  dynamo local --tls --dir /tmp/safe            # with an authority of its own
  dynamo get k --profile /tmp/safe/profile.json

Every node is a process of its own on 127.0.0.1, with three ports: for clients from --port on, for its peers 1000 above, \
for /metrics, /healthz and /readyz 2000 above. Once all are ready, DIR/cluster.json names them. Ctrl-C stops them all; \
the same DIR again reopens the same data, with the settings it was made with.";

/// Runs a whole cluster on this machine until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    /// How many nodes [default: 5, or as DIR was made]
    #[arg(long)]
    nodes: Option<u16>,
    /// Over how many zones they are spread [default: 3, or as DIR was made]
    #[arg(long)]
    zones: Option<u16>,
    #[command(flatten)]
    dir: Dir,
    /// Client port of the first node [default: 7400, or as DIR was made]
    #[arg(long)]
    port: Option<u16>,
    /// When a write is acknowledged
    #[arg(long, value_enum, default_value_t)]
    durability: Durability,
    /// N, on how many nodes a key lives [default: 3, or as DIR was made]
    #[arg(long)]
    replication: Option<u8>,
    /// Q, into how many partitions the ring is cut, a power of two [default: 256, or as DIR was made]
    #[arg(long)]
    partitions: Option<u32>,
    /// Speak TLS, with certificates of an authority that DIR gets for itself; only who reads DIR gets in
    #[arg(long)]
    tls: bool,
    /// Any other setting of the nodes, as in their YAML file; may be given often
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
}

#[derive(Debug, Args)]
struct Dir {
    /// Where the cluster's files are
    #[arg(long, default_value = ".dynamo")]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Starts a node of the running cluster that has ended
    #[command(name = "restart-node")]
    Restart {
        /// node-1 and so on
        id: String,
        #[command(flatten)]
        dir: Dir,
    },
    /// Ends a node of the running cluster as kill -9 does
    #[command(name = "kill-node")]
    Kill {
        /// node-1 and so on
        id: String,
        #[command(flatten)]
        dir: Dir,
    },
    #[command(name = "add-node")]
    Add(add_node::Command),
    #[command(name = "remove-node")]
    Remove(remove_node::Command),
    #[command(name = "replace-node")]
    Replace(replace_node::Command),
}

/// When a write is acknowledged (§6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
enum Durability {
    /// W replicas have it on stable storage
    #[default]
    Fsync,
    /// One replica has it on stable storage, the others in memory of their system
    OneFsync,
    /// W replicas have it in memory of their system; it reaches storage a little later
    Interval,
}

impl Durability {
    fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::OneFsync => "one-fsync",
            Self::Interval => "interval",
        }
    }
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        match self.action {
            Some(Action::Restart { id, dir }) => {
                let row = control::ask(&Layout::existing(&dir.dir)?, &Request::Restart(id)).await?;
                output::line(format!("{} is back: pid {}, {}", row.id, row.pid, row.endpoint))
            }
            Some(Action::Kill { id, dir }) => {
                let row = control::ask(&Layout::existing(&dir.dir)?, &Request::Kill(id)).await?;
                output::line(format!("{} is dead: pid {} was killed", row.id, row.pid))
            }
            Some(Action::Add(command)) => command.run().await,
            Some(Action::Remove(command)) => command.run().await,
            Some(Action::Replace(command)) => command.run().await,
            None => self.serve().await,
        }
    }

    async fn serve(self) -> Result<(), Failure> {
        let layout = Layout::new(&self.dir.dir)?;
        let _lock = layout.lock()?;
        let asked = Asked {
            nodes: self.nodes,
            zones: self.zones,
            replication: self.replication,
            partitions: self.partitions,
            port: self.port,
            tls: self.tls,
        };
        let is_new = !layout.settings_file().exists();
        let settings = Settings::open(&layout, &asked)?;
        check_ports(&settings.present(&layout))?;
        settings.save(&layout)?;
        let flags = Flags { durability: self.durability.name().to_owned(), sets: self.sets };
        // Before the first child: a signal that comes while they start must not leave them behind.
        let mut stopping = Box::pin(asked_to_stop()?);
        let (port, replicas) = (settings.port, settings.replication);
        let mut supervisor = Supervisor::start(layout.clone(), settings, flags)?;
        // A request waits until all nodes are ready, and while another is begun.
        let (sender, mut requests) = mpsc::channel(16);
        let ended = tokio::select! {
            ended = async {
                let _control = Control::listen(&layout, sender)?;
                supervisor.ready(is_new).await?;
                if is_new {
                    founded(&supervisor, &layout).await;
                }
                show(&supervisor, &layout, port, replicas)?;
                match supervisor.supervise(&mut requests).await {}
            } => ended,
            () = &mut stopping => Ok(()),
        };
        supervisor.stop().await;
        ended
    }
}

/// Waits until the homes of a new cluster have compared their empty disks. Nobody knows before that nothing was ever lost,
/// and a node that dies could not be taken out of the ring.
async fn founded(supervisor: &Supervisor, layout: &Layout) {
    let endpoints = supervisor.rows().into_iter().map(|row| row.endpoint);
    let looking = async {
        let config = Config { tls: layout.caller(), ..Config::new(endpoints.collect()) };
        let client = Client::connect(config).await.ok()?;
        let whole = |answer: Result<&ProgressResponse, &_>| (answer.ok()?.refilling == 0).then_some(());
        watch::poll(&client, whole).await.ok()
    };
    let _ = tokio::time::timeout(FOUNDED_WITHIN, looking).await;
}

/// Ends when somebody presses Ctrl-C, closes the terminal, or terminates this process.
fn asked_to_stop() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::file("can't listen for signals", &error));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn show(supervisor: &Supervisor, layout: &Layout, port: u16, replicas: u8) -> Result<(), Failure> {
    let nodes = supervisor.rows();
    let victim = nodes.get(1).or(nodes.first()).map(|row| row.id.clone()).unwrap_or_default();
    let first = nodes.first().map(|row| row.endpoint.clone()).unwrap_or_default();
    let rows = nodes
        .into_iter()
        .map(|row| {
            let dir = layout.given().join("nodes").join(&row.id).display().to_string();
            vec![row.id, row.zone, row.pid.to_string(), row.endpoint, dir]
        })
        .collect();
    output::print_table(&output::table(&["ID", "ZONE", "PID", "ENDPOINT", "DIRECTORY"], &["PID"], rows))?;
    let dir = layout.given().display();
    let endpoint = match port {
        _ if layout.caller().is_some() => format!(" --profile {}", layout.given().join("profile.json").display()),
        crate::args::LOCAL_PORT => String::new(),
        _ => format!(" --endpoint {first}"),
    };
    if replicas < REPLICAS_DEFAULT {
        output::line(format!(
            "\nN is {replicas}: so many nodes have each key, also when nodes are added. --replication says otherwise where DIR \
             is made."
        ))?;
    }
    output::line(format!(
        "\nReady. Ctrl-C stops all nodes; their data stays in {dir}. In another terminal, try:\n  \
         dynamo put greeting hello{endpoint}\n  \
         dynamo get greeting{endpoint}\n  \
         dynamo local kill-node {victim} --dir {dir}"
    ))
}
