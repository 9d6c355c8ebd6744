"""The plugin in its sandbox against DuckDB on the same files, in turns on the same machine: prints medians and the ratio.

    python3 -m venv peers && peers/bin/pip install duckdb
    peers/bin/python benches/peers/reconcile_compare.py --taskwarden target/release/taskwarden \\
        --plugin target/wasm/stripe-reconcile.wasm --folder FOLDER --rows 1000000 --rounds 3

Needs about 400 MB in FOLDER. DuckDB is run as it comes, on every core; the plugin has one thread. Both read both files and count the same
classes, which is checked; with --write both also write what they found.
"""

import argparse
import json
import pathlib
import resource
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
# Under load a minute of wall time is soon over.
LIMITS = ["--limit", "wall_ms=3600000"]


def measured(command):
    """Wall and CPU seconds of a command, and what it printed."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, ran.stdout, ran.stderr


def plugin(arguments):
    payload = "{}" if arguments.write else '{"matches": "none"}'
    command = [arguments.taskwarden, "plugin", "run", arguments.plugin, "--task-type", "stripe.reconcile", "--payload", payload, "--json"]
    for name in ("ledger", "stripe"):
        command += ["--input", f"{name}={arguments.folder / name}.csv"]
    wall, cpu, out, err = measured([*command, "--output-dir", str(arguments.folder / "out"), *LIMITS])
    try:
        ran = json.loads(out)
    except json.JSONDecodeError:
        sys.exit(f"the plugin did not run: {err}")
    if ran["outcome"] != "succeeded":
        sys.exit(f"the plugin ended with {ran['outcome']}: {ran['error']}")
    counts = {line["class"]: line["findings"] for line in ran["result"]["lines"]}
    receipt = ran["receipt"]
    return {"wall": wall, "cpu": cpu, "run": receipt["run_ms"] / 1000, "memory": receipt["memory_peak_bytes"], "fuel": receipt["fuel_used"],
            "counts": counts}


def duckdb(arguments):
    command = [sys.executable, str(HERE / "reconcile_duckdb.py"), str(arguments.folder)] + (["--write"] if arguments.write else [])
    wall, cpu, out, err = measured(command)
    if not out:
        sys.exit(f"DuckDB did not run: {err}")
    ran = json.loads(out)
    return {"wall": wall, "cpu": cpu, "run": ran["total_s"], "memory": ran["peak_mib"] * 2**20, "counts": ran["counts"]}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--taskwarden", required=True)
    arguments.add_argument("--plugin", required=True)
    arguments.add_argument("--folder", type=pathlib.Path, required=True)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--write", action="store_true")
    arguments = arguments.parse_args()
    if not (arguments.folder / "stripe.csv").exists():
        subprocess.run([sys.executable, HERE / "reconcile_generate.py", "--rows", str(arguments.rows), "--out", arguments.folder], check=True)
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(plugin(arguments))
        theirs.append(duckdb(arguments))
    if ours[0]["counts"] != theirs[0]["counts"]:
        sys.exit(f"the two disagree: {ours[0]['counts']} and {theirs[0]['counts']}")

    def median(of, what):
        return statistics.median(run[what] for run in of)

    print(f"{'':24}{'plugin':>10}{'DuckDB':>10}{'ratio':>8}")
    for what, name in (("run", "run, seconds"), ("wall", "whole process, seconds"), ("cpu", "CPU, seconds")):
        print(f"{name:24}{median(ours, what):>10.2f}{median(theirs, what):>10.2f}{median(ours, what) / median(theirs, what):>8.2f}")
    memory = median(ours, "memory") / 2**20, median(theirs, "memory") / 2**20
    print(f"{'memory, MiB':24}{memory[0]:>10.0f}{memory[1]:>10.0f}{memory[0] / memory[1]:>8.2f}")
    print(f"fuel {median(ours, 'fuel') / 1e9:.1f} thousand million; classes agree: {ours[0]['counts']}")


if __name__ == "__main__":
    main()
