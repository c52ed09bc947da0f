"""Scores that are functions of sums over samples.

Such a score of resampled materials is the same function of a weighted sum, so a thousand resamples
cost one matrix product: the way in which `bootstrap.py` gets its intervals.
"""

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Measure:
    """One score.

    Attributes:
      sums: What each material adds, float32 (materials, parts).
      finish: Turns totals, (..., parts), into scores, (...); not-a-number where nothing is judged.
    """

    sums: np.ndarray
    finish: Callable[[np.ndarray], np.ndarray]

    def value(self) -> float:
        """Returns the score of all materials."""
        return float(self.finish(self.sums.sum(axis=0, dtype=np.float64)))

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """Returns a score for each resample, float64 (resamples,).

        Args:
          weights: How often each material was drawn, float32 (resamples, materials).
        """
        return self.finish((weights @ self.sums).astype(np.float64))


# Where a score stands in a task's document, ('top1',) or ('mae_by_component', 'a').
Path = tuple[str, ...]
# That, the score of the model, and the one of the baseline on the same rows.
Scored = tuple[Path, Measure, Measure]


def mean(values: np.ndarray, groups: np.ndarray, where: np.ndarray | None = None) -> Measure:
    """Returns the mean of values.

    Args:
      values: (samples,).
      groups: The material of each sample, 0 to the number of materials - 1, (samples,).
      where: Which samples count, bool (samples,); all by default.
    """
    return Measure(_mean_parts(values, groups, where), _quotient)


def root_mean(values: np.ndarray, groups: np.ndarray) -> Measure:
    """Returns the root of the mean of values, arguments as of `mean`; of squares, that is RMSE."""
    return Measure(_mean_parts(values, groups, None), lambda totals: np.sqrt(_quotient(totals)))


def macro_f1(predicted: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Measure:
    """Returns the mean F1 over the classes that occur in the labels, each counting alike.

    Over the whole split at once; means of batches' F1, as some publish, are another number. A class
    that is predicted but never true has no F1 of its own, and lowers the precision of no other: the
    samples taken for it lower the recall of their true classes.

    Args:
      predicted: Class indices, (samples,).
      labels: Likewise.
      groups: The material of each sample.
    """
    return Measure(_class_parts(predicted, labels, groups), _mean_f1)


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Measure:
    """Returns the mean recall over the classes that occur in the labels, arguments likewise."""
    return Measure(_class_parts(predicted, labels, groups), _mean_recall)


def presence_f1(predicted: np.ndarray, true: np.ndarray, groups: np.ndarray) -> Measure:
    """Returns the F1 of all yes-or-no answers together.

    Args:
      predicted: bool (samples, questions).
      true: Likewise.
      groups: The material of each sample.
    """
    counts = (true.sum(axis=1), predicted.sum(axis=1), (true & predicted).sum(axis=1))
    parts = np.stack([_sum_by_group(count, groups) for count in counts], axis=1)
    return Measure(parts, lambda totals: _f1(*np.moveaxis(totals, -1, 0)))


def _mean_parts(values: np.ndarray, groups: np.ndarray, where: np.ndarray | None) -> np.ndarray:
    counted = np.ones(len(values)) if where is None else where.astype(np.float64)
    return np.stack(
        [_sum_by_group(values * counted, groups), _sum_by_group(counted, groups)], axis=1
    )


def _sum_by_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.bincount(groups, values).astype(np.float32)


def _class_parts(predicted: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Counts of each class that occurs: true, answered, and both; (materials, 3 x classes)."""
    present, true = np.unique(labels, return_inverse=True)
    answered = np.searchsorted(present, predicted).clip(max=len(present) - 1)
    is_known = present[answered] == predicted
    parts = np.zeros((groups.max() + 1, 3, len(present)), np.float32)
    np.add.at(parts[:, 0], (groups, true), 1)
    np.add.at(parts[:, 1], (groups[is_known], answered[is_known]), 1)
    hit = predicted == labels
    np.add.at(parts[:, 2], (groups[hit], true[hit]), 1)
    return parts.reshape(len(parts), -1)


def _mean_f1(totals: np.ndarray) -> np.ndarray:
    true, answered, hits = np.split(totals, 3, axis=-1)
    return _mean_over(_f1(true, answered, hits), true)


def _mean_recall(totals: np.ndarray) -> np.ndarray:
    true, _, hits = np.split(totals, 3, axis=-1)
    return _mean_over(hits / np.maximum(true, 1), true)


def _mean_over(scores: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Averages the scores of the classes that occur, as a resample may lack some."""
    return np.where(true > 0, scores, 0).sum(axis=-1) / (true > 0).sum(axis=-1)


def _f1(true: np.ndarray, answered: np.ndarray, hits: np.ndarray) -> np.ndarray:
    return 2 * hits / np.maximum(true + answered, 1)


def _quotient(totals: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return totals[..., 0] / totals[..., 1]
