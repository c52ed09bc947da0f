"""Counts of right and wrong answers as plain numpy functions: classes, confusions, elements."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from models.networks.probabilities import top_classes


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """How well one class is recognised; each share is 0 where it would be 0 / 0."""

    samples: int
    precision: float
    recall: float
    f1: float


def top_k_hits(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Returns whether each sample's true class is among the k most probable, bool (samples,).

    Args:
      probabilities: (samples, classes), in any scale.
      labels: Class indices, (samples,).
      k: At least 1.
    """
    return (top_classes(probabilities, k) == labels[:, None]).any(axis=1)


def class_scores(predicted: np.ndarray, labels: np.ndarray) -> dict[int, ClassScore]:
    """Returns the score of every class that occurs in the labels, by class index.

    Args:
      predicted: Class indices, (samples,).
      labels: Likewise.
    """
    classes = np.unique(labels).tolist()
    return {k: _score(predicted == k, labels == k) for k in classes}


def element_scores(predicted: np.ndarray, true: np.ndarray) -> dict[int, ClassScore]:
    """Returns how well each element that occurs is found, by its column.

    Args:
      predicted: Whether an element is thought to be present, bool (samples, elements).
      true: Whether it is, likewise.
    """
    columns = np.flatnonzero(true.any(axis=0)).tolist()
    return {k: _score(predicted[:, k], true[:, k]) for k in columns}


def _score(answered: np.ndarray, true: np.ndarray) -> ClassScore:
    samples, answers, hits = (int(np.sum(x)) for x in (true, answered, true & answered))
    return ClassScore(
        samples=samples,
        precision=hits / answers if answers else 0.0,
        recall=hits / samples,
        f1=2 * hits / (samples + answers),
    )


def confusion(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how many samples of each true class (row) were taken for each class (column)."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def mistaken_for(counts: np.ndarray, most: int = 3) -> Mapping[int, list[tuple[int, int]]]:
    """Returns for each class that occurs which others it was taken for, most often first.

    Args:
      counts: From `confusion`.
      most: How many others at most.

    Returns:
      By class, pairs of the other class and how many samples were taken for it.
    """
    mistakes = {}
    for label in np.flatnonzero(counts.sum(axis=1)).tolist():
        others = counts[label].copy()
        others[label] = 0
        order = np.argsort(-others, kind="stable")[:most]
        mistakes[label] = [(int(k), int(others[k])) for k in order if others[k]]
    return mistakes
