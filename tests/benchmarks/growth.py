"""Measures how the cost of gather grows with the number of samples, not with their size.

    python tests/benchmarks/growth.py SCRATCH_FOLDER [--samples 1000 100000 10000000]

Makes data sets of tiny patterns, 85 samples a shard as with 3 MiB, whose shards are holes: only
index and number of files are large. Each is loaded shuffled in a process of its own, in which a
small one was read before, so that TensorFlow's start is not counted. Bytes a sample are those that
the process has more than before: at its height up to the first batch, and after it. Prints a
Markdown table; 10^7 samples take 120,000 files and a minute to make.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent)]

from made_dataset import make_dataset  # noqa: E402
from process_memory import forget_peak, peak_bytes, resident_bytes  # noqa: E402

from pipelines import load_dataset  # noqa: E402

BATCH_SIZE = 32
BATCHES = 2000


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--samples", type=int, nargs="+", default=[10**3, 10**5, 10**7])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", type=int, help="measure one size, for this script itself")
    flags = parser.parse_args(argv)
    small, folder = flags.scratch / "growth-small", flags.scratch / "growth"
    if flags.step:
        print(json.dumps(measure(small, folder, flags.step)))
        return
    print(
        "| samples | loaded | first batch after | samples/s then | bytes a sample, height | after |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    try:
        make_dataset(small, BATCH_SIZE, records=False)
        for samples in flags.samples:
            make_dataset(folder, samples, records=False)
            words = [sys.executable, __file__, str(flags.scratch), f"--step={samples}"]
            found = [
                json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
                for _ in range(flags.rounds)
            ]
            print(as_row(samples, found), flush=True)
            shutil.rmtree(folder)
    finally:
        for made in (small, folder):
            shutil.rmtree(made, ignore_errors=True)


def measure(small, folder, samples):
    """Returns seconds, speed and bytes for one data set."""
    for _ in load_dataset(small, "train", BATCH_SIZE, shuffle=True):
        pass
    before = resident_bytes()
    forget_peak()
    start = time.perf_counter()
    dataset = load_dataset(folder, "train", BATCH_SIZE, shuffle=True)
    loaded = time.perf_counter()
    batches = iter(dataset.repeat())
    next(batches)
    first = time.perf_counter()
    height, after = peak_bytes() - before, resident_bytes() - before
    for _ in range(BATCHES):
        next(batches)
    return {
        "loaded": loaded - start,
        "first_batch": first - loaded,
        "samples_per_second": BATCH_SIZE * BATCHES / (time.perf_counter() - first),
        "height": height / samples,
        "after": after / samples,
    }


def as_row(samples, found):
    median = {name: np.median([one[name] for one in found]) for name in found[0]}
    seconds = f"{median['loaded']:.2f} s | {median['first_batch']:.2f} s"
    memory = f"{median['height']:,.0f} | {median['after']:,.0f}"
    return f"| {samples:,} | {seconds} | {median['samples_per_second']:,.0f} | {memory} |"


if __name__ == "__main__":
    main()
