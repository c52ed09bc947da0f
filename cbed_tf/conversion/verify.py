"""Re-reads a data set: shards against their checksums, against the index, against the archive.

Trusts nothing that the conversion kept in memory: records are parsed from the bytes on disk, and
the archive, when it is given, is scanned and read anew.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from crc32c import crc32c

from cbed_tf.archive import hdf5
from cbed_tf.archive.files import find_files
from cbed_tf.archive.scan import Scan, scan_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.conversion.shard import aligned_buffer, sum_areas
from cbed_tf.dataset.encoding import Encoding, encode_stack
from cbed_tf.dataset.manifest import REJECTED_NAME, Manifest, Shard, load_index, load_manifest
from cbed_tf.dataset.record import Record, read_records
from cbed_tf.errors import CbedError, SampleError
from cbed_tf.processes import engine
from cbed_tf.processes.progress import Progress
from cbed_tf.schema import FIELDS, IMAGE, PATTERN_MAX, Field


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
      shards: Number of shards read.
      samples: Number of samples in them.
      problems: One line for each thing that is wrong; none for a sound data set.
    """

    shards: int
    samples: int
    problems: tuple[str, ...]


def verify_dataset(
    data_dir: str | os.PathLike,
    input_dir: str | os.PathLike | None = None,
    workers: int | None = None,
    swmr: bool = False,
) -> Verification:
    """Checks a data set in full.

    Args:
      data_dir: Output of a conversion.
      input_dir: The archive that it was made from; every sample is compared with it, and every
        sample of it must be in the data set or among the rejected.
      workers: Number of processes.
      swmr: Open HDF5 files in single-writer multiple-reader mode.

    Raises:
      CbedError: There is no data set or no archive to verify.
    """
    workers = workers or engine.default_workers()
    manifest = load_manifest(data_dir)
    indices = {split: load_index(data_dir, split) for split in manifest.splits}
    scan, problems = None, _check_counts(Path(data_dir), manifest, indices)
    if input_dir is not None:
        scan = scan_archive(input_dir, find_files(input_dir), workers, swmr)
        _refuse_other_shape(scan, manifest)
        problems += _find_lost(Path(data_dir), scan, indices)
    tasks = list(_make_tasks(Path(data_dir), manifest, indices, scan, input_dir, swmr))
    total = sum(task.shard.bytes for task in tasks)
    samples = 0
    with Progress("verifying", total, "B") as progress:
        for position, result in engine.run_tasks(_verify_shard, tasks, workers, progress):
            if isinstance(result, engine.Crashed):
                result = 0, [f"{tasks[position].shard.name}: the process that read it died twice"]
            samples += result[0]
            problems += result[1]
    return Verification(len(tasks), samples, tuple(problems))


@dataclasses.dataclass(frozen=True)
class _ShardTask:
    """One shard to check; `index` and `source` hold one row a sample of it, in order."""

    path: Path
    shard: Shard
    image_shape: tuple[int, int, int]
    encoding: Encoding
    index: dict[str, np.ndarray]
    source: dict[str, np.ndarray] | None
    source_shape: tuple[int, int, int] | None
    input_dir: Path | None
    swmr: bool


def _refuse_other_shape(scan: Scan, manifest: Manifest) -> None:
    stored_shape = ConvertOptions(**manifest.options).stored_shape(scan.image_shape)
    if stored_shape != manifest.image_shape:
        raise CbedError(
            f"the data set was made from another archive: its patterns have shape "
            f"{manifest.image_shape}, this one would give {stored_shape}"
        )


def _check_counts(data_dir: Path, manifest: Manifest, indices: Mapping[str, Mapping]) -> list[str]:
    problems = []
    for name, split in manifest.splits.items():
        rows = len(indices[name]["shard"])
        in_shards = sum(shard.samples for shard in split.shards)
        if not rows == split.samples == in_shards:
            problems.append(
                f"split {name}: the manifest counts {split.samples} samples, its shards "
                f"{in_shards}, the index {rows}"
            )
    rejected = len(_rejected_ids(data_dir))
    if rejected != manifest.rejected:
        problems.append(
            f"{REJECTED_NAME} has {rejected} lines, the manifest counts {manifest.rejected}"
        )
    return problems


def _rejected_ids(data_dir: Path) -> list[str]:
    try:
        lines = (data_dir / REJECTED_NAME).read_text().splitlines()
        return [json.loads(line)["sample_id"] for line in lines]
    except (OSError, ValueError, KeyError) as error:
        raise CbedError(f"{data_dir / REJECTED_NAME} cannot be read: {error}") from error


def _find_lost(data_dir: Path, scan: Scan, indices: Mapping[str, Mapping]) -> list[str]:
    """Names samples that the archive holds and the data set neither holds nor rejected."""
    known = set(_rejected_ids(data_dir))
    for index in indices.values():
        known.update(sample_id.decode() for sample_id in index["sample_id"])
    in_archive = [sample_id.decode() for sample_id in scan.columns["sample_id"]]
    in_archive += [rejection.sample_id for rejection in scan.rejected]
    return [
        f"{sample_id}: in the archive, but neither in the data set nor rejected"
        for sample_id in dict.fromkeys(in_archive)
        if sample_id not in known
    ]


