"""Converts an archive with every encoding and size, and reads it back: bytes, errors, speeds.

    python tests/benchmarks/encoding_table.py ARCHIVE SCRATCH_FOLDER [--speed_archive=LARGER]

Bytes and errors are those of ARCHIVE; an error is that of a pixel's fourth root, in units of its
pattern's largest, against h5py's reading (area sums of it, in float64, where the size is reduced:
what is lost by summing is not counted). Speeds are medians over rounds in which all forms take
turns: conversion, the read limit, and gather, from the page cache. Prints a Markdown table.
"""

import argparse
import dataclasses
import shutil
import statistics
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.dataset.encoding import ENCODINGS, decode_stack
from cbed_tf.dataset.manifest import load_index, load_manifest
from pipelines import load_dataset
from pipelines.inspection.benchmark import speed_of
from pipelines.inspection.benchmark_stages import read_at_limit, read_dataset


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--speed_archive", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    flags = parser.parse_args()
    forms = [
        ConvertOptions(image_size=size, encoding=encoding)
        for size in (None, *flags.sizes)
        for encoding in ENCODINGS
    ]
    figures = [measure_form(flags.archive, flags.scratch / "form", form) for form in forms]
    speeds = [Speeds() for _ in forms]
    for number in range(flags.rounds + 1):  # the first round fills the page cache
        for k, form in enumerate(forms):
            found = measure_speeds(
                flags.speed_archive or flags.archive,
                flags.scratch / f"speed-{k}",
                form,
                flags.seconds if number else 0.5,
            )
            print(f"round {number}: {form.image_size} {form.encoding}: {found}", file=sys.stderr)
            if number:
                speeds[k].add(found)
    print_table(figures, speeds)
    for folder in [flags.scratch / "form", *flags.scratch.glob("speed-*")]:
        shutil.rmtree(folder)


def measure_form(archive, output, options):
    """Returns name, bytes a sample, and largest and root-mean-square error."""
    shutil.rmtree(output, ignore_errors=True)
    manifest = convert_archive(archive, output, options)
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    bytes_a_sample = sum(s.bytes for s in shards) / sum(s.samples for s in shards)
    squares, largest, pixels = 0.0, 0.0, 0
    for split in manifest.splits:
        for sample_id, restored in read_restored(output, split):
            errors = root_errors(original(archive, sample_id, restored.shape), restored)
            squares += np.square(errors).sum()
            largest = max(largest, errors.max())
            pixels += errors.size
    _, height, width = manifest.image_shape
    name = f"{options.encoding}, {height} x {width}"
    return name, bytes_a_sample, largest, (squares / pixels) ** 0.5


def read_restored(data_dir, split):
    """Yields every sample's id and intensities, in the order of the index."""
    ids = load_index(data_dir, split, ["sample_id"])["sample_id"]
    images = load_dataset(data_dir, split, 1).map(lambda images, _: images).as_numpy_iterator()
    for sample_id, image in zip(ids, images, strict=True):
        if isinstance(image, dict):
            image = decode_stack(image["cbed_stack"], image["pattern_max"])
        yield sample_id.decode(), image[0]


def original(archive, sample_id, shape):
    """Returns a sample's intensities as h5py reads them, summed in float64 to a stored shape."""
    _, stem, group = sample_id.split("/", 2)
    (path,) = archive.rglob(f"{stem}.h5")
    with h5py.File(path) as file:
        stack = np.float64(file[group]["cbed_stack"][()])
    views, height, width = shape
    return stack.reshape(views, height, stack.shape[1] // height, width, -1).sum(axis=(2, 4))


def root_errors(stack, restored):
    roots = stack**0.25
    return abs(np.float64(restored) ** 0.25 - roots) / roots.max(axis=(1, 2), keepdims=True)


@dataclasses.dataclass
class Speeds:
    """Samples a second, one number a round."""

    convert: list[float] = dataclasses.field(default_factory=list)
    limit: list[float] = dataclasses.field(default_factory=list)
    gather: list[float] = dataclasses.field(default_factory=list)

    def add(self, found):
        for name, speed in found.items():
            getattr(self, name).append(speed)


def measure_speeds(archive, output, options, seconds):
    shutil.rmtree(output, ignore_errors=True)
    start = time.perf_counter()
    convert_archive(archive, output, options)
    spent = time.perf_counter() - start
    samples = sum(split.samples for split in load_manifest(output).splits.values())
    batch_size = min(32, load_manifest(output).split("train").samples)
    limit = read_at_limit(output, "train", batch_size)
    gather = read_dataset(output, "train", batch_size, "gather", scaled=False)
    return {
        "convert": samples / spent,
        "limit": speed_of(limit, seconds),
        "gather": speed_of(gather, seconds),
    }


def print_table(figures, speeds):
    print(
        "| stored as | bytes a sample | largest error | rms error | converted | read | of limit |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (name, size, largest, rms), speed in zip(figures, speeds, strict=True):
        ratios = [a / b for a, b in zip(speed.gather, speed.limit, strict=True)]
        print(
            f"| {name} | {size:,.0f} | {largest:.1e} | {rms:.1e} "
            f"| {statistics.median(speed.convert):,.0f} /s ({spread(speed.convert)}) "
            f"| {statistics.median(speed.gather):,.0f} /s ({spread(speed.gather)}) "
            f"| {statistics.median(ratios):.2f} |"
        )


def spread(speeds):
    return f"{min(speeds):,.0f} to {max(speeds):,.0f}"


if __name__ == "__main__":
    main()
