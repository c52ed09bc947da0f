"""Tells patterns that were scaled from raw ones, by what those of the training were like.

A network that takes the fourth root itself answers nonsense to patterns of which somebody has
already taken it, or that were normalised, and little in a single pattern proves that. But raw
patterns of one origin agree in their brightest pixel and in how many orders of magnitude they
span, and both change when intensities are scaled.

`cbed train` leaves it in RUN/intensities.json.
"""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from cbed_tf.archive.checks import check_stack
from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError, SampleError
from cbed_tf.schema import IMAGE
from pipelines.reading.remote import load_index, load_manifest

FILE_NAME = "intensities.json"
# Unseen materials go beyond the extremes of the training ones, but not by much. A fourth root
# divides the orders of magnitude by four.
_BRIGHTNESS_MARGIN = 4.0
_SPAN_MARGIN = 2 / 3
# Single negative pixels are read-out noise, and refused one by one.
_FEW = 0.01


@dataclasses.dataclass(frozen=True)
class TrainingIntensities:
    """What the training samples' intensities had in common.

    Attributes:
      dimmest: The least of the samples' largest intensities.
      brightest: The greatest of them.
      fewest_decades: The least log10(largest / smallest intensity) of a sample; infinite where all
        samples have pixels of 0.
    """

    dimmest: float
    brightest: float
    fewest_decades: float

    def check(self, smallest: float, largest: float) -> None:
        """Refuses a sample unlike those of the training.

        Args:
          smallest: Its smallest intensity.
          largest: Its largest one.

        Raises:
          SampleError: Says in what it is unlike.
        """
        hint = "it is not raw, or on another scale (--check_raw=false predicts it all the same)"
        margin = _BRIGHTNESS_MARGIN
        if not self.dimmest / margin <= largest <= self.brightest * margin:
            raise SampleError(
                f"the largest intensity of {IMAGE} is {largest:.3g}, those of the training samples "
                f"were {self.dimmest:.3g} to {self.brightest:.3g}: {hint}"
            )
        span = decades(np.array([smallest]), np.array([largest]))[0]
        if np.isfinite(self.fewest_decades) and span < _SPAN_MARGIN * self.fewest_decades:
            raise SampleError(
                f"{IMAGE} spans {span:.1f} orders of magnitude, the training samples "
                f"{self.fewest_decades:.1f} or more: {hint}"
            )


def check_raw(
    stack: np.ndarray, intensities: TrainingIntensities | None, missing_views: bool = False
) -> None:
    """Refuses patterns, float32 (views, height, width), that a model cannot be asked about.

    Args:
      stack: Of a sample.
      intensities: Of the training; None where nothing tells them.
      missing_views: Whether views may be all zeros, as long as one is not.

    Raises:
      SampleError: Pixels are not finite or negative, a pattern is the same everywhere, or they are
        unlike those of the training.
    """
    negative = float((stack < 0).mean())
    if negative > _FEW:
        raise SampleError(
            f"{IMAGE} is negative in {negative:.0%} of its pixels: raw intensities never are, but "
            "logarithms and patterns less their background"
        )
    check_stack(stack)
    present = stack.any(axis=(1, 2)) if missing_views and stack.any() else np.ones(len(stack), bool)
    for view in np.flatnonzero(present):
        if stack[view].min() == stack[view].max():
            raise SampleError(f"view {view + 1} of {IMAGE} is {stack[view, 0, 0]:.3g} everywhere")
    if intensities is not None:
        intensities.check(float(stack[present].min()), float(stack[present].max()))


def decades(smallest: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Returns how many orders of magnitude intensities span; infinitely many down to 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        spans = np.log10(largest.astype(np.float64) / smallest)
    return np.where(smallest > 0, spans, np.inf)


def measure(data_dir: str | os.PathLike) -> TrainingIntensities:
    """Returns the intensities of a data set's training split, from its index.

    Raises:
      CbedError: There is no such data set, or it is empty.
    """
    splits = load_manifest(data_dir).splits
    columns = [
        load_index(data_dir, split, ("intensity_min", "intensity_max"))
        for split in (["train"] if "train" in splits else splits)
    ]
    smallest, largest = (
        np.concatenate([part[name] for part in columns])
        for name in ("intensity_min", "intensity_max")
    )
    if not len(largest):
        raise CbedError(f"{data_dir} has no training samples")
    return TrainingIntensities(
        float(largest.min()), float(largest.max()), float(decades(smallest, largest).min())
    )


def save(run_dir: str | os.PathLike, intensities: TrainingIntensities) -> None:
    """Writes RUN/intensities.json."""
    content = json.dumps(dataclasses.asdict(intensities), indent=1) + "\n"
    write_atomically(Path(run_dir) / FILE_NAME, content.encode())


def load(run_dir: str | os.PathLike) -> TrainingIntensities | None:
    """Returns the intensities that a run was trained on, None where the run does not say.

    Raises:
      CbedError: RUN/intensities.json is damaged.
    """
    path = Path(run_dir) / FILE_NAME
    if not path.exists():
        return None
    try:
        return TrainingIntensities(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CbedError(f"{path} cannot be read: {error}") from error
