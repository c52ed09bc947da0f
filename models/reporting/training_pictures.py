"""What can be seen of a training: its first batch, its curve, which crystal systems it mixes up."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from models.evaluation.charts import confusion_chart, history_chart
from models.figures import patterns_figure, save_figure
from models.reporting.system_confusion import SYSTEM_NAMES
from pipelines.scaling import NONE, IntensityScaling
from pipelines.targets import CLASSES, QUANTITY, TARGETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PICTURED = 6
_DOTS_PER_INCH = 72


def draw_curve(path: Path, history: Mapping[str, Sequence[float]]) -> None:
    """Draws the loss and the first metric of each target against epochs.

    Args:
      path: PNG file.
      history: By name, one number an epoch, at least one.

    Raises:
      OSError: It cannot be written.
    """
    figure = history_chart({"": history})
    if len(history["loss"]) == 1:  # no line yet
        for axes in figure.axes:
            for line in axes.lines:
                line.set_marker("o")
    save_figure(path, figure)


def picture_confusion(counts: np.ndarray) -> bytes:
    """Returns, as PNG, how often samples of each crystal system (row) were taken for each."""
    return _as_png(confusion_chart(counts, SYSTEM_NAMES, "crystal system"))


def picture_batch(fitted: keras.Model, batch: Any) -> bytes:
    """Returns, as PNG, what a training's first step makes of the first samples of its batch."""
    return _as_png(patterns_figure(*_as_trained(fitted, batch)))


def _as_png(figure: "Figure") -> bytes:
    # Not by way of a file: a disk that is full should not end a training.
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DOTS_PER_INCH)
    return picture.getvalue()


def _as_trained(fitted: keras.Model, batch: Any) -> tuple[np.ndarray, list[str]]:
    """Returns raw intensities of a few samples as the first step sees them, and their labels."""
    augment = getattr(fitted, "augment", None)
    if augment is not None:  # by the seed of the first step, which is left to it
        batch = augment.augment(batch, fitted.seed_on(0, keras.ops.copy(augment.generator.state)))
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
