"""Writes shards although some of their samples crash the process that reads them.

A damaged file can crash the HDF5 library, or send it round in circles, and only when its patterns
are read. A shard mixes samples of many files, so the sample is looked for: each is read alone, the
ones that take their process with them are refused, the shard is written again without them. That
depends on the archive alone, so the result is the same for any number of processes.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cbed_tf.conversion.shard import ShardTask, read_alone, write_shard
from cbed_tf.errors import CbedError
from cbed_tf.processes import engine
from cbed_tf.schema import IMAGE

_LOG = logging.getLogger(__name__)
CRASH_REASON = f"the HDF5 library crashed or hung on {IMAGE}"
# `engine.run_tasks` or its like, with everything but function and tasks filled in.
Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]


def write_shards(tasks: Sequence[ShardTask], run: Run) -> None:
    """Writes shards, if need be without the samples that crash.

    Raises:
      CbedError: A process died over a shard again and again, and no sample of it is to blame.
    """
    crashed = _write(tasks, run)
    if not crashed:
        return
    _LOG.warning(
        "%d shard(s) crashed the process that wrote them; looking for the samples that did",
        len(crashed),
    )
    still_crashed = _write(_refuse_culprits(crashed, run), run)
    if still_crashed:
        raise CbedError(
            f"the process that wrote {still_crashed[0].name} died again and again, though each of "
            "its samples can be read; the same command goes on where this one stopped"
        )


def _write(tasks: Sequence[ShardTask], run: Run) -> list[ShardTask]:
    """Writes shards; returns those whose process died."""
    return [
        tasks[position]
        for position, report in run(write_shard, tasks)
        if isinstance(report, engine.Crashed)
    ]


def _refuse_culprits(tasks: Sequence[ShardTask], run: Run) -> list[ShardTask]:
    # What lies in one piece is read without HDF5.
    suspects = [
        (task, k)
        for task in tasks
        for k in np.flatnonzero(task.columns["source_offset"] < 0).tolist()
    ]
    refused: dict[str, dict[int, str]] = {task.name: {} for task in tasks}
    for position, result in run(read_alone, suspects):
        if isinstance(result, engine.Crashed):
            task, k = suspects[position]
            refused[task.name][k] = CRASH_REASON
    return [dataclasses.replace(task, refused=refused[task.name]) for task in tasks]