def _make_tasks(
    data_dir: Path,
    manifest: Manifest,
    indices: Mapping[str, Mapping[str, np.ndarray]],
    scan: Scan | None,
    input_dir: str | os.PathLike | None,
    swmr: bool,
) -> Iterator[_ShardTask]:
    row_of_id = {}
    if scan is not None:
        row_of_id = {sample_id: row for row, sample_id in enumerate(scan.columns["sample_id"])}
    for name, split in manifest.splits.items():
        for number, shard in enumerate(split.shards):
            rows = np.flatnonzero(indices[name]["shard"] == number)
            index = {key: column[rows] for key, column in indices[name].items()}
            yield _ShardTask(
                path=data_dir / shard.name,
                shard=shard,
                image_shape=manifest.image_shape,
                encoding=manifest.encoding,
                index=index,
                source=None if scan is None else _source_rows(scan, row_of_id, index["sample_id"]),
                source_shape=None if scan is None else scan.image_shape,
                input_dir=None if input_dir is None else Path(input_dir),
                swmr=swmr,
            )


def _source_rows(
    scan: Scan, row_of_id: Mapping[bytes, int], sample_ids: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the archive's rows of some samples; `source_file` is '' where it has none."""
    rows = np.array([row_of_id.get(sample_id, -1) for sample_id in sample_ids], np.int64)
    columns = {name: column[rows] for name, column in scan.columns.items()}
    names = [scan.files[position].name for position in columns["source_file"]]
    return {**columns, "source_file": np.where(rows < 0, "", np.array(names, dtype=object))}


class _Checksum:
    """A stream that knows the checksum of what was read from it."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.value = 0
        self.bytes = 0

    def read(self, count: int) -> bytes:
        data = self._stream.read(count)
        self.value = crc32c(data, self.value)
        self.bytes += len(data)
        engine.advance(len(data))
        return data


def _verify_shard(task: _ShardTask) -> tuple[int, list[str]]:
    """Returns the number of samples read from a shard, and what is wrong with it."""
    problems: list[str] = []
    samples = 0
    try:
        with task.path.open("rb") as stream:
            checked = _Checksum(stream)
            for record in read_records(checked, task.path, task.encoding.fields):
                if samples < len(task.index["sample_id"]):
                    problems += [
                        f"{task.shard.name}: {task.index['sample_id'][samples].decode()}: {problem}"
                        for problem in _compare(task, samples, record)
                    ]
                samples += 1
    except (OSError, CbedError) as error:
        return samples, [*problems, f"{task.shard.name}: {error}"]
    found = Shard(task.shard.name, samples, checked.bytes, f"{checked.value:08x}")
    for field in dataclasses.fields(Shard):
        value, expected = getattr(found, field.name), getattr(task.shard, field.name)
        if value != expected:
            problems.append(
                f"{task.shard.name}: {field.name} is {value}, the manifest says {expected}"
            )
    return samples, problems


def _compare(task: _ShardTask, row: int, record: Record) -> Iterator[str]:
    if record.image_offset != task.index["image_offset"][row]:
        yield (
            f"patterns at byte {record.image_offset}, the index says "
            f"{task.index['image_offset'][row]}"
        )
    image_bytes = math.prod(task.image_shape) * task.encoding.dtype.itemsize
    if len(record.image) != image_bytes:
        yield f"{IMAGE} has {len(record.image)} bytes, should have {image_bytes}"
        return
    fields = task.encoding.fields
    yield from _compare_fields(fields, record.sample, task.index, row, "the index")
    for name, value in _intensity_range(task.encoding, record).items():
        if value != task.index[name][row]:
            yield f"{name} is {value}, the index says {task.index[name][row]}"
    if task.source is not None:
        if not task.source["source_file"][row]:
            yield "the archive does not hold it"
            return
        yield from _compare_fields(FIELDS, record.sample, task.source, row, "the archive")
        yield from _compare_patterns(task, row, record)


def _compare_fields(
    fields: Iterable[Field],
    sample: Mapping[str, Any],
    columns: Mapping[str, np.ndarray],
    row: int,
    other: str,
) -> Iterator[str]:
    for field in fields:
        value, expected = sample[field.name], columns[field.name][row]
        if not np.array_equal(np.ravel(value), np.ravel(expected)):
            yield f"{field.name} is {value}, {other} says {np.ravel(expected)}"


def _intensity_range(encoding: Encoding, record: Record) -> dict[str, np.float32]:
    """Returns what a record tells of the index columns of that name."""
    if PATTERN_MAX in encoding.beside:  # the smallest one is not kept exactly
        return {"intensity_max": record.sample[PATTERN_MAX.name].max()}
    image = np.frombuffer(record.image, encoding.dtype)
    return {"intensity_min": image.min(), "intensity_max": image.max()}


def _compare_patterns(task: _ShardTask, row: int, record: Record) -> Iterator[str]:
    """Stores the archive's patterns once more and compares the outcome."""
    source = {name: column[row] for name, column in task.source.items()}
    offset = None if source["source_offset"] < 0 else int(source["source_offset"])
    original = aligned_buffer(task.source_shape)
    path = task.input_dir / source["source_file"]
    try:
        hdf5.read_stack(path, source["source_group"].decode(), offset, original, task.swmr)
    except SampleError as error:
        yield str(error)
        return
    if task.source_shape != task.image_shape:
        original = sum_areas(original, task.image_shape)
    if PATTERN_MAX in task.encoding.beside:
        with np.errstate(invalid="ignore"):  # an archive that has changed may hold anything
            original, pattern_max = encode_stack(original)
        largest = {PATTERN_MAX.name: pattern_max[np.newaxis]}
        yield from _compare_fields(task.encoding.beside, record.sample, largest, 0, "the archive")
    stored = np.frombuffer(record.image, task.encoding.dtype)
    if stored.tobytes() != original.tobytes():
        different = np.count_nonzero(stored != original.reshape(-1))
        yield f"{IMAGE} differs from the archive's in {different} of {stored.size} pixels"
