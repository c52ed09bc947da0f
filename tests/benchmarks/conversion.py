"""Converts an archive beside a raw copy of it and the usual ways to write TFRecords.

    python tests/benchmarks/conversion.py ARCHIVE SCRATCH_FOLDER [--rounds=5] [--processes=2]

Every round takes all ways in turn; what counts is the ratio within a round, and its median. All
ways end with fsync. The usual converters read with `dataset[()]` and `group.attrs`, as their
authors would. A scratch folder in memory (a tmpfs) leaves the disk out.

Before each way as much memory as it will fill is touched and given back: a virtual machine gets
memory that it has not used for seconds anew from its host, which takes up to 9 ms for 3 MiB, where
all else that is measured here takes 1 to 6.
"""

import argparse
import mmap
import os
import shutil
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np

from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions

PART_SAMPLES = 240
FEW_SAMPLES = 24  # FloatList is that slow
CHUNK_BYTES = 4 * 2**20


def copy_file(paths):
    """Reads and writes the bytes with one reused buffer: nothing can be had for less."""
    source, target = paths
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        while count := reader.readinto(buffer):
            writer.write(buffer[:count])
        sync(writer)


def sync(stream):
    stream.flush()
    os.fsync(stream.fileno())


def touch_memory(size):
    """Has the host give this machine so much memory before the clock starts."""
    np.frombuffer(mmap.mmap(-1, size), np.uint8)[:: mmap.PAGESIZE] = 1


def raw_copy(archive, output, processes):
    output.mkdir()
    tasks = [(path, output / path.name) for path in sorted(archive.glob("*.h5"))]
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(warm_up, range(processes)))
        start = time.perf_counter()
        list(pool.map(copy_file, tasks))
        return time.perf_counter() - start


def warm_up(_):
    time.sleep(0.2)  # so that every process is up before the clock starts


def raw_copy_here(archive, output):
    output.mkdir()
    start = time.perf_counter()
    for path in sorted(archive.glob("*.h5")):
        copy_file((path, output / path.name))
    return time.perf_counter() - start


def convert(archive, output, processes):
    start = time.perf_counter()
    convert_archive(archive, output, ConvertOptions(), workers=processes)
    return time.perf_counter() - start


def convert_here(archive, output):
    """Converts in this very process, which like that of the usual converter is up already."""

    def run_tasks(function, tasks, workers, progress):
        for position, task in enumerate(tasks):
            yield position, function(task)

    start = time.perf_counter()
    convert_archive(archive, output, ConvertOptions(), workers=1, run_tasks=run_tasks)
    return time.perf_counter() - start


def usual_converter(archive, output, as_floats):
    """One process, tf.train.Example, tf.io.TFRecordWriter, as in the tutorials."""
    import tensorflow as tf

    def feature(value):
        if isinstance(value, (bytes, str, np.bytes_)):
            text = value if isinstance(value, bytes) else str(value).encode()
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))

    output.mkdir()
    start = time.perf_counter()
    for path in sorted(archive.glob("*.h5")):
        with (
            h5py.File(path, "r") as file,
            tf.io.TFRecordWriter(str(output / f"{path.stem}.tfrecord")) as writer,
        ):
            for group in file.values():
                stack = group["cbed_stack"][()]
                features = {name: feature(value) for name, value in group.attrs.items()}
                features["cbed_stack"] = feature(stack if as_floats else stack.tobytes())
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
        with open(output / f"{path.stem}.tfrecord", "rb+") as written:
            sync(written)
    return time.perf_counter() - start


def part_of(archive, folder, samples):
    """Links the first files of an archive into a folder; returns how many samples they hold."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    count = 0
    for path in sorted(archive.glob("*.h5")):
        if count < samples:
            (folder / path.name).symlink_to(path.resolve())
            with h5py.File(path, "r") as file:
                count += len(file)
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    scratch, many = options.scratch, options.processes
    whole, part, few = options.archive, scratch / "part", scratch / "few"
    samples = part_of(whole, part, sys.maxsize)
    part_samples, few_samples = part_of(whole, part, PART_SAMPLES), part_of(whole, few, FEW_SAMPLES)
    archive_bytes = sum(path.stat().st_size for path in whole.glob("*.h5"))
    # Its seconds, for how many samples: the slow ways see fewer of them.
    ways = {
        f"raw copy, {many} processes": (lambda out: raw_copy(whole, out, many), samples),
        f"cbed convert, {many} processes": (lambda out: convert(whole, out, many), samples),
        "raw copy, 1 process": (lambda out: raw_copy_here(part, out), part_samples),
        "cbed convert, 1 process": (lambda out: convert_here(part, out), part_samples),
        "bytes, TFRecordWriter, 1 process": (
            lambda out: usual_converter(part, out, False),
            part_samples,
        ),
        "FloatList, TFRecordWriter, 1 process": (
            lambda out: usual_converter(few, out, True),
            few_samples,
        ),
    }
    times = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, (way, count) in ways.items():
            output = scratch / "out"
            shutil.rmtree(output, ignore_errors=True)
            touch_memory(int(archive_bytes * count / samples) + 2**29)
            spent = way(output) / count * 1e3
            if number:  # the first round fills the page cache
                times[name].append(spent)
            print(f"round {number}: {name}: {spent:.2f} ms a sample", file=sys.stderr)
    for folder in (scratch / "out", part, few):
        shutil.rmtree(folder, ignore_errors=True)
    report(times)


def report(times):
    names = list(times)
    print(f"{'way':38}{'ms/sample':>10}{'(min .. max)':>18}")
    for name, spent in times.items():
        spread = f"({min(spent):.2f} .. {max(spent):.2f})"
        print(f"{name:38}{statistics.median(spent):10.2f}{spread:>18}")
    raw, ours, raw_alone, ours_alone, usual, floats = (times[name] for name in names)
    for title, slow, fast in (
        ("speed of a raw copy reached, many processes", raw, ours),
        ("speed of a raw copy reached, one process", raw_alone, ours_alone),
        ("times the usual converter, a raw copy, one against one", usual, raw_alone),
        ("times the usual converter, one against one", usual, ours_alone),
        ("times the FloatList converter, one against one", floats, ours_alone),
    ):
        ratios = [a / b for a, b in zip(slow, fast, strict=True)]
        print(f"{title}: {statistics.median(ratios):.2f} ({min(ratios):.2f} .. {max(ratios):.2f})")


if __name__ == "__main__":
    main()
