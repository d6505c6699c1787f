#!/usr/bin/env python3
"""The figures of docs/BENCHMARKS.md on a ring that changes and on anti-entropy, from `dynamo local`.

    cargo build --release -p dynamo-cli
    docs/bench/ring.py join [--keys 350000] [--rate 500] [--rounds 3]
    docs/bench/ring.py quick [--keys 350000] [--rounds 3]
    docs/bench/ring.py idle [--keys 1000000] [--rounds 3]

join  Five nodes in three zones, N = 3, hold KEYS values of 1 KiB (350,000 are 1 GiB on the nodes); `dynamo local add-node` adds a sixth while requests
      (half of them reads) come at RATE a second by the clock. The p99 of stretches of 15 s of which more than half lies within the
      join, against that of four before. Then the bytes of the keys that the new node got are sent over loopback into a
      file and synced: what copying alone costs. Between rounds `dynamo local remove-node` takes the node out again.
quick The same with nobody asking anything meanwhile.
idle  Five nodes with KEYS small values, nothing to do: the nodes' CPU and the bytes on loopback. Then one key is deleted
      while a node is down, in a strict bucket (so that no hint remembers it): the time until the node knows once it is ready
      again.

A line of JSON a round; all rounds use one cluster.
"""
import argparse, json, os, pathlib, random, signal, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.request

PORT, NODES, WARMUP, STRETCH, QUIET = 27400, 5, 3, 15, 4
TICKS = os.sysconf("SC_CLK_TCK")
DYNAMO = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release", "dynamo")


def dynamo(*words, **more):
    ended = subprocess.run([DYNAMO, *map(str, words)], capture_output=True, text=True, **more)
    if ended.returncode:
        sys.exit(f"dynamo {' '.join(map(str, words))}: {ended.stderr}")
    return ended.stdout


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def loopback_bytes():
    line = next(line for line in pathlib.Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split()[1])


def metric(node, name):
    port = int(node["endpoint"].rpartition(":")[2]) + 2000
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.split(" ")[0] == name)


