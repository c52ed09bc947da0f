"""Finds all samples of an archive, with their labels and places, and refuses the broken ones.

Reads attributes only, each exactly once; patterns are read when shards are written. The result is
a table of columns, small enough for memory (about 0.4 kB a sample) at any size of the archive.
"""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cbed_tf import schema
from cbed_tf.archive import checks
from cbed_tf.archive.files import SourceFile, require_input_dir, split_of
from cbed_tf.archive.hdf5 import ArchiveFile
from cbed_tf.errors import CbedError, SampleError
from cbed_tf.processes import engine
from cbed_tf.processes.progress import Progress
from cbed_tf.schema import FIELDS, IMAGE


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A sample that is refused; `sample_id` ends with the file where the whole file is."""

    sample_id: str
    file: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Scan:
    """All that is known of an archive before its patterns are read.

    Attributes:
      files: Its HDF5 files.
      image_shape: (views, height, width), the same for all samples; zeros where there are none.
      columns: One row a sound sample: `schema.FIELDS`, `source_file` (position in `files`),
        `source_group`, and `source_offset` (of the pattern bytes in the file; -1 where only HDF5
        can read them).
      rejected: The refused ones.
    """

    files: tuple[SourceFile, ...]
    image_shape: tuple[int, int, int]
    columns: dict[str, np.ndarray]
    rejected: tuple[Rejection, ...]

    def splits(self) -> np.ndarray:
        """Returns the split of every row."""
        split_of_file = [split_of(file.name) or "" for file in self.files]
        return np.array(split_of_file, dtype=object)[self.columns["source_file"]]


def scan_archive(
    input_dir: str | os.PathLike,
    files: Sequence[SourceFile],
    workers: int,
    swmr: bool = False,
    run_tasks: engine.RunTasks = engine.run_tasks,
) -> Scan:
    """Reads and checks the attributes of every sample.

    Args:
      input_dir: The archive.
      files: Its files, from `find_files`.
      workers: Number of processes.
      swmr: Open the files in single-writer multiple-reader mode.
      run_tasks: Where the work is done.
    """
    tasks = [_FileTask(Path(input_dir), file, swmr) for file in files]
    parts: list[Any] = [None] * len(tasks)
    with Progress("scanning", len(tasks), "files") as progress:
        for position, part in run_tasks(scan_file, tasks, workers, progress):
            if isinstance(part, engine.Crashed):
                part = FileScan([_whole_file(files[position], "the HDF5 library crashed or hung")])
            parts[position] = part
    return _merge(tuple(files), parts)


@dataclasses.dataclass(frozen=True)
class _FileTask:
    input_dir: Path
    file: SourceFile
    swmr: bool


@dataclasses.dataclass
class FileScan:
    """What one file holds; columns apart for each shape of patterns, as one archive has but one."""

    rejected: list[Rejection]
    columns: dict[tuple[int, ...], dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)


def scan_file(task: _FileTask) -> FileScan:
    """Reads and checks the attributes of one file's samples."""
    require_input_dir(task.input_dir)
    file = task.file
    try:
        split = split_of(file.name)
        if split is None:
            raise CbedError("its name tells no split, should be batch_{train,dev,test}_{k}.h5")
        with ArchiveFile(task.input_dir / file.name, task.swmr) as archive_file:
            return _scan_groups(archive_file, file, split)
    except CbedError as error:
        return FileScan([_whole_file(file, str(error))])
    finally:
        engine.advance(1)


def _scan_groups(archive_file: ArchiveFile, file: SourceFile, split: str) -> FileScan:
    groups, strangers = archive_file.groups()
    stem = Path(file.name).stem
    result = FileScan([])
    if not groups and not strangers:
        result.rejected.append(_whole_file(file, "it holds no sample"))
    for group, reason in strangers.items():
        sample_id = schema.make_sample_id(split, stem, group)
        result.rejected.append(Rejection(sample_id, file.name, reason))
    samples: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for group in groups:
        sample_id = schema.make_sample_id(split, stem, group)
        try:
            sample = {
                "sample_id": sample_id,
                "source_group": group,
                **_read_sample(archive_file, group),
            }
        except SampleError as error:
            result.rejected.append(Rejection(sample_id, file.name, str(error)))
        else:
            samples.setdefault(sample.pop("shape"), []).append(sample)
        engine.advance(0)  # a sign of life
    result.columns = {shape: _columns(rows, shape[0]) for shape, rows in samples.items()}
    return result


