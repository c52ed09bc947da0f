"""Measures how fast this machine feeds a model and trains it, stage by stage.

Machines are noisy and drift, so the stages take turns, several rounds of them, and what counts is
each stage's ratio to another in the same round: to the read limit, or of training to its steps.
What follows from the figures is in `benchmark_report.py`.
"""

import dataclasses
import functools
import itertools
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cbed_tf.dataset.manifest import Manifest, load_manifest
from cbed_tf.errors import CbedError
from cbed_tf.processes.progress import Progress
from pipelines.inspection import page_cache
from pipelines.inspection.benchmark_stages import (
    Stage,
    TrainStep,
    copy_to_device,
    find_device,
    read_at_limit,
    read_batches,
    read_dataset,
    repeat_step,
    scale_on_device,
    train,
)
from pipelines.reading.loading import GATHER, STREAM
from pipelines.reading.remote import is_url

LIMIT = "read limit"
TO_DEVICE = "to device"
FIRST_LAYER = "first layer"
MODEL_STEP = "model step"
TRAINING = "training"
# A split that fills more of the free memory than this would push itself out while it is read.
_FITTING_SHARE = 0.8
# Batches that readers may have made ahead when the clock starts.
_BATCHES_AHEAD = 3


@dataclasses.dataclass(frozen=True)
class StageSpeed:
    """How fast one stage was.

    Attributes:
      name: Of the stage.
      rounds: Samples/s in each round.
      samples_per_second: Median, smallest and largest of these.
      megabytes_per_second: Median, of pattern bytes as they are stored, in 10^6.
      ratio_to_limit: Median over the rounds of the ratio within the round.
    """

    name: str
    rounds: tuple[float, ...]
    samples_per_second: tuple[float, float, float]
    megabytes_per_second: float
    ratio_to_limit: float


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was measured, and under which circumstances.

    Attributes:
      data_dir: The data set.
      split: Of it.
      split_bytes: Size of the split's shards.
      sample_bytes: Size of a sample's patterns, as they are stored.
      encoding: How they are stored.
      memory_bytes: What the page cache could hold; None where that is unknown.
      from_memory: Whether the whole split was read before, and so came from the page cache.
      first_pass_megabytes_per_second: How fast that was; None if it was not done.
      batch_size: Samples a batch.
      reader: That fed the training.
      model: Name of what was trained; empty for none.
      device: Where, for people.
      is_copied: Whether batches must be copied to it.
      stages: In the order in which data passes them.
    """

    data_dir: str
    split: str
    split_bytes: int
    sample_bytes: int
    encoding: str
    memory_bytes: int | None
    from_memory: bool
    first_pass_megabytes_per_second: float | None
    batch_size: int
    reader: str
    model: str
    device: str
    is_copied: bool
    stages: tuple[StageSpeed, ...]

    def stage(self, name: str) -> StageSpeed | None:
        """Returns a stage by name, or None if it was not measured."""
        return next((stage for stage in self.stages if stage.name == name), None)


def measure(
    data_dir: str | os.PathLike,
    split: str,
    batch_size: int,
    rounds: int,
    seconds: float,
    *,
    reader: str = GATHER,
    model: str = "",
    train_step: TrainStep | None = None,
) -> Measurement:
    """Measures all stages in turns.

    Args:
      data_dir: The data set; read once before if it fits into the page cache.
      split: The split to read, over and over, in ever new orders.
      batch_size: Samples a batch.
      rounds: How often each stage is measured.
      seconds: How long each time, at least; a batch is always finished.
      reader: Feeds the training; both readers are measured.
      model: Name of what `train_step` trains.
      train_step: Trains on a batch; the last two stages are left out without it.

    Raises:
      CbedError: No such data set or split, it has fewer samples than a batch, or lies behind a URL.
    """
    if is_url(data_dir):
        raise CbedError(f"{data_dir} is a URL; only a data set in a folder can be measured")
    manifest = load_manifest(data_dir)
    entry = manifest.split(split)
    if entry.samples < batch_size:
        raise CbedError(
            f"batch_size is {batch_size}, should be at most the {entry.samples} samples of {split}"
        )
    memory = page_cache.available_bytes()
    split_bytes = sum(shard.bytes for shard in entry.shards)
    fits = memory is None or split_bytes < _FITTING_SHARE * memory
    start = time.perf_counter()
    if fits:
        page_cache.read_files([Path(data_dir) / shard.name for shard in entry.shards], split_bytes)
    first_pass = split_bytes / (time.perf_counter() - start) / 1e6 if fits else None

    device, device_name = find_device()
    stages = _reading_stages(data_dir, split, batch_size)
    stages |= _device_stages(data_dir, split, batch_size, device, reader, train_step)
    return Measurement(
        data_dir=str(data_dir),
        split=split,
        split_bytes=split_bytes,
        sample_bytes=manifest.encoding.image_bytes(manifest.image_shape),
        encoding=manifest.encoding.name,
        memory_bytes=memory,
        from_memory=fits,
        first_pass_megabytes_per_second=first_pass,
        batch_size=batch_size,
        reader=reader,
        model=model if train_step else "",
        device=device_name,
        is_copied=TO_DEVICE in stages,
        stages=_take_turns(stages, rounds, seconds, manifest),
    )


# Stages by name; a stage is made anew for each round, with another seed.
_StageMakers = Mapping[str, Callable[[int], Stage]]


def _reading_stages(data_dir: str | os.PathLike, split: str, batch_size: int) -> _StageMakers:
    def read(reader: str, scaled: bool) -> Callable[[int], Stage]:
        return functools.partial(read_dataset, data_dir, split, batch_size, reader, scaled)

    return {
        LIMIT: functools.partial(read_at_limit, data_dir, split, batch_size),
        GATHER: read(GATHER, scaled=False),
        STREAM: read(STREAM, scaled=False),
        f"{GATHER}, scaled": read(GATHER, scaled=True),
        f"{STREAM}, scaled": read(STREAM, scaled=True),
    }


def _device_stages(
    data_dir: str | os.PathLike,
    split: str,
    batch_size: int,
    device: str,
    reader: str,
    step: TrainStep | None,
) -> _StageMakers:
    images, labels = next(read_batches(data_dir, split, batch_size, GATHER))
    stages = {FIRST_LAYER: lambda seed: scale_on_device(images, batch_size, device)}
    if "CPU" not in device:  # there, the reader's memory is the model's input: nothing is copied
        stages = {TO_DEVICE: lambda seed: copy_to_device(images, batch_size, device), **stages}
    if step:
        stages[MODEL_STEP] = lambda seed: repeat_step(step, images, labels, batch_size, device)
        stages[TRAINING] = lambda seed: train(
            step, read_batches(data_dir, split, batch_size, reader, seed=seed), batch_size
        )
    return stages


def _take_turns(
    stages: _StageMakers, rounds: int, seconds: float, manifest: Manifest
) -> tuple[StageSpeed, ...]:
    speeds: dict[str, list[float]] = {name: [] for name in stages}
    seeds = itertools.count()
    with Progress("measuring", len(stages) * (rounds + 1), "stages") as progress:
        for round_number in range(rounds + 1):  # the first one starts threads and compiles
            for name, make_stage in stages.items():
                start_up = 1 if name in (TO_DEVICE, FIRST_LAYER, MODEL_STEP) else _BATCHES_AHEAD
                stage = make_stage(next(seeds))
                speed = speed_of(stage, seconds if round_number else 0.0, start_up)
                if round_number:
                    speeds[name].append(speed)
                progress.advance(1)
    sample_megabytes = manifest.encoding.image_bytes(manifest.image_shape) / 1e6
    return tuple(_summarise(name, speeds, sample_megabytes) for name in stages)


def speed_of(stage: Stage, seconds: float, start_up: int = _BATCHES_AHEAD) -> float:
    """Returns samples/s of a stage that runs for some seconds, its first batches not counted."""
    for _ in itertools.islice(stage, start_up):
        pass
    samples, start = 0, time.perf_counter()
    for count in stage:
        samples += count
        elapsed = time.perf_counter() - start
        if elapsed > seconds:
            return samples / elapsed
    raise AssertionError("unreachable: stages do not end")


def _summarise(
    name: str, speeds: Mapping[str, Sequence[float]], sample_megabytes: float
) -> StageSpeed:
    own = speeds[name]
    ratios = [speed / limit for speed, limit in zip(own, speeds[LIMIT], strict=True)]
    median = statistics.median(own)
    return StageSpeed(
        name=name,
        rounds=tuple(own),
        samples_per_second=(median, min(own), max(own)),
        megabytes_per_second=float(median * sample_megabytes),
        ratio_to_limit=statistics.median(ratios),
    )
