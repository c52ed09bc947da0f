"""Measures the memory of a process that reads a data set for several epochs, from the disk.

    python tests/benchmarks/memory.py SHARDS [--epochs=6] [--batch_size=32]

The page cache forgets every shard before each epoch, as if the data set were larger than it. Each
reader has a process of its own; its resident memory is noted at every tenth of an epoch. Flat means
that the second half of the epochs is no higher than the first. The expected height is what
`load_dataset` says it keeps: 6 batches for gather, for stream its shuffle buffer (512 MiB) besides;
the rest is TensorFlow's graph and threads. Prints Markdown tables, in MB above the start.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

from process_memory import MB, resident_bytes  # noqa: E402

from cbed_tf.dataset.manifest import load_manifest  # noqa: E402
from pipelines import load_dataset  # noqa: E402

READERS = ("gather", "stream")
TENTHS = 10
# What the docstring of load_dataset says.
BATCHES_KEPT = 6
BUFFER_BYTES = 512 * 2**20


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=READERS)
    parser.add_argument("--step", choices=READERS, help="measure one, for this script itself")
    flags = parser.parse_args(argv)
    if flags.epochs < 2:
        parser.error("--epochs should be at least 2")
    if flags.step:
        print(json.dumps(measure(flags, flags.step)))
        return
    for reader in flags.readers:
        words = [sys.executable, __file__, *(argv or sys.argv[1:]), f"--step={reader}"]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
        print_table(reader, json.loads(done.stdout), expected_bytes(flags, reader))


def measure(flags, reader):
    """Returns for each epoch the bytes above the start at every tenth, and its seconds."""
    entry = load_manifest(flags.data_dir).split(flags.split)
    start = resident_bytes()
    dataset = load_dataset(
        flags.data_dir, flags.split, flags.batch_size, shuffle=True, reader=reader
    )
    batches = int(dataset.cardinality())
    marks = {-(-batches * tenth // TENTHS) for tenth in range(1, TENTHS + 1)}
    epochs = []
    for _ in range(flags.epochs):
        for shard in entry.shards:
            forget(flags.data_dir / shard.name)
        began, resident = time.perf_counter(), []
        for number, _ in enumerate(dataset, 1):
            if number in marks:
                resident.append(resident_bytes() - start)
        epochs.append({"resident": resident, "seconds": time.perf_counter() - began})
    return {"start": start, "samples": entry.samples, "epochs": epochs}


def forget(path):
    """Has the page cache drop a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def expected_bytes(flags, reader):
    manifest = load_manifest(flags.data_dir)
    sample_bytes = manifest.encoding.image_bytes(manifest.image_shape)
    expected = BATCHES_KEPT * flags.batch_size * sample_bytes
    if reader == "stream":
        samples = manifest.split(flags.split).samples
        expected += 3 * min(BUFFER_BYTES, samples * sample_bytes)
    return expected


def print_table(reader, found, expected):
    columns = len(found["epochs"][0]["resident"])
    print(f"{reader}: starts at {found['start'] / MB:,.0f} MB")
    print("| epoch | samples/s |" + "".join(f" {k}/{columns} |" for k in range(1, columns + 1)))
    print("| ---: | ---: |" + " ---: |" * columns)
    for number, epoch in enumerate(found["epochs"], 1):
        cells = "".join(f" {resident / MB:,.0f} |" for resident in epoch["resident"])
        print(f"| {number} | {found['samples'] / epoch['seconds']:,.0f} |{cells}")
    heights = [max(epoch["resident"]) for epoch in found["epochs"]]
    first, second = heights[: len(heights) // 2], heights[len(heights) // 2 :]
    print(
        f"height in epochs 1 to {len(first)}: {max(first) / MB:,.0f} MB, in those after them "
        f"{max(second) / MB:,.0f} MB; batches and buffer as documented {expected / MB:,.0f} MB\n"
    )


if __name__ == "__main__":
    main()
