"""What a training saves while it runs, each file whole or not at all: its state, its models.

A disk that is full costs the newest of them: what was saved before stays, the training goes on, and
the next time may succeed.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import keras

from cbed_tf.durable import sync_folder, temporary_path
from models.saving import runs
from models.saving.state import Progress, State, write_state
from models.saving.writing import attempt


class Checkpoints:
    """Saves the state, the last and the best model of a run.

    Args:
      run_dir: The run's folder.
      fitted: The model that is trained.
      model: The same weights as it is to be saved.
      minutes: Between two states within an epoch.
      is_chief: Whether this machine writes; the others only give their part of the values.
    """

    def __init__(
        self,
        run_dir: Path,
        fitted: keras.Model,
        model: keras.Model,
        minutes: float,
        is_chief: bool = True,
    ):
        self._run_dir = run_dir
        self._fitted = fitted
        self._model = model
        self._seconds = 60 * minutes
        self._is_chief = is_chief
        self._state = State(fitted)
        self._saved = monotonic()

    def is_due(self) -> bool:
        """Returns whether it is time for this machine to save the state."""
        return self._is_chief and monotonic() - self._saved >= self._seconds

    def is_sound(self) -> bool:
        """Returns whether there is something to go on with: no weight that is not a number.

        Of several machines, ask on all.
        """
        return self._state.is_finite()

    def save_state(self, progress: Progress, is_wanted: bool = True) -> bool:
        """Saves the state; returns whether it is on the disk.

        Of several machines, call it on all, wanted or not.
        """
        values = self._state.values()
        if not is_wanted:
            return False
        self._saved = monotonic()
        path = self._run_dir / runs.STATE_NAME
        return self._attempt(path, lambda: write_state(path, values, progress))

    def save_model(self, is_best: bool) -> bool:
        """Saves the model as the last one, perhaps as the best; returns whether it is saved."""
        last = runs.checkpoint_path(self._run_dir, runs.LAST)
        best = runs.checkpoint_path(self._run_dir, runs.BEST)
        is_saved = self._attempt(last, lambda: _write_whole(last, self._model.save))
        if not (is_saved and is_best):
            return is_saved
        return self._attempt(best, lambda: _write_whole(best, lambda new: _copy(last, new)))

    def _attempt(self, path: Path, write: Callable[[], object]) -> bool:
        return not self._is_chief or attempt(path, write)


@contextlib.contextmanager
def averaged_weights(fitted: keras.Model) -> Iterator[None]:
    """Has a model answer with the averages of its weights, where its optimizer keeps these."""
    averages = fitted.optimizer.averages
    weights = fitted.trainable_variables if averages else []
    raw = [keras.ops.copy(weight) for weight in weights]
    try:
        for weight, average in zip(weights, averages, strict=True):
            weight.assign(average)
        yield
    finally:
        for weight, value in zip(weights, raw, strict=True):
            weight.assign(value)


def _copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # no file is changed under its name, only replaced
    except OSError:
        shutil.copyfile(source, target)


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Brings a file to the disk under a hidden name, then renames it."""
    temporary = temporary_path(path).with_suffix(runs.TEMPORARY_SUFFIX)
    try:
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