def _read_sample(archive_file: ArchiveFile, group: str) -> dict[str, Any]:
    stack = archive_file.stack(group)
    if len(stack.shape) != 3 or 0 in stack.shape:
        raise SampleError(f"{IMAGE} has shape {stack.shape}, should be (views, height, width)")
    attributes = archive_file.attributes(group)
    checks.check_attributes(attributes, views=stack.shape[0])
    offset = -1 if stack.offset is None else stack.offset
    return {**attributes, "shape": stack.shape, "source_offset": offset}


def _columns(rows: list[dict[str, Any]], views: int) -> dict[str, np.ndarray]:
    columns = {
        field.name: schema.as_column(field, [row[field.name] for row in rows], views)
        for field in FIELDS
    }
    columns["source_group"] = np.array([row["source_group"].encode() for row in rows])
    columns["source_offset"] = np.array([row["source_offset"] for row in rows], np.int64)
    return columns


def _merge(files: tuple[SourceFile, ...], parts: Sequence[FileScan]) -> Scan:
    rejected = [rejection for part in parts for rejection in part.rejected]
    image_shape = _most_frequent_shape(parts)
    if image_shape is None:
        nothing = {**_columns([], 0), "source_file": np.empty(0, np.int32)}
        return Scan(files, (0, 0, 0), nothing, tuple(rejected))
    rejected += _of_other_shapes(files, parts, image_shape)
    columns = _concatenate(parts, image_shape)
    refused = {
        **checks.find_contradictions(columns),
        **_sharing_bytes(columns, image_shape),
        **_seen_twice(columns, files),
    }
    for row, reason in refused.items():
        file = files[columns["source_file"][row]]
        rejected.append(Rejection(columns["sample_id"][row].decode(), file.name, reason))
    keep = np.setdiff1d(np.arange(len(columns["sample_id"])), list(refused))
    columns = {name: column[keep] for name, column in columns.items()}
    return Scan(files, image_shape, columns, tuple(rejected))


def _most_frequent_shape(parts: Sequence[FileScan]) -> tuple[int, int, int] | None:
    counts: Counter[tuple[int, ...]] = Counter()
    for part in parts:
        for shape, columns in part.columns.items():
            counts[shape] += len(columns["sample_id"])
    return max(counts, key=counts.__getitem__) if counts else None


def _of_other_shapes(
    files: Sequence[SourceFile], parts: Sequence[FileScan], image_shape: tuple[int, int, int]
) -> list[Rejection]:
    return [
        Rejection(
            sample_id.decode(),
            file.name,
            f"{IMAGE} has shape {shape}, most of the archive has {image_shape}",
        )
        for file, part in zip(files, parts, strict=True)
        for shape, columns in part.columns.items()
        if shape != image_shape
        for sample_id in columns["sample_id"]
    ]


def _concatenate(
    parts: Sequence[FileScan], image_shape: tuple[int, int, int]
) -> dict[str, np.ndarray]:
    chosen = []
    for position, part in enumerate(parts):
        if image_shape in part.columns:
            columns = part.columns[image_shape]
            source_file = np.full(len(columns["sample_id"]), position, np.int32)
            chosen.append({**columns, "source_file": source_file})
    return {name: np.concatenate([part[name] for part in chosen]) for name in chosen[0]}


def _sharing_bytes(
    columns: dict[str, np.ndarray], image_shape: tuple[int, int, int]
) -> dict[int, str]:
    """Refuses samples whose patterns lie partly on those of another sample of their file."""
    rows = np.flatnonzero(columns["source_offset"] >= 0)
    # One file after the other, at distances beyond the size of any file.
    starts = columns["source_offset"][rows] + columns["source_file"][rows].astype(np.int64) * 2**46
    overlapping = checks.find_overlaps(starts, starts + math.prod(image_shape) * 4)
    reason = f"{IMAGE} lies partly on that of another sample, so one of their addresses is wrong"
    return dict.fromkeys(rows[overlapping].tolist(), reason)


def _seen_twice(columns: dict[str, np.ndarray], files: Sequence[SourceFile]) -> dict[int, str]:
    """Refuses all but the first of several samples with one id (a file present in two folders)."""
    first_row: dict[bytes, int] = {}
    reasons = {}
    for row, sample_id in enumerate(columns["sample_id"]):
        earlier = first_row.setdefault(sample_id, row)
        if earlier != row:
            reasons[row] = f"its id occurs already in {files[columns['source_file'][earlier]].name}"
    return reasons


def _whole_file(file: SourceFile, reason: str) -> Rejection:
    stem = Path(file.name).stem
    return Rejection(f"{split_of(file.name) or '?'}/{stem}", file.name, reason)
