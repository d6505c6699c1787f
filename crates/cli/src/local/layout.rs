//! Where a local cluster's files are, and which names, zones and ports its nodes have.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    net::TcpListener,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::roster::id_of;
use crate::failure::Failure;

/// Peers' ports are so much above clients'.
const PEER_PORTS: u16 = 1000;
/// HTTP ports are so much above clients'.
const HTTP_PORTS: u16 = 2000;
/// What the system takes as the path of a socket, with some room.
const SOCKET_PATH_MAX: usize = 100;

/// The files of a local cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Absolute: it goes into files that are read from elsewhere.
    dir: PathBuf,
    /// As it was given, for messages and commands to copy.
    given: PathBuf,
}

/// One node, whether it runs or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// node-1 and so on.
    pub id: String,
    /// zone-a and so on.
    pub zone: String,
    /// Its share of the load when it joins.
    pub weight: u32,
    /// Where its configuration, log and data are.
    pub dir: PathBuf,
    /// Its client port.
    pub port: u16,
}

impl NodePlan {
    /// For clients.
    pub fn client(&self) -> String {
        address(self.port)
    }

    /// For the other nodes.
    pub fn peer(&self) -> String {
        address(self.port + PEER_PORTS)
    }

    /// For metrics and readiness.
    pub fn http(&self) -> String {
        address(self.port + HTTP_PORTS)
    }

    /// Standard output and error of its process.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.dir.join("node.yaml")
    }
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

