"""What a run leaves to be read while it trains: log.csv, TensorBoard, lines, the curve."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import keras
import numpy as np

from cbed_tf.durable import write_atomically
from models.reporting.display import Display
from models.reporting.tensorboard_log import DEV, TRAIN, TensorBoardLog
from models.reporting.training_pictures import draw_curve, picture_batch, picture_confusion
from models.saving import runs
from models.saving.pace import Pace
from models.saving.state import Progress
from models.saving.writing import attempt

_STEPS_BETWEEN_POINTS = 20
# A picture takes 0.1 to 0.4 s to draw, an epoch of a small data set a few.
_SECONDS_BETWEEN_PICTURES = 30.0
PACE = ("seconds", "samples_per_second", "waiting_share", "learning_rate")


class NoReporting:
    """Says nothing: the chief of several machines speaks for all."""

    def begin_epoch(self, *_: Any) -> None:
        """Says nothing, as the others."""

    step = end_epoch = first_batch = flush = close = begin_epoch


class Reporting:
    """Says what happens in a training.

    Args:
      run_dir: The run's folder.
      display: For whoever watches.
    """

    def __init__(self, run_dir: Path, display: Display):
        self._run_dir = run_dir
        self._display = display
        self._events = TensorBoardLog(run_dir / runs.TENSORBOARD_NAME)
        self._point: tuple[int, float] | None = None
        self._pictured = -math.inf

    def begin_epoch(self, epoch: int, samples: int) -> None:
        """Begins an epoch, counted from 1, in which so many samples are done."""
        self._display.begin(epoch, samples)
        self._point = None if samples else (0, 0.0)

    def step(self, step: int, samples: int, loss: float, pace: Pace) -> None:
        """Says what a step came to.

        Args:
          step: Of the whole training, counted from 1.
          samples: Of this epoch, up to now.
          loss: Their mean loss.
          pace: Of this epoch.
        """
        self._display.step(samples, loss, pace)
        if step % _STEPS_BETWEEN_POINTS == 0:
            if self._point is not None:
                before, mean = self._point
                recent = (loss * samples - mean * before) / (samples - before)
                self._events.add_scalars(TRAIN, step, {"loss_by_step": recent})
            self._point = (samples, loss)

    def end_epoch(
        self, progress: Progress, means: Mapping[str, float], confusion: np.ndarray | None
    ) -> None:
        """Says what an epoch came to.

        Args:
          progress: Its last row is that of the epoch.
          means: Losses and metrics, those of dev behind `val_`.
          confusion: Of crystal systems on dev, if there is one.
        """
        epoch = len(progress.rows)
        self._display.end(means, progress.pace)
        dev = {name[4:]: value for name, value in means.items() if name.startswith("val_")}
        train = {name: value for name, value in means.items() if not name.startswith("val_")}
        pace = {name: progress.rows[-1][name] for name in PACE}
        self._events.add_scalars(TRAIN, epoch, {**train, **pace})
        if dev:
            self._events.add_scalars(DEV, epoch, dev)
        if confusion is not None and self._is_time_for_a_picture():
            self._events.add_picture(DEV, epoch, "crystal_systems", picture_confusion(confusion))
        self.flush(progress)

    def first_batch(self, fitted: keras.Model, batch: Any) -> None:
        """Shows TensorBoard what the first batch of a training looks like, augmented or not."""
        self._events.add_picture(TRAIN, 0, "first_batch", picture_batch(fitted, batch))

    def flush(self, progress: Progress) -> None:
        """Writes log and events; after the state, so that they know nothing that it does not."""
        log = self._run_dir / runs.LOG_NAME
        if progress.rows:
            attempt(log, lambda: write_log(log, progress.rows))
        attempt(self._run_dir / runs.TENSORBOARD_NAME, self._events.flush)

    def close(self, progress: Progress) -> None:
        """Draws the curve; also of a training that was interrupted."""
        self._display.close()
        curve = self._run_dir / runs.CURVE_NAME
        if progress.rows:
            attempt(curve, lambda: draw_curve(curve, history_of(progress)))

    def _is_time_for_a_picture(self) -> bool:
        is_time = monotonic() - self._pictured >= _SECONDS_BETWEEN_PICTURES
        if is_time:
            self._pictured = monotonic()
        return is_time


def epoch_row(epoch: int, means: Mapping[str, float], pace: Pace, rate: float) -> dict[str, float]:
    """Returns a line of the log: an epoch's losses and metrics, its pace and learning rate."""
    measured = (pace.seconds, pace.samples_per_second, pace.waiting_share, rate)
    return {"epoch": epoch, **means, **dict(zip(PACE, measured, strict=True))}


def history_of(progress: Progress) -> dict[str, list[float]]:
    """Returns losses and metrics by name, one number an epoch."""
    names = [name for name in (progress.rows or [{}])[0] if name not in ("epoch", *PACE)]
    return {name: [row[name] for row in progress.rows] for name in names}


def write_log(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes all epochs as a CSV file, with all digits; raises OSError if it cannot."""
    stream = io.StringIO(newline="")
    table = csv.DictWriter(stream, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    write_atomically(path, stream.getvalue().encode())
