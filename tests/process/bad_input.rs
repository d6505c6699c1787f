//! Rubbish in: a clear error out, nothing lost, every node still there.

use std::{io::Write, net::TcpStream, process::Output, time::Duration};

use crate::cluster::Cluster;

fn refused(output: &Output, code: i32, says: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(says), "{stderr:?} does not say {says:?}");
}

#[test]
fn what_can_not_be_done_is_refused_with_a_reason_and_the_cluster_goes_on() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    let context = cluster.ok(&["put", "k", "v"]);
    let context = context.trim();

    refused(&cluster.run(&["put", "", "v"]), 2, "key");
    refused(&cluster.run(&["get", &"k".repeat(2049)]), 2, "2048");
    cluster.ok(&["put", &"k".repeat(2048), "v"]);
    refused(&cluster.run_with(&["put", "big"], Some(&vec![b'x'; (1 << 20) + 1])), 2, "1048576");
    assert!(cluster.run_with(&["put", "big"], Some(&vec![b'x'; 1 << 20])).status.success());

    let mut damaged: Vec<char> = context.chars().collect();
    damaged[30] = if damaged[30] == 'A' { 'B' } else { 'A' };
    let damaged: String = damaged.into_iter().collect();
    refused(&cluster.run(&["put", "k", "w", "--context", &damaged]), 2, "context");
    refused(&cluster.run(&["put", "other", "w", "--context", context]), 2, "another key");
    refused(&cluster.run(&["put", "k", "w", "--context", "not base64!"]), 2, "context");
    assert_eq!(cluster.ok(&["get", "k"]).trim_end(), "v");

    refused(&cluster.run(&["get", "k", "-r", "4"]), 2, "N = 3");
    refused(&cluster.run(&["put", "k", "w", "-w", "0"]), 2, "0");
    refused(&cluster.run(&["get", "k", "--bucket", "nowhere"]), 2, "nowhere");
    cluster.ok(&["bucket", "create", "b"]);
    cluster.ok(&["bucket", "create", "b"]);
    refused(&cluster.run(&["bucket", "create", "b", "-w", "3"]), 2, "other settings");
    refused(&cluster.run(&["get", "k", "--endpoint", "nonsense"]), 2, "endpoint");
    refused(&cluster.run(&["get", "k", "--endpoint", "127.0.0.1:1"]), 3, "127.0.0.1:1");

    let lines = b"{\"id\":\"a\"}\nnot json\n{\"id\":7}\n{\"id\":\"b\"}\n{\"half\":";
    let loaded = cluster.run_with(&["load", "-", "--key-field", "id"], Some(lines));
    refused(&loaded, 1, "line 2");
    assert_eq!(cluster.ok(&["get", "b"]).trim_end(), "{\"id\":\"b\"}");
    assert!(cluster.json(&["status"])["nodes"].as_array().unwrap().iter().all(|row| row["state"] != "down"));
}

#[test]
fn a_folder_in_use_or_of_other_settings_and_a_taken_port_are_refused() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    let dir = cluster.dir();
    let dir = dir.to_str().unwrap();
    assert_eq!(cluster.run(&["local", "--dir", dir]).status.code(), Some(2));
    let other = tempfile::tempdir().unwrap();
    let port = cluster.endpoint.rsplit(':').next().unwrap().to_owned();
    let taken = cluster.run(&["local", "--dir", other.path().to_str().unwrap(), "--port", &port]);
    assert!(!taken.status.success());
    assert!(String::from_utf8_lossy(&taken.stderr).contains(&port));

    let config = std::fs::read_to_string(format!("{dir}/nodes/node-1/node.yaml")).unwrap();
    let check = |text: &str| {
        let file = other.path().join("node.yaml");
        std::fs::write(&file, text).unwrap();
        cluster.run(&["node", "--check", "--config", file.to_str().unwrap()])
    };
    assert!(check(&config).status.success());
    refused(&check(&format!("{config}\nsurprise: 1\n")), 2, "surprise");
    refused(&check("cluster: {name: x\n"), 2, "line");
    let config = format!("{dir}/nodes/node-1/node.yaml");
    refused(&cluster.run(&["node", "--config", &config]), 1, "node.client_listen: can't listen on");
    let free: Vec<String> = ["node.client_listen", "node.peer_listen", "node.http_listen"]
        .map(|key| format!("--set={key}=127.0.0.1:0"))
        .into();
    let elsewhere: Vec<&str> =
        ["node", "--config", &config].into_iter().chain(free.iter().map(String::as_str)).collect();
    refused(&cluster.run(&elsewhere), 1, "in use");
}

#[test]
fn rubbish_on_the_ports_and_clients_that_hang_up_do_no_harm() {
    let cluster = Cluster::start(3, &["--zones", "3"]);
    cluster.ok(&["put", "k", "v"]);
    let port: u16 = cluster.endpoint.rsplit(':').next().unwrap().parse().unwrap();
    for port in [port, port + 1000, port + 2000] {
        for rubbish in
            [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff", &[0; 4096], b""]
        {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let _ = stream.write_all(rubbish);
        }
    }
    let mut load =
        cluster.command(&["bench", "--duration", "5s", "--keys", "100", "--concurrency", "8"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    load.kill().unwrap();
    load.wait().unwrap();
    assert_eq!(cluster.ok(&["get", "k"]).trim_end(), "v");
}
