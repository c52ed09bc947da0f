"""What happens beside the training steps: models saved, epochs reported, nonsense stopped."""

import csv
import logging
import math
import os
import shutil
from pathlib import Path
from time import monotonic
from typing import Any

import keras

from cbed_tf.errors import CbedError
from models import runs
from models.metrics import headline_names

_LOG = logging.getLogger(__name__)


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves the last and the best model of a run after every epoch, each whole or not at all.

    Args:
      run_dir: The run's folder.
      monitor: Name of the logged value whose lowest epoch is the best.
      saved: The model to save, where it is another than the fitted one, whose weights it shares.
    """

    def __init__(self, run_dir: Path, monitor: str, saved: keras.Model | None = None):
        super().__init__()
        self.run_dir = run_dir
        self.monitor = monitor
        self.saved = saved
        self.best = math.inf
        self.best_epoch = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves the model."""
        last = runs.checkpoint_path(self.run_dir, runs.LAST)
        _write_whole(last, (self.saved or self.model).save)
        if logs[self.monitor] < self.best:
            self.best, self.best_epoch = logs[self.monitor], epoch + 1
            best = runs.checkpoint_path(self.run_dir, runs.BEST)
            _write_whole(best, lambda temporary: shutil.copyfile(last, temporary))


def _write_whole(path: Path, write: Any) -> None:
    """Writes a file under a temporary name (keras insists on the suffix), then renames it."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class WriteLog(keras.callbacks.Callback):
    """Adds a line to a CSV file after every epoch, which is open only for that moment.

    Args:
      path: New file; columns are `epoch` (from 1) and whatever keras logs.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the line, with all digits."""
        with self.path.open("a", newline="") as stream:
            table = csv.writer(stream)
            if epoch == 0:
                table.writerow(["epoch", *logs])
            table.writerow([epoch + 1, *logs.values()])


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training whose loss is no finite number: every later step would be wasted."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Checks the running mean of the loss, which one bad batch spoils.

        Raises:
          CbedError: It is not finite.
        """
        if not math.isfinite(logs["loss"]):
            raise CbedError(
                f"the loss is {logs['loss']} since batch {batch + 1} of this epoch: try a lower "
                "--learning_rate, or the training without --mixed_precision"
            )


class ReportEpochs(keras.callbacks.Callback):
    """Logs one line an epoch, for output that is no terminal.

    Args:
      epochs: How many there will be.
      samples: In the training split.
    """

    def __init__(self, epochs: int, samples: int):
        super().__init__()
        self.epochs = epochs
        self.samples = samples

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self._start = monotonic()
        self._seconds = 0.0

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Stops the clock: the dev split is not part of the training rate."""
        self._seconds = monotonic() - self._start

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the line."""
        seconds = self._seconds or monotonic() - self._start
        _LOG.info(
            "epoch %d of %d: %s (%.0f samples/s)",
            epoch + 1, self.epochs, _summary(logs), self.samples / seconds,
        )  # fmt: skip


def _summary(logs: dict[str, float]) -> str:
    """Says the loss and the first metric of each target, of train and of dev where there is one."""
    names = headline_names(logs)
    dev = {name: f" (dev {logs[f'val_{name}']:.3g})" for name in names if f"val_{name}" in logs}
    return ", ".join(f"{name} {logs[name]:.3g}{dev.get(name, '')}" for name in names)
