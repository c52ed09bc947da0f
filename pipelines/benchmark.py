"""Measures how fast this machine feeds a model, beside the fastest that its memory allows.

Machines are noisy and drift, so the stages take turns, several rounds of them, and what counts is
each stage's ratio to the read limit of the same round.
"""

import dataclasses
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from cbed_tf.errors import CbedError
from cbed_tf.manifest import load_index, load_manifest
from cbed_tf.progress import Progress
from cbed_tf.shard import aligned_buffer
from pipelines.loading import GATHER, STREAM, load_dataset

LIMIT = "read limit"
# A stage reads from now on: yields the number of samples of each batch it has delivered.
Stage = Iterator[int]


@dataclasses.dataclass(frozen=True)
class StageSpeed:
    """How fast one stage was.

    Attributes:
      name: Of the stage.
      samples_per_second: Median, smallest and largest over the rounds.
      megabytes_per_second: Median, of pattern bytes, in 10^6.
      ratio_to_limit: Median over the rounds of the ratio within the round.
    """

    name: str
    samples_per_second: tuple[float, float, float]
    megabytes_per_second: float
    ratio_to_limit: float


def measure_speeds(
    data_dir: str | os.PathLike,
    split: str,
    batch_size: int,
    rounds: int,
    seconds: float,
) -> list[StageSpeed]:
    """Measures the read limit and both readers, raw and scaled, in turns.

    Args:
      data_dir: The data set; read once before, so that it comes from the page cache if it fits.
      split: The split to read, over and over.
      batch_size: Samples a batch.
      rounds: How often each stage is measured.
      seconds: How long each time.

    Raises:
      CbedError: No such data set or split, or it has fewer samples than a batch.
    """
    manifest = load_manifest(data_dir)
    if manifest.split(split).samples < batch_size:
        raise CbedError(
            f"batch_size is {batch_size}, should be at most the {manifest.split(split).samples} "
            f"samples of {split}"
        )

    def read(reader: str, scaled: bool) -> Callable[[], Stage]:
        return lambda: read_dataset(data_dir, split, batch_size, reader, scaled)

    stages = {
        LIMIT: lambda: read_at_limit(data_dir, split, batch_size),
        "gather": read(GATHER, scaled=False),
        "stream": read(STREAM, scaled=False),
        "gather, scaled": read(GATHER, scaled=True),
        "stream, scaled": read(STREAM, scaled=True),
    }
    speeds: dict[str, list[float]] = {name: [] for name in stages}
    with Progress("measuring", len(stages) * (rounds + 1), "stages") as progress:
        for round_number in range(rounds + 1):  # the first one fills the page cache
            for name, stage in stages.items():
                speed = speed_of(stage(), seconds if round_number else min(seconds, 1.0))
                if round_number:
                    speeds[name].append(speed)
                progress.advance(1)
    sample_megabytes = manifest.encoding.image_bytes(manifest.image_shape) / 1e6
    return [_summarise(name, speeds, sample_megabytes) for name in stages]


def read_at_limit(data_dir: str | os.PathLike, split: str, batch_size: int) -> Stage:
    """Reads the same bytes as the readers, in shuffled order, into one aligned buffer: no more."""
    manifest = load_manifest(data_dir)
    index = load_index(data_dir, split, ("shard", "image_offset"))
    buffer = aligned_buffer((batch_size, *manifest.image_shape), manifest.encoding.dtype)
    views = [memoryview(image).cast("B") for image in buffer]
    paths = [Path(data_dir) / shard.name for shard in manifest.split(split).shards]
    descriptors = [os.open(path, os.O_RDONLY) for path in paths]
    random = np.random.default_rng(0)
    try:
        while True:
            rows = random.permutation(len(index["shard"]))
            for start in range(0, len(rows) - batch_size + 1, batch_size):
                for view, row in zip(views, rows[start : start + batch_size], strict=True):
                    descriptor = descriptors[index["shard"][row]]
                    os.preadv(descriptor, [view], int(index["image_offset"][row]))
                yield batch_size
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def read_dataset(
    data_dir: str | os.PathLike, split: str, batch_size: int, reader: str, scaled: bool
) -> Stage:
    """Reads shuffled batches with one of the readers."""
    dataset = load_dataset(
        data_dir,
        split,
        batch_size,
        shuffle=True,
        reader=reader,
        scaled=scaled,
        drop_remainder=True,
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    for _ in dataset.repeat().with_options(options):
        yield batch_size


def speed_of(stage: Stage, seconds: float) -> float:
    """Returns samples/s of a stage that runs for some seconds, its start-up not counted."""
    for _ in itertools.islice(stage, 3):  # past what it has prefetched before the clock starts
        pass
    samples, start = 0, time.perf_counter()
    for count in stage:
        samples += count
        elapsed = time.perf_counter() - start
        if elapsed > seconds:
            return samples / elapsed
    raise AssertionError("unreachable: stages do not end")


def _summarise(name: str, speeds: dict[str, list[float]], sample_megabytes: float) -> StageSpeed:
    own = speeds[name]
    ratios = [speed / limit for speed, limit in zip(own, speeds[LIMIT], strict=True)]
    median = statistics.median(own)
    return StageSpeed(
        name=name,
        samples_per_second=(median, min(own), max(own)),
        megabytes_per_second=float(median * sample_megabytes),
        ratio_to_limit=statistics.median(ratios),
    )


def as_table(speeds: list[StageSpeed]) -> str:
    """Returns the measurements for people, a line a stage."""
    lines = [f"{'stage':16}{'samples/s':>10}{'(min .. max)':>20}{'MB/s':>8}{'of limit':>10}"]
    for speed in speeds:
        median, slowest, fastest = speed.samples_per_second
        spread = f"({slowest:.0f} .. {fastest:.0f})"
        lines.append(
            f"{speed.name:16}{median:10.0f}{spread:>20}{speed.megabytes_per_second:8.0f}"
            f"{speed.ratio_to_limit:10.2f}"
        )
    return "\n".join(lines)
