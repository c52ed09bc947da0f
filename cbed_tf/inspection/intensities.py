"""Reads every pattern of an archive once: how bright they are, and which cannot be used.

The part of an inspection that costs time. Processes hand back a few numbers a sample, so memory
does not grow with the patterns; what to make of the numbers is left to `survey.py`.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cbed_tf.archive import checks, hdf5
from cbed_tf.archive.scan import Scan
from cbed_tf.conversion.shard import aligned_buffer
from cbed_tf.errors import SampleError
from cbed_tf.processes import engine
from cbed_tf.processes.progress import Progress
from cbed_tf.schema import IMAGE, IMAGE_DTYPE

# Large enough that 187,155 samples make but some thousand tasks, small enough to share evenly.
_TASK_BYTES = 256 * 2**20
_TASKS_PER_WORKER = 4


@dataclasses.dataclass(frozen=True)
class Intensities:
    """What the patterns of each row of a scan hold; not-a-number where they were refused.

    Attributes:
      minimum: Smallest intensity of a sample, float32 (rows,).
      maximum: Largest intensity of a sample, float32 (rows,).
      sums: Total intensity of each pattern, float32 (rows, views).
      refused: Row -> why its patterns cannot be used.
    """

    minimum: np.ndarray
    maximum: np.ndarray
    sums: np.ndarray
    refused: dict[int, str]


@dataclasses.dataclass(frozen=True)
class _Task:
    """Some samples of one file: their rows, groups and places."""

    path: Path
    rows: np.ndarray
    groups: np.ndarray
    offsets: np.ndarray
    image_shape: tuple[int, int, int]
    swmr: bool

    def singly(self) -> list["_Task"]:
        """Returns a task for each sample."""
        return [
            dataclasses.replace(
                self,
                rows=self.rows[k : k + 1],
                groups=self.groups[k : k + 1],
                offsets=self.offsets[k : k + 1],
            )
            for k in range(len(self.rows))
        ]


def measure_patterns(
    input_dir: str | os.PathLike, scan: Scan, workers: int, swmr: bool = False
) -> Intensities:
    """Reads and checks the patterns of every sample of a scan.

    Args:
      input_dir: The archive.
      scan: Its samples.
      workers: Number of processes.
      swmr: Open the files in single-writer multiple-reader mode.
    """
    rows, views = len(scan.columns["source_file"]), scan.image_shape[0]
    result = Intensities(
        np.full(rows, np.nan, np.float32),
        np.full(rows, np.nan, np.float32),
        np.full((rows, views), np.nan, np.float32),
        {},
    )
    tasks = _make_tasks(Path(input_dir), scan, workers, swmr)
    with Progress("reading patterns", rows * _sample_bytes(scan.image_shape), "B") as progress:
        for task, measured in _run(tasks, workers, progress):
            for row, numbers in zip(task.rows.tolist(), measured, strict=True):
                if isinstance(numbers, str):
                    result.refused[row] = numbers
                else:
                    result.minimum[row], result.maximum[row] = numbers[:2]
                    result.sums[row] = numbers[2:]
    return result


def _make_tasks(input_dir: Path, scan: Scan, workers: int, swmr: bool) -> list[_Task]:
    columns = scan.columns
    rows = np.argsort(columns["source_file"], kind="stable")
    even_share = len(rows) // (workers * _TASKS_PER_WORKER)
    largest = max(1, min(even_share, _TASK_BYTES // _sample_bytes(scan.image_shape)))
    tasks = []
    boundaries = np.flatnonzero(np.diff(columns["source_file"][rows])) + 1
    for of_file in np.split(rows, boundaries):
        for start in range(0, len(of_file), largest):
            some = of_file[start : start + largest]
            tasks.append(
                _Task(
                    path=input_dir / scan.files[columns["source_file"][some[0]]].name,
                    rows=some,
                    groups=columns["source_group"][some],
                    offsets=columns["source_offset"][some],
                    image_shape=scan.image_shape,
                    swmr=swmr,
                )
            )
    return tasks


def _run(
    tasks: Sequence[_Task], workers: int, progress: Progress
) -> Iterator[tuple[_Task, list[list[float] | str]]]:
    """Yields each task with its result; one that crashes its process is narrowed to a sample."""
    crashed: list[_Task] = []
    for position, measured in engine.run_tasks(measure_task, tasks, workers, progress):
        task = tasks[position]
        if not isinstance(measured, engine.Crashed):
            yield task, measured
        elif len(task.rows) == 1:
            yield task, [f"the HDF5 library crashed or hung on {IMAGE}"]
        else:
            crashed += task.singly()
    if crashed:
        yield from _run(crashed, workers, progress)


def measure_task(task: _Task) -> list[list[float] | str]:
    """Returns minimum, maximum and the patterns' sums of each sample, or why it is refused."""
    buffer = aligned_buffer(task.image_shape)
    measured: list[list[float] | str] = []
    for group, offset in zip(task.groups, task.offsets.tolist(), strict=True):
        place = None if offset < 0 else offset
        try:
            hdf5.read_stack(task.path, group.decode(), place, buffer, task.swmr)
            lowest, highest = checks.check_stack(buffer)
            measured.append([lowest, highest, *buffer.sum(axis=(1, 2)).tolist()])
        except SampleError as error:
            measured.append(str(error))
        engine.advance(buffer.nbytes)
    return measured


def _sample_bytes(image_shape: tuple[int, int, int]) -> int:
    return int(np.prod(image_shape)) * IMAGE_DTYPE.itemsize
