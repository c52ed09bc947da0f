"""What a run leaves to be read while it trains: log.csv, TensorBoard, lines, the curve."""

import csv
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cbed_tf.durable import write_atomically
from models import figures, runs
from models.display import Display
from models.evaluation.charts import confusion_chart
from models.pace import Pace
from models.state import Progress
from models.system_confusion import SYSTEM_NAMES
from models.tensorboard_log import DEV, TRAIN, TensorBoardLog
from models.writing import attempt
from pipelines.scaling import NONE, IntensityScaling
from pipelines.targets import CLASSES, QUANTITY, TARGETS

_PICTURED = 6
_STEPS_BETWEEN_POINTS = 20
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
        if confusion is not None:
            self._events.add_picture(DEV, epoch, "crystal_systems", _confusion_picture(confusion))
        self.flush(progress)

    def first_batch(self, fitted: keras.Model, batch: Any) -> None:
        """Shows TensorBoard what the first batch of a training looks like, augmented or not."""
        images, captions = _as_trained(fitted, batch)
        self._events.add_picture(
            TRAIN, 0, "first_batch", _drawn(figures.save_patterns, images, captions)
        )

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
        attempt(curve, lambda: figures.save_training_curve(curve, history_of(progress)))


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


def _as_trained(fitted: keras.Model, batch: Any) -> tuple[np.ndarray, list[str]]:
    """Returns raw intensities of a few samples as the first step sees them, and their labels."""
    augment = getattr(fitted, "augment", None)
    if augment is not None:  # by the seed of the first step, which is left to it
        batch = augment.augment(batch, keras.ops.copy(augment.generator.state))
    images = IntensityScaling(NONE, dtype="float32")(batch[0])[:_PICTURED].numpy()
    labels = {key: label[:_PICTURED].numpy() for key, label in batch[1].items()}
    return images, [_caption({k: v[n] for k, v in labels.items()}) for n in range(len(images))]


def _caption(labels: Mapping[str, np.ndarray]) -> str:
    lines = []
    for key, label in labels.items():
        target = TARGETS[key]
        if target.kind == CLASSES:
            index = int(label if np.ndim(label) == 0 else np.argmax(label))
            lines.append(target.class_names[index] if index >= 0 else "unknown")
        elif target.kind == QUANTITY:
            lines.append(
                " ".join(f"{number:.3g}" for number in np.ravel(label)) + f" {target.unit}"
            )
    return "\n".join(lines)


def _confusion_picture(counts: np.ndarray) -> bytes:
    picture = io.BytesIO()
    confusion_chart(counts, SYSTEM_NAMES, "crystal system").savefig(picture, format="png", dpi=72)
    return picture.getvalue()


def _drawn(draw: Callable[..., None], *args: Any) -> bytes:
    """Returns the picture that a function draws into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path, *args)
        return path.read_bytes()