class Cluster:
    """Five nodes, as long as the block runs."""

    def __enter__(self):
        self.work = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.work.name, "cluster")
        self.local = subprocess.Popen([DYNAMO, "local", "--nodes", str(NODES), "--dir", str(self.dir), "--port", str(PORT)],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (self.dir / "cluster.json").exists():
            assert self.local.poll() is None, "the cluster did not start"
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.local.send_signal(signal.SIGINT)
        self.local.wait()
        self.work.cleanup()

    def nodes(self):
        return {node["id"]: node for node in json.loads((self.dir / "cluster.json").read_text())["nodes"]}

    def cpu_seconds(self):
        return sum(cpu_seconds(node["pid"]) for node in self.nodes().values())

    def bench(self, *more):
        # Each run of the load begins without contexts: last-write-wins, or its writes would pile up as siblings.
        return json.loads(dynamo("bench", "--endpoint", f"127.0.0.1:{PORT}", "--bucket", "bench", "-o", "json", *more))

    def settled(self):
        """Waits until nothing is left to flush or to compact: the nodes' CPU is quiet for five seconds."""
        while True:
            before = self.cpu_seconds()
            time.sleep(5)
            if self.cpu_seconds() - before < 5 * 0.25:
                return


def stretches(cluster, keys, rate, rows, stop):
    while not stop.is_set():
        # A client that has just started sends what it could not send while it connected all at once.
        began = time.monotonic() + WARMUP
        found = cluster.bench("--keys", keys, "--rate", rate, "--concurrency", 64, "--duration", f"{STRETCH}s",
                              "--warmup", f"{WARMUP}s", "--no-preload")
        rows.append((began, time.monotonic(), found))


def p99_ms(rows, kind):
    return statistics.median(row[kind]["p99_us"] for _, _, row in rows) / 1000


def copying_seconds(length):
    """Bytes from one process's memory over loopback into a file, synced at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    block = os.urandom(1 << 20)

    def send():
        with socket.create_connection(listener.getsockname()) as to:
            for _ in range(length >> 20):
                to.sendall(block)
    began = time.monotonic()
    sender = threading.Thread(target=send)
    sender.start()
    with listener.accept()[0] as source, tempfile.TemporaryFile(buffering=0) as file:
        while some := source.recv(1 << 20):
            file.write(some)
        os.fsync(file.fileno())
    sender.join()
    return time.monotonic() - began


def newest(cluster):
    return max(cluster.nodes().values(), key=lambda node: int(node["id"].rpartition("-")[2]))


def join(cluster, chosen):
    cluster.settled()
    rows, stop = [], threading.Event()
    load = threading.Thread(target=stretches, args=(cluster, chosen.keys, chosen.rate, rows, stop))
    if chosen.rate:
        load.start()
        time.sleep(QUIET * (WARMUP + STRETCH) + 1)
    before, began = cluster.cpu_seconds(), time.monotonic()
    dynamo("local", "add-node", "--dir", cluster.dir)
    ended = time.monotonic()
    after = cluster.cpu_seconds()
    stop.set()
    if chosen.rate:
        load.join()
    new = newest(cluster)
    keys = int(metric(new, "dynamo_keys"))
    row = {"what": chosen.what, "keys": chosen.keys, "rate": chosen.rate, "keys_got": keys, "join_s": round(ended - began, 2),
           "copy_s": round(copying_seconds(keys * 1024), 2), "node_cpu_s": round(after - before, 2)}
    if chosen.rate:
        quiet = [row for row in rows if row[1] < began]
        joining = [row for row in rows if min(row[1], ended) - max(row[0], began) > STRETCH / 2]
        row |= {"stretches": [len(quiet), len(joining)], "errors": sum(row["errors"] for _, _, row in rows)}
        for kind in ("reads", "writes"):
            if quiet and joining:
                row[f"{kind}_p99_ms"] = [p99_ms(quiet, kind), p99_ms(joining, kind)]
    dynamo("local", "remove-node", new["id"], "--dir", cluster.dir)
    return row


def at_last_node(cluster, key, endpoint):
    before = metric(newest(cluster), "dynamo_keys")
    dynamo("put", key, "value", "--bucket", "strict", *endpoint)
    time.sleep(0.5)
    return metric(newest(cluster), "dynamo_keys") > before


def idle(cluster, chosen):
    cluster.settled()
    cpu, sent, began = cluster.cpu_seconds(), loopback_bytes(), time.monotonic()
    time.sleep(60)
    lasted = time.monotonic() - began
    row = {"what": "idle", "keys": chosen.keys, "cpu_percent_of_a_core_a_node": round((cluster.cpu_seconds() - cpu) / lasted / NODES * 100, 2),
           "loopback_bytes_per_minute_a_node": round((loopback_bytes() - sent) / lasted / NODES * 60)}
    endpoint = ("--endpoint", f"127.0.0.1:{PORT}")
    if "strict" not in dynamo("bucket", "list", *endpoint):
        dynamo("bucket", "create", "strict", "--strict", *endpoint)
    key = next(key for key in (f"probe-{random.random()}" for _ in range(100)) if at_last_node(cluster, key, endpoint))
    last = newest(cluster)["id"]
    dynamo("local", "kill-node", last, "--dir", cluster.dir)
    dynamo("delete", key, "--bucket", "strict", *endpoint)
    dynamo("local", "restart-node", last, "--dir", cluster.dir)
    began = time.monotonic()
    while not metric(newest(cluster), "dynamo_tombstones"):
        time.sleep(0.05)
    row["one_key_mended_s"] = round(time.monotonic() - began, 2)
    # The next round counts tombstones, too.
    dynamo("put", key, "again", "--bucket", "strict", *endpoint)
    while metric(newest(cluster), "dynamo_tombstones"):
        time.sleep(0.05)
    return row


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["join", "quick", "idle"])
    arguments.add_argument("--keys", type=int, default=None)
    arguments.add_argument("--rate", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    chosen.keys = chosen.keys or (1_000_000 if chosen.what == "idle" else 350_000)
    chosen.rate = chosen.rate if chosen.what == "join" else 0
    with Cluster() as cluster:
        dynamo("bucket", "create", "bench", "--mode", "last-write-wins", "--endpoint", f"127.0.0.1:{PORT}")
        cluster.bench("--keys", chosen.keys, "--value-size", 16 if chosen.what == "idle" else 1024, "--concurrency", 128,
                      "--duration", "1s", "--warmup", "0s")
        for _ in range(chosen.rounds):
            print(json.dumps({"join": join, "quick": join, "idle": idle}[chosen.what](cluster, chosen)), flush=True)


if __name__ == "__main__":
    main()
