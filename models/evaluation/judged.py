"""A run's model on a split: what it answered and what follows from that."""

import csv
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from models.evaluation.answers import Answers
from models.evaluation.calibrating import Calibrated
from models.evaluation.tasks import Task
from models.saving import runs


@dataclasses.dataclass(frozen=True)
class Judged:
    """A run's model on a split.

    Attributes:
      run_dir: The run.
      checkpoint: Which of its models.
      weights: Number of the model's weights.
      inputs: What it is told beside the patterns.
      answers: To the split.
      tasks: What is judged of them, from `tasks.sample_tasks`.
      calibrated: By key of a task with classes.
      temperatures: Of the model by target key, fitted on dev; empty if there is no such split.
    """

    run_dir: str
    checkpoint: str
    weights: int
    inputs: tuple[str, ...]
    answers: Answers
    tasks: Mapping[str, Task]
    calibrated: Mapping[str, Calibrated]
    temperatures: Mapping[str, float]


def read_history(run_dir: str | os.PathLike) -> dict[str, list[float]]:
    """Returns a run's losses and metrics by name, one number an epoch; empty if it has no log."""
    path = Path(run_dir) / runs.LOG_NAME
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    history = {}
    for name in rows[0] if rows else ():
        values = [_number(row[name]) for row in rows]
        if name != "epoch" and None not in values:
            history[name] = values
    return history


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
