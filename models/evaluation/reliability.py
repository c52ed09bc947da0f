"""Whether probabilities can be taken at their word, before and after a temperature."""

import dataclasses

import numpy as np

from models.evaluation.tasks import Task
from models.networks.probabilities import TINY
from models.prediction.calibration import apply_temperature, fit_temperature

BINS = 15
_SIMULATIONS = 400
_FOLDS = 2


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How the probability of the first answer compares with how often it is right.

    Attributes:
      ece: Expected calibration error: over BINS equal intervals of probability, the mean distance
        between mean probability and share of right answers, weighted by samples.
      ece_by_chance: What it would be on average if the probabilities were exact: with few samples
        shares scatter, and no model has 0.
      nll: Mean negative log-probability of the true class, in nats.
      samples: In each interval, (BINS,).
      confidence: Mean probability of the first answer in each; not-a-number in empty ones.
      accuracy: Share of right ones in each, likewise.
      expected: Between which shares 95 % would be by chance if the probabilities were exact,
        (BINS, 2), likewise.
    """

    ece: float
    ece_by_chance: float
    nll: float
    samples: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    expected: np.ndarray

    def as_document(self) -> dict[str, object]:
        """Returns this as a JSON-like dict; empty intervals are left out."""
        filled = self.samples > 0
        names = ("samples", "confidence", "accuracy")
        columns = (getattr(self, name)[filled].tolist() for name in names)
        return {
            "ece": self.ece,
            "ece_by_chance": self.ece_by_chance,
            "nll": self.nll,
            "bins": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)],
        }


def reliability(probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> Reliability:
    """Returns how reliable probabilities are.

    Args:
      probabilities: (samples, classes).
      labels: Class indices, (samples,).
      groups: The material of each sample, from 0, without gaps.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    samples = np.bincount(bins, minlength=BINS)
    claimed, found = (np.bincount(bins, values, BINS) for values in (confidence, right))
    by_chance = _hits_by_chance(bins, confidence, groups)
    true = np.take_along_axis(probabilities, labels[:, None], axis=1)
    with np.errstate(invalid="ignore"):
        return Reliability(
            ece=float(np.abs(found - claimed).sum() / len(labels)),
            ece_by_chance=float(np.abs(by_chance - claimed).sum(axis=1).mean() / len(labels)),
            nll=float(-np.log(np.maximum(true.astype(np.float64), TINY)).mean()),
            samples=samples,
            confidence=claimed / samples,
            accuracy=found / samples,
            expected=np.quantile(by_chance, (0.025, 0.975), axis=0).T / samples[:, None],
        )


def _hits_by_chance(bins: np.ndarray, confidence: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns right answers in each interval if probabilities were exact, (simulations, BINS).

    Samples of a material are right or wrong together, as far as their probabilities allow: they are
    not so many chances to scatter less.
    """
    random, materials = np.random.default_rng(0), groups.max() + 1
    return np.stack(
        [
            np.bincount(bins, random.random(materials)[groups] < confidence, BINS)
            for _ in range(_SIMULATIONS)
        ]
    )


def cross_fitted(task: Task, seed: int = 0) -> tuple[np.ndarray, list[float]]:
    """Returns tempered probabilities of the very split that temperatures are fitted on.

    Half of the materials get the temperature of the other half, so that no answer is judged under a
    temperature that knows its label.

    Args:
      task: Answers to classes, of two materials or more.
      seed: Which materials are in which half.

    Returns:
      The probabilities, as `task.answers`, and the temperature applied to each half.
    """
    materials = task.groups.max() + 1
    half = np.random.default_rng(seed).permutation(materials) % _FOLDS
    tempered, temperatures = np.empty_like(task.answers), []
    for fold in range(_FOLDS):
        judged = half[task.groups] == fold
        temperatures.append(fit_temperature(task.answers[~judged], task.labels[~judged]))
        tempered[judged] = apply_temperature(task.answers[judged], temperatures[-1])
    return tempered, temperatures
