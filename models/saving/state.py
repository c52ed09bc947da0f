"""All that a training needs to go on as if nothing had happened, in one file.

Weights, the optimizer's variables with averages and held gradients, seeds of everything random,
metrics of the epoch under way; and `Progress`: the position in the data, what is best so far, the
lines of the log.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from cbed_tf.durable import write_columns
from cbed_tf.errors import CbedError
from models.saving.pace import Pace
from pipelines import Position

_PROGRESS = "progress"
_METRICS = "metrics"
# Keras numbers equal names within a process; another one may have made other models before.
_COUNTER = re.compile(r"_\d+(?=[_/]|$)")


@dataclasses.dataclass
class Progress:
    """How far a training is.

    Attributes:
      data: Fingerprint of the data set that is learned from.
      position: Of the next batch. An epoch that is judged and saved is over.
      rows: Of the log, one for each epoch that is over.
      best: Lowest value of what the best epoch is judged by, of those whose model could be saved.
      best_epoch: Where that was, counted from 1; 0 if nowhere yet.
      pace: Of the epoch under way.
    """

    data: str = ""
    position: Position = dataclasses.field(default_factory=Position)
    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best: float = float("inf")
    best_epoch: int = 0
    pace: Pace = dataclasses.field(default_factory=Pace)

    def as_json(self) -> str:
        """Returns it as text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Reads it back."""
        values = json.loads(text)
        nested = {"position": Position(**values["position"]), "pace": Pace(**values["pace"])}
        return cls(**{**values, **nested})


class State:
    """Saves and restores the variables of a training, and its progress with them.

    Args:
      fitted: A compiled model, built with its optimizer and metrics.
    """

    def __init__(self, fitted: keras.Model):
        groups = {
            "model": fitted.variables,
            "optimizer": fitted.optimizer.variables,
            _METRICS: fitted.metrics_variables,
        }
        self._variables: dict[str, keras.Variable] = {}
        known = set()
        for group, variables in groups.items():
            for number, variable in enumerate(variables):
                if id(variable) not in known:
                    known.add(id(variable))
                    path = _COUNTER.sub("", variable.path)
                    self._variables[f"{group}/{number:04}/{path}"] = variable

    def values(self) -> dict[str, np.ndarray]:
        """Returns the values of all variables, by name; of several machines, call it on all."""
        return {name: keras.ops.convert_to_numpy(v) for name, v in self._variables.items()}

    def is_finite(self) -> bool:
        """Returns whether weights and all that the optimizer keeps are numbers; likewise."""
        numbers = [
            keras.ops.all(keras.ops.isfinite(variable))
            for name, variable in self._variables.items()
            if not name.startswith(f"{_METRICS}/") and "float" in variable.dtype
        ]
        return bool(keras.ops.all(keras.ops.stack(numbers)))

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        """Puts values back.

        Raises:
          CbedError: They are not those of such a training; says where they differ.
        """
        for name, variable in self._variables.items():
            if name not in values:
                raise CbedError(f"the state has no {name}, which this training needs")
            if values[name].shape != tuple(variable.shape):
                raise CbedError(
                    f"{name} has shape {values[name].shape} in the state, {variable.shape} here"
                )
        surplus = sorted(set(values) - set(self._variables))
        if surplus:
            raise CbedError(f"the state has {surplus[0]}, of which this training knows nothing")
        for name, variable in self._variables.items():
            variable.assign(values[name])


def write_state(path: Path, values: Mapping[str, np.ndarray], progress: Progress) -> None:
    """Writes a state, whole or not at all.

    Raises:
      OSError: It cannot be written; the one before is still there.
    """
    text = np.frombuffer(progress.as_json().encode(), np.uint8)
    write_columns(path, {**values, _PROGRESS: text})


def read_state(path: Path) -> tuple[dict[str, np.ndarray], Progress]:
    """Returns values and progress as they were written.

    Raises:
      CbedError: The file cannot be read.
    """
    try:
        with np.load(path) as columns:
            values: dict[str, Any] = dict(columns)
        return values, Progress.from_json(bytes(values.pop(_PROGRESS)).decode())
    except (OSError, EOFError, BadZipFile, ValueError, KeyError, TypeError) as error:
        raise CbedError(f"the state {path} cannot be read: {error}") from error
