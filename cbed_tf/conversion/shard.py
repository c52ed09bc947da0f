"""Writes one shard: reads its samples' patterns, checks them, frames them as records.

The engine-neutral unit of a conversion: everything it needs is in the task, everything it found is
in the sidecar that it leaves beside the plan. A shard that exists under its name is finished.
"""

import contextlib
import dataclasses
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cbed_tf.archive import checks, hdf5
from cbed_tf.archive.files import require_input_dir
from cbed_tf.archive.scan import Rejection
from cbed_tf.dataset import record
from cbed_tf.dataset.encoding import ENCODINGS, FLOAT32, Encoding, encode_stack
from cbed_tf.dataset.manifest import Shard
from cbed_tf.durable import new_file, write_atomically
from cbed_tf.errors import SampleError
from cbed_tf.processes import engine
from cbed_tf.schema import IMAGE_DTYPE, PATTERN_MAX


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard to write.

    Attributes:
      input_dir: The archive.
      output_dir: Where the shard goes.
      sidecar_dir: Where its sidecar goes.
      name: The shard's file name.
      first_row: Row of its first sample in the plan.
      columns: Its rows of the plan's columns, with `source_file` as the file's name.
      image_shape: Of the archive, (views, height, width).
      stored_shape: Of the record, reduced by area sums if smaller.
      swmr: Open HDF5 files in single-writer multiple-reader mode.
      encoding: Of the record's patterns.
      refused: Position among the task's samples of those that are not to be read -> reason.
    """

    input_dir: Path
    output_dir: Path
    sidecar_dir: Path
    name: str
    first_row: int
    columns: dict[str, np.ndarray]
    image_shape: tuple[int, int, int]
    stored_shape: tuple[int, int, int]
    swmr: bool
    encoding: Encoding = ENCODINGS[FLOAT32]
    refused: Mapping[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ShardReport:
    """What a shard holds, as its sidecar keeps it.

    Attributes:
      shard: Name, size, checksum.
      rows: Row in the plan of each sample, in order.
      image_offsets: Position of each sample's pattern bytes in the shard.
      intensities: Smallest and largest intensity of each sample.
      pattern_max: Largest intensity of each pattern of each sample, if the encoding stores it.
      rejected: Samples of the plan that were refused for their patterns.
    """

    shard: Shard
    rows: list[int]
    image_offsets: list[int]
    intensities: list[tuple[float, float]]
    pattern_max: list[list[float]]
    rejected: list[Rejection]


def write_shard(task: ShardTask) -> ShardReport:
    """Writes a shard and its sidecar; neither is there under its name before it is complete.

    Raises:
      OSError: The output cannot be written (a full disk); nothing is left behind.
      CbedError: This machine does not see the archive.
    """
    require_input_dir(task.input_dir)
    with new_file(task.output_dir / task.name) as stream:
        report = _write_records(task, stream.fileno())
        save_report(task.sidecar_dir, report)
    return report


def read_alone(task_and_position: tuple[ShardTask, int]) -> None:
    """Reads the patterns of one sample of a shard, to learn whether the process survives it."""
    task, k = task_and_position
    with contextlib.suppress(SampleError):
        _read_stack(task, k, aligned_buffer(task.image_shape))


def save_report(sidecar_dir: Path, report: ShardReport) -> None:
    """Writes the sidecar of a shard."""
    content = json.dumps(dataclasses.asdict(report)).encode()
    write_atomically(_sidecar(sidecar_dir, report.shard.name), content)


def has_report(sidecar_dir: Path, name: str) -> bool:
    """Returns whether a shard has its sidecar."""
    return _sidecar(sidecar_dir, name).exists()


def load_report(sidecar_dir: Path, name: str) -> ShardReport:
    """Reads the sidecar of a shard."""
    document = json.loads(_sidecar(sidecar_dir, name).read_text())
    rejected = [Rejection(**rejection) for rejection in document.pop("rejected")]
    return ShardReport(**{**document, "shard": Shard(**document["shard"])}, rejected=rejected)


def _sidecar(sidecar_dir: Path, name: str) -> Path:
    return sidecar_dir / f"{name}.json"


def sum_areas(stack: np.ndarray, stored_shape: tuple[int, int, int]) -> np.ndarray:
    """Reduces patterns (views, height, width) by summing square blocks of pixels.

    Sums, not means: a pixel's intensity is a count, and a detector with larger pixels counts more.
    """
    views, size, _ = stored_shape
    block = stack.shape[1] // size
    # Rows first, then columns one by one: a fifteenth of the time of a sum over both axes at once.
    rows = stack.reshape(views, size, block, -1).sum(axis=2, dtype=np.float64)
    sums = rows[..., ::block].copy()
    for column in range(1, block):
        sums += rows[..., column::block]
    return sums.astype(IMAGE_DTYPE)


def aligned_buffer(shape: tuple[int, ...], dtype: np.dtype = IMAGE_DTYPE) -> np.ndarray:
    """Returns an array that starts at a page: reading to an odd address is 6 times slower."""
    count = int(np.prod(shape))
    memory = mmap.mmap(-1, count * dtype.itemsize)
    return np.frombuffer(memory, dtype, count).reshape(shape)


def _write_records(task: ShardTask, descriptor: int) -> ShardReport:
    report = ShardReport(Shard(task.name, 0, 0, ""), [], [], [], [], [])
    position, checksum = 0, 0
    for k, sample, image, intensities in _read_samples(task, report.rejected):
        payload = memoryview(image).cast("B")
        head = record.encode_head(sample, len(payload), task.encoding.fields)
        buffers, checksum = record.frame(head, payload, checksum)
        _write_all(descriptor, buffers)
        report.rows.append(task.first_row + k)
        report.image_offsets.append(position + len(buffers[0]))
        report.intensities.append(intensities)
        if PATTERN_MAX in task.encoding.beside:
            report.pattern_max.append(sample[PATTERN_MAX.name].tolist())
        position += sum(map(len, buffers))
    shard = Shard(task.name, len(report.rows), position, f"{checksum:08x}")
    return dataclasses.replace(report, shard=shard)


def _read_samples(
    task: ShardTask, rejected: list[Rejection]
) -> Iterator[tuple[int, dict[str, Any], np.ndarray, tuple[float, float]]]:
    """Yields position in the task, labels, stored patterns and intensity range of sound samples."""
    buffer = aligned_buffer(task.image_shape)
    codes = np.empty(task.stored_shape, task.encoding.dtype)
    for k in range(len(task.columns["sample_id"])):
        sample = {name: column[k] for name, column in task.columns.items()}
        try:
            if k in task.refused:
                raise SampleError(task.refused[k])
            _read_stack(task, k, buffer)
            intensities = checks.check_stack(buffer)
            image = buffer
            if task.stored_shape != task.image_shape:
                image = sum_areas(buffer, task.stored_shape)
                intensities = checks.check_stack(image)
            if PATTERN_MAX in task.encoding.beside:
                image, sample[PATTERN_MAX.name] = encode_stack(image, codes)
            yield k, sample, image, intensities
        except SampleError as error:
            sample_id, file_name = sample["sample_id"].decode(), sample["source_file"]
            rejected.append(Rejection(sample_id, file_name, str(error)))
        engine.advance(buffer.nbytes)


def _read_stack(task: ShardTask, k: int, out: np.ndarray) -> None:
    source = {name: column[k] for name, column in task.columns.items()}
    offset = None if source["source_offset"] < 0 else int(source["source_offset"])
    path = task.input_dir / source["source_file"]
    hdf5.read_stack(path, source["source_group"].decode(), offset, out, task.swmr)


def _write_all(descriptor: int, buffers: list[bytes | memoryview]) -> None:
    """Writes buffers with one system call, or as many as a disk near its end takes."""
    remaining = sum(map(len, buffers)) - os.writev(descriptor, buffers)
    if remaining:
        rest = memoryview(b"".join(buffers))[-remaining:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]
