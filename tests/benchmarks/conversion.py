"""Converts an archive beside a raw copy of it and the usual ways to write TFRecords.

    python tests/benchmarks/conversion.py ARCHIVE SCRATCH_FOLDER [--rounds=5] [--processes=2]

Every round takes all ways in turn; what counts is the ratio within a round, and its median. All
ways end with fsync. The usual converters read with `dataset[()]` and `group.attrs`, as their
authors would.
"""

import argparse
import shutil
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np

from cbed_tf.convert import convert_archive
from cbed_tf.plan import ConvertOptions

FLOAT_LIST_SAMPLES = 24  # it is that slow
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
    import os

    stream.flush()
    os.fsync(stream.fileno())


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


def convert(archive, output, processes):
    start = time.perf_counter()
    convert_archive(archive, output, ConvertOptions(), workers=processes)
    return time.perf_counter() - start


def usual_converter(archive, output, as_floats, limit):
    """One process, tf.train.Example, tf.io.TFRecordWriter, as in the tutorials."""
    import tensorflow as tf

    def feature(value):
        if isinstance(value, (bytes, str, np.bytes_)):
            text = value if isinstance(value, bytes) else str(value).encode()
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[text]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(value)))

    output.mkdir()
    start, count = time.perf_counter(), 0
    for path in sorted(archive.glob("*.h5")):
        if count >= limit:
            break
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
                count += 1
        with open(output / f"{path.stem}.tfrecord", "rb+") as written:
            sync(written)
    return (time.perf_counter() - start) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    samples = 0
    for path in options.archive.glob("*.h5"):
        with h5py.File(path, "r") as file:
            samples += len(file)
    usual_samples = min(samples, 240)

    def each(seconds):
        return seconds / samples * 1e3

    many = options.processes
    ways = {
        f"raw copy, {many} processes": lambda out: each(raw_copy(options.archive, out, many)),
        f"cbed convert, {many} processes": lambda out: each(convert(options.archive, out, many)),
        "cbed convert, 1 process": lambda out: each(convert(options.archive, out, 1)),
        "bytes, TFRecordWriter, 1 process": lambda out: (
            usual_converter(options.archive, out, False, usual_samples) * 1e3
        ),
        "FloatList, TFRecordWriter, 1 process": lambda out: (
            usual_converter(options.archive, out, True, FLOAT_LIST_SAMPLES) * 1e3
        ),
    }
    times = {name: [] for name in ways}
    for number in range(options.rounds + 1):
        for name, way in ways.items():
            output = options.scratch / "out"
            shutil.rmtree(output, ignore_errors=True)
            spent = way(output)
            if number:  # the first round fills the page cache
                times[name].append(spent)
            print(f"round {number}: {name}: {spent:.2f} ms a sample", file=sys.stderr)
    shutil.rmtree(options.scratch / "out", ignore_errors=True)
    report(times)


def report(times):
    names = list(times)
    print(f"{'way':38}{'ms/sample':>10}{'(min .. max)':>18}")
    for name, spent in times.items():
        spread = f"({min(spent):.2f} .. {max(spent):.2f})"
        print(f"{name:38}{statistics.median(spent):10.2f}{spread:>18}")
    raw, ours, ours_alone, usual, floats = (times[name] for name in names)
    for title, slow, fast in (
        ("speed of a raw copy reached", raw, ours),
        ("times the usual converter, one against one", usual, ours_alone),
        ("times the FloatList converter, one against one", floats, ours_alone),
    ):
        ratios = [a / b for a, b in zip(slow, fast, strict=True)]
        print(f"{title}: {statistics.median(ratios):.2f} ({min(ratios):.2f} .. {max(ratios):.2f})")


if __name__ == "__main__":
    main()