impl Layout {
    /// Makes the directory where it is missing.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new(dir: &Path) -> Result<Self, Failure> {
        let unusable = |error| Failure::file(format!("can't use the directory {}", dir.display()), &error);
        fs::create_dir_all(dir).map_err(unusable)?;
        Ok(Self { dir: dir.canonicalize().map_err(unusable)?, given: dir.to_owned() })
    }

    /// A directory that must be there already.
    ///
    /// # Errors
    /// It is not.
    pub fn existing(dir: &Path) -> Result<Self, Failure> {
        match dir.canonicalize() {
            Ok(absolute) => Ok(Self { dir: absolute, given: dir.to_owned() }),
            Err(_) => Err(Failure::usage(format!(
                "no cluster is running in {dir}: there is no such directory. Start one with `dynamo local --dir {dir}`",
                dir = dir.display()
            ))),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory as it was given.
    pub fn given(&self) -> &Path {
        &self.given
    }

    /// What the directory was made with.
    pub fn settings_file(&self) -> PathBuf {
        self.dir.join("cluster.yaml")
    }

    /// The running cluster, for programs. There only while all nodes have become ready and none was asked to stop.
    pub fn cluster_file(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    /// Certificates and keys, where the nodes speak TLS.
    pub fn tls_dir(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// The certificate of the directory's own authority.
    pub fn ca(&self) -> PathBuf {
        self.tls_dir().join("ca.pem")
    }

    /// How the running cluster is reached, for `--profile`. There where the nodes speak TLS.
    pub fn profile_file(&self) -> PathBuf {
        self.dir.join("profile.json")
    }

    /// Where the supervisor listens: in the directory, unless its path is too long for a socket.
    pub fn control_socket(&self) -> PathBuf {
        let inside = self.dir.join("control.sock");
        if inside.as_os_str().len() <= SOCKET_PATH_MAX {
            return inside;
        }
        std::env::temp_dir().join(format!("dynamo-local-{}.sock", std::process::id()))
    }

    /// Holds the socket's path where that is not in the directory.
    pub fn control_path_file(&self) -> PathBuf {
        self.dir.join("control.path")
    }

    /// Keeps a second `dynamo local` out while the file is open.
    ///
    /// # Errors
    /// There is one.
    pub fn lock(&self) -> Result<File, Failure> {
        let path = self.dir.join("lock");
        let opened = File::options().create(true).write(true).truncate(false).open(&path);
        let file = opened.map_err(|error| Failure::file(format!("can't open {}", path.display()), &error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Failure::usage(format!(
                "another `dynamo local` runs in {}. Stop it, or use another --dir (and --port)",
                self.given.display()
            ))),
            Err(TryLockError::Error(error)) => Err(Failure::file(format!("can't lock {}", path.display()), &error)),
        }
    }

    /// Where a node's files are, or those that it left behind.
    pub fn node_dir(&self, name: &str) -> PathBuf {
        self.dir.join("nodes").join(name)
    }

    /// The node with this number.
    pub fn plan(&self, number: u16, zone: String, weight: u32, port: u16) -> NodePlan {
        let id = id_of(number);
        let dir = self.node_dir(&id);
        NodePlan { id, zone, weight, dir, port }
    }
}

/// Binds every port once, so that a taken one is told before anything starts.
///
/// # Errors
/// The first taken port, what it is for, and what to do.
pub fn check_ports(plans: &[NodePlan]) -> Result<(), Failure> {
    for plan in plans {
        for (what, address) in [("clients", plan.client()), ("peers", plan.peer()), ("HTTP", plan.http())] {
            if let Err(error) = TcpListener::bind(&address) {
                return Err(Failure::usage(format!(
                    "can't listen on {address} ({} for {what}): {error}. Nothing was started. Stop what listens there, or \
                     choose other ports with --port (and another --dir: one that has data keeps its ports)",
                    plan.id
                )));
            }
        }
    }
    Ok(())
}

/// Whether all ports of a node with this client port can be listened on now.
pub fn is_free(layout: &Layout, port: u16) -> bool {
    check_ports(&[layout.plan(0, String::new(), 1, port)]).is_ok()
}

/// Who may read a file.
#[derive(Debug, Clone, Copy)]
pub enum Readers {
    /// Only the user who runs the cluster: the file holds its secret.
    Owner = 0o600,
    /// Everybody whom the umask allows.
    All = 0o666,
}

/// Replaces a file such that a reader sees the old or the new one, never a part.
pub fn write_atomically(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    let partial = path.with_extension("partial");
    // One that a crash left behind may have another mode.
    let _ = fs::remove_file(&partial);
    let mut file = File::options().write(true).create_new(true).mode(readers as u32).open(&partial)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::settings::{Asked, Settings};

    fn plans(dir: &Path, port: u16) -> Vec<NodePlan> {
        let layout = Layout::new(dir).unwrap();
        let asked = Asked { port: Some(port), ..Default::default() };
        Settings::open(&layout, &asked).unwrap().present(&layout)
    }

    #[test]
    fn zones_go_round_and_no_port_is_used_twice() {
        let dir = tempfile::tempdir().unwrap();
        let plans = plans(dir.path(), 7400);
        let zones: Vec<&str> = plans.iter().map(|plan| plan.zone.as_str()).collect();
        assert_eq!(zones, ["zone-a", "zone-b", "zone-c", "zone-a", "zone-b"]);
        let mut addresses: Vec<String> =
            plans.iter().flat_map(|plan| [plan.client(), plan.peer(), plan.http()]).collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 15);
        assert_eq!(plans[4].http(), "127.0.0.1:9404");
    }

    #[test]
    fn a_taken_port_is_named_with_the_flag_that_chooses_another() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let plan = NodePlan { id: "node-1".into(), zone: "zone-a".into(), weight: 1, dir: "x".into(), port };
        let Err(Failure::Told(_, message)) = check_ports(&[plan]) else { panic!("the port is free") };
        assert!(message.contains(&format!("127.0.0.1:{port}")) && message.contains("--port"), "{message}");
    }

    #[test]
    fn a_second_cluster_in_the_same_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path()).unwrap();
        let held = layout.lock().unwrap();
        assert!(matches!(layout.lock(), Err(Failure::Told(..))));
        drop(held);
        assert!(layout.lock().is_ok());
    }

    #[test]
    fn a_file_with_the_secret_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (secret, public) = (dir.path().join("cluster.yaml"), dir.path().join("cluster.json"));
        write_atomically(&secret, b"x", Readers::Owner).unwrap();
        write_atomically(&public, b"x", Readers::All).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&secret), 0o600);
        assert!(mode(&public) & 0o400 != 0 && mode(&public) & 0o111 == 0);
    }

    #[test]
    fn a_long_path_moves_the_socket_out_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        let layout = Layout::new(&long).unwrap();
        assert!(!layout.control_socket().starts_with(layout.dir()));
        assert!(Layout::new(dir.path()).unwrap().control_socket().ends_with("control.sock"));
    }
}
