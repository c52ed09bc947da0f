"""Scans and plans archives beside a plain h5py loop over groups and attributes.

    python tests/benchmarks/made_archive.py /scratch/made20k 20000
    python tests/benchmarks/scanning.py /scratch/made20k [more archives] [--rounds=3]

`cbed` reads, checks and compares all attributes, finds the patterns, orders the samples and saves
the plan; the plain loop only reads the attributes into dicts. Each runs in a process of its own, in
turn.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py

from cbed_tf.archive.files import find_files
from cbed_tf.archive.scan import scan_archive
from cbed_tf.conversion.plan import ConvertOptions, load_plan, make_plan, save_plan
from cbed_tf.processes import engine


def plain_loop(archive):
    """What everybody writes; returns seconds."""
    start = time.perf_counter()
    for path in sorted(archive.glob("*.h5")):
        with h5py.File(path, "r") as file:
            for name in file:
                group = file[name]
                attributes = {key: group.attrs[key] for key in group.attrs}
                assert attributes
    return {"seconds": time.perf_counter() - start}


def scan_and_plan(archive, workers):
    """What `cbed convert` does before it writes; returns seconds by step, and memory."""
    start = time.perf_counter()
    scan = scan_archive(archive, find_files(archive), workers)
    scanned = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        save_plan(Path(folder), make_plan(scan, ConvertOptions()))
        planned = time.perf_counter()
        load_plan(Path(folder))
        loaded = time.perf_counter()
    samples = len(scan.columns["sample_id"])
    return {
        "samples": samples,
        "seconds": planned - start,
        "plan_seconds": planned - scanned,
        "reload_seconds": loaded - planned,
        "column_bytes": sum(column.nbytes for column in scan.columns.values()) / samples,
        "parent_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def in_own_process(*words):
    words = [sys.executable, __file__, "--step", *map(str, words)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(archive, rounds):
    workers = engine.default_workers()
    ours, alone, plain = [], [], []
    for _ in range(rounds):
        ours.append(in_own_process("cbed", archive, workers))
        alone.append(in_own_process("cbed", archive, 1))
        plain.append(in_own_process("plain", archive, 0))

    def median(results, key="seconds"):
        return statistics.median(result[key] for result in results)

    def ratio(results):
        pairs = zip(plain, results, strict=True)
        return statistics.median(a["seconds"] / b["seconds"] for a, b in pairs)

    print(
        f"{median(ours, 'samples'):8.0f} samples: scan and plan {median(ours):7.2f} s with "
        f"{workers} processes, {median(alone):7.2f} s with 1, plain loop {median(plain):7.2f} s: "
        f"{ratio(ours):.2f} and {ratio(alone):.2f} times as fast. Plan alone "
        f"{median(ours, 'plan_seconds'):.2f} s, read again {median(ours, 'reload_seconds'):.2f} s, "
        f"{median(ours, 'column_bytes'):.0f} bytes a sample; peak memory "
        f"{median(ours, 'parent_mb'):.0f} MB, a worker {median(ours, 'worker_mb'):.0f} MB"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", action="store_true", help="run one step, for this script itself")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("words", nargs="+")
    options = parser.parse_args()
    if options.step:
        kind, archive, workers = options.words
        step = scan_and_plan(Path(archive), int(workers)) if kind == "cbed" else None
        print(json.dumps(step or plain_loop(Path(archive))))
        return
    for archive in options.words:
        measure(Path(archive), options.rounds)


if __name__ == "__main__":
    main()
