"""Taskwarden's queue and its peers, in turns on the same machine and the same PostgreSQL: prints the median of several rounds.

Run it as `cargo xtask peers FOLDER`, which builds the benchmarks and starts the PostgreSQL. FOLDER keeps what is installed there: npm
packages, a Python environment, the Rust peers. A peer that cannot be installed or run is named, with the reason, and left out.

Added, done and both are jobs a second: adding all of them, then running all of them, then both one after the other. The milliseconds are
from adding one job to its start on an idle worker.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time
from urllib.parse import urlsplit

HERE = pathlib.Path(__file__).parent


def run(command, **options):
    ran = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True, **options)
    if ran.returncode != 0:
        last = [line for line in (ran.stderr + ran.stdout).splitlines() if line.strip()][-1:] or ["no output"]
        raise RuntimeError(f"{pathlib.Path(str(command[0])).name} failed: {last[0].strip()}")
    return ran.stdout


class Peers:
    def __init__(self, folder, jobs):
        self.folder, self.jobs = folder, jobs
        self.server = os.environ["TASKWARDEN_TEST_POSTGRES"]

    def database(self, name):
        """A new database of this name."""
        run(["psql", self.server, "-qc", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", "-c", f"CREATE DATABASE {name}"])
        before, _, parameters = self.server.partition("?")
        return f"{before.rsplit('/', 1)[0]}/{name}?{parameters}"

    def rust(self, package):
        target = self.folder / "target"
        env = {**os.environ, "CARGO_TARGET_DIR": str(target)}
        run(["cargo", "build", "--release", "--locked", "--manifest-path", HERE / package / "Cargo.toml"], env=env)
        return target / "release" / f"peer-{package}"

    def node(self, script):
        if not (self.folder / "node_modules").is_dir():
            shutil.copy(HERE / "package.json", self.folder)
            run(["npm", "install", "--no-audit", "--no-fund"], cwd=self.folder)
        # Modules are looked for beside the script.
        for module in (script, "probe.mjs"):
            shutil.copy(HERE / module, self.folder)
        return [self.folder / "node_modules" / ".bin" / "node", self.folder / script]

    def python(self, packages):
        python = self.folder / "py" / "bin" / "python"
        if not python.exists():
            run([sys.executable, "-m", "venv", self.folder / "py"])
            run([python, "-m", "pip", "install", "--quiet", *packages])
        return python

    def on_postgres(self, command, name, jobs):
        env = {**os.environ, "PEER_POSTGRES": self.database(name)}
        return json.loads(run([*command, jobs], env=env).splitlines()[-1])

    def graphile_worker_rs(self):
        return self.on_postgres([self.rust("graphile-worker-rs")], "peer_graphile_rs", self.jobs)

    def awa(self):
        return self.on_postgres([self.rust("awa")], "peer_awa", self.jobs // 4)

    def graphile_worker(self):
        return self.on_postgres(self.node("graphile_worker.mjs"), "peer_graphile", self.jobs // 2)

    def pg_boss(self):
        return self.on_postgres(self.node("pg_boss.mjs"), "peer_pg_boss", self.jobs // 4)

    def procrastinate(self):
        python = self.python(["procrastinate", "psycopg[binary,pool]"])
        return self.on_postgres([python, HERE / "procrastinate_peer.py"], "peer_procrastinate", self.jobs // 40)

    def bullmq(self, *settings):
        command, port = self.node("bullmq.mjs"), 16379
        data = self.folder / "redis"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        server = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", "", *settings],
            stdout=subprocess.DEVNULL,
        )
        try:
            time.sleep(0.5)
            return json.loads(run([*command, self.jobs // 2], env={**os.environ, "PEER_REDIS_PORT": str(port)}).splitlines()[-1])
        finally:
            server.terminate()
            server.wait()

    def bullmq_durable(self):
        return self.bullmq("--appendonly", "yes", "--appendfsync", "always")

    def honker(self):
        return json.loads(run([self.rust("honker"), self.jobs // 2, self.folder]).splitlines()[-1])

    def apalis(self):
        return json.loads(run([self.rust("apalis-sqlite"), self.jobs // 10, self.folder]).splitlines()[-1])

    def ours(self, bench, part):
        """The rates of one row of our own benchmark."""
        printed = run([*bench, part])
        rate = r"([\d ]+)/s"
        if part == "pg-host":
            added = re.search(rf"none running +{rate}", printed)
            done = re.search(rf"none coming in +{rate}", printed)
        else:
            added = re.search(rf"one priority +{rate}", printed)
            done = re.search(rf"one priority +[\d ]+/s +{rate}", printed)
        number = lambda found: int(found.group(1).replace(" ", ""))
        figures = {"added_per_s": number(added), "done_per_s": number(done)}
        if part == "pg-host":
            waits = re.search(r"submit → start +([\d.]+) ms +([\d.]+) ms", run([*bench, "pg-latency"]))
            figures |= {"p50_ms": float(waits.group(1)), "p99_ms": float(waits.group(2))}
        return figures


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", type=pathlib.Path, required=True, help="where peers are installed")
    arguments.add_argument("--bench", required=True, nargs=3, help="our benchmark's program, its guests, its scratch folder")
    arguments.add_argument("--jobs", type=int, default=100_000, help="of the fastest; slower ones get a part of that")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments = arguments.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    peers = Peers(arguments.folder.resolve(), arguments.jobs)
    everyone = {
        "taskwarden, queue alone, Postgres": lambda: peers.ours(arguments.bench, "pg"),
        "graphile_worker (Rust), Postgres": peers.graphile_worker_rs,
        "graphile-worker (Node), Postgres": peers.graphile_worker,
        "taskwarden, a host with a sandbox for each task, Postgres": lambda: peers.ours(arguments.bench, "pg-host"),
        "awa (Rust), Postgres": peers.awa,
        "pg-boss (Node), Postgres": peers.pg_boss,
        "procrastinate (Python), Postgres": peers.procrastinate,
        "BullMQ (Node), Redis in memory": peers.bullmq,
        "BullMQ (Node), Redis with every write on the disk": peers.bullmq_durable,
        "taskwarden, queue alone, SQLite at FULL": lambda: peers.ours(arguments.bench, "queue"),
        "honker (Rust), SQLite at FULL": peers.honker,
        "apalis (Rust), SQLite as it comes": peers.apalis,
    }
    figures = {name: [] for name in everyone}
    for number in range(arguments.rounds):
        for name, measure in list(everyone.items()):
            print(f"round {number + 1}: {name}", file=sys.stderr, flush=True)
            try:
                figures[name].append(measure())
            except (RuntimeError, OSError, AttributeError) as error:
                print(f"left out: {name}: {error}", file=sys.stderr)
                del everyone[name]
    width = max(map(len, figures))
    print(f"{'':{width}}  {'added/s':>9}  {'done/s':>9}  {'both/s':>9}  {'p50 ms':>6}  {'p99 ms':>6}")
    for name, rounds in figures.items():
        if rounds:
            added, done = (statistics.median(r[key] for r in rounds) for key in ("added_per_s", "done_per_s"))
            both = 1 / (1 / added + 1 / done)
            waits = (statistics.median(r[key] for r in rounds) if key in rounds[0] else "" for key in ("p50_ms", "p99_ms"))
            p50, p99 = waits
            print(f"{name:{width}}  {added:9.0f}  {done:9.0f}  {both:9.0f}  {p50:>6}  {p99:>6}")


main()
