#!/usr/bin/env python3
"""The figures of docs/BENCHMARKS.md: `dynamo bench` against `dynamo local`, each cell in turn, and the medians.

    cargo build --release -p dynamo-cli
    docs/bench/local.py [--rounds 3] [--seconds 20] [--out FILE]

Each run starts with an empty directory. CPU is that of the nodes alone (user and system), read from /proc before and after
the run; memory is what they have resident at its end. A line of JSON a run goes to FILE, a table of medians to the screen.
"""
import argparse, json, os, pathlib, signal, statistics, subprocess, tempfile, time

CELLS = [  # durability, nodes (all of them replicas), percent of reads
    ("fsync", 3, 50), ("one-fsync", 3, 50), ("interval", 3, 50),
    ("fsync", 1, 50), ("one-fsync", 1, 50), ("interval", 1, 50),
    ("fsync", 3, 100), ("fsync", 3, 0), ("interval", 3, 0),
]
KEYS, VALUE_BYTES, CLIENTS, PORT = 100_000, 1024, 32, 27400
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    fields = [pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields) / TICKS


def resident_mib(pids):
    status = [pathlib.Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(text.partition("VmRSS:")[2].split()[0]) for text in status) / 1024


def bench(dynamo, reads, *more):
    command = [dynamo, "bench", "--endpoint", f"127.0.0.1:{PORT}", "--keys", KEYS, "--value-size", VALUE_BYTES,
               "--concurrency", CLIENTS, "--read-percent", reads, "-o", "json", *more]
    return json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)


def run(dynamo, seconds, durability, nodes, reads):
    with tempfile.TemporaryDirectory() as work:
        listing = pathlib.Path(work, "cluster", "cluster.json")
        local = subprocess.Popen([dynamo, "local", "--nodes", str(nodes), "--zones", str(nodes), "--replication", str(nodes),
                                  "--durability", durability, "--dir", str(listing.parent), "--port", str(PORT)],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not listing.exists():
                assert local.poll() is None, "the cluster did not start"
                time.sleep(0.1)
            pids = [node["pid"] for node in json.loads(listing.read_text())["nodes"]]
            bench(dynamo, reads, "--duration", "1s", "--warmup", "3s")  # writes all keys first
            before = cpu_seconds(pids)
            result = bench(dynamo, reads, "--duration", f"{seconds}s", "--warmup", "0s", "--no-preload")
            spent, memory = cpu_seconds(pids) - before, resident_mib(pids)
        finally:
            local.send_signal(signal.SIGINT)
            local.wait()
    row = {"durability": durability, "nodes": nodes, "read_percent": reads, "value_bytes": VALUE_BYTES, "clients": CLIENTS,
           "ops_per_s": round(result["all"]["ops_per_s"]), "errors": result["errors"]}
    for kind in ("reads", "writes"):
        for quantile in ("p50", "p99", "p999"):
            if result[kind]["operations"]:
                row[f"{kind}_{quantile}_ms"] = result[kind][f"{quantile}_us"] / 1000
    row["server_us_per_op"] = round(spent * 1e6 / result["all"]["operations"], 1)
    row["rss_mib_per_node"] = round(memory / nodes)
    return row


def table(rows):
    cells = {}
    for row in rows:
        cells.setdefault((row["durability"], row["nodes"], row["read_percent"]), []).append(row)
    print("| durability | nodes | reads % | ops/s | reads p50/p99/p99.9 ms | writes p50/p99/p99.9 ms | server CPU us/op | MiB a node | errors |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (durability, nodes, reads), of in cells.items():
        median = lambda key: statistics.median(row[key] for row in of)
        spread = lambda kind: " / ".join(f"{median(f'{kind}_{q}_ms'):.1f}" for q in ("p50", "p99", "p999")) if f"{kind}_p50_ms" in of[0] else "-"
        print(f"| {durability} | {nodes} | {reads} | {median('ops_per_s'):,.0f} | {spread('reads')} | {spread('writes')} "
              f"| {median('server_us_per_op'):.0f} | {median('rss_mib_per_node'):.0f} | {sum(row['errors'] for row in of)} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=20)
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path("local-bench.jsonl"))
    chosen = arguments.parse_args()
    dynamo = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release", "dynamo")
    rows = []
    for _ in range(chosen.rounds):
        for cell in CELLS:
            rows.append(run(dynamo, chosen.seconds, *cell))
            print(json.dumps(rows[-1]), flush=True)
            chosen.out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table(rows)


if __name__ == "__main__":
    main()
