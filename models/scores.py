"""Scores as plain numpy functions, of answers beside labels."""

import dataclasses
from collections.abc import Sequence

import numpy as np


def top_k_accuracy(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Returns the share of samples whose true class is among the k most probable.

    Of equally probable classes the first count as more probable.

    Args:
      probabilities: (samples, classes), in any scale.
      labels: Class indices, (samples,).
      k: At least 1.
    """
    return float(np.mean((top_classes(probabilities, k) == labels[:, None]).any(axis=1)))


def top_classes(probabilities: np.ndarray, k: int) -> np.ndarray:
    """Returns the indices of the k most probable classes, most probable first, (samples, k)."""
    return np.argsort(-probabilities, axis=-1, kind="stable")[:, :k]


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """How well one class is recognised; each share is 0 where it would be 0 / 0."""

    samples: int
    precision: float
    recall: float
    f1: float


def class_scores(predicted: np.ndarray, labels: np.ndarray) -> dict[int, ClassScore]:
    """Returns the score of every class that occurs in the labels, by class index.

    Args:
      predicted: Class indices, (samples,).
      labels: Likewise.
    """
    scores = {}
    for index in np.unique(labels).tolist():
        samples = int((labels == index).sum())
        answers = int((predicted == index).sum())
        hits = int(((labels == index) & (predicted == index)).sum())
        scores[index] = ClassScore(
            samples=samples,
            precision=hits / answers if answers else 0.0,
            recall=hits / samples,
            f1=2 * hits / (samples + answers),
        )
    return scores


def macro_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean F1 over the classes that occur in the labels, each counting alike.

    Over the whole split at once; means of batches' F1, as some publish, are another number. A class
    that is predicted but never true has no F1 of its own, and lowers the precision of no other:
    the samples taken for it lower the recall of their true classes.
    """
    return float(np.mean([score.f1 for score in class_scores(predicted, labels).values()]))


def confusion(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns how many samples of each true class (row) were taken for each class (column)."""
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def pool_classes(probabilities: np.ndarray, class_of: Sequence[int], size: int) -> np.ndarray:
    """Adds up the probabilities of classes that belong together.

    Args:
      probabilities: (samples, classes).
      class_of: The larger class of each class.
      size: Number of larger classes.

    Returns:
      (samples, size).
    """
    pooled = np.zeros((len(probabilities), size), probabilities.dtype)
    np.add.at(pooled, (slice(None), np.asarray(class_of)), probabilities)
    return pooled


def mean_absolute_error(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the mean absolute error of each component, (components,), in the labels' unit.

    Args:
      answers: (samples, components), or what broadcasts to it.
      labels: (samples, components).
    """
    return np.abs(answers - labels.astype(np.float64)).mean(axis=0)
