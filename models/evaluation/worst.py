"""The answers that are most wrong, and the patterns that led to them.

Patterns are kept while batches go by, one stack for each of a few materials, so that a split of any
size, from files or from a URL, is read once and hardly any of it is held.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np

from cbed_tf.dataset.manifest import Statistics
from pipelines.targets import CLASSES, QUANTITY, Target


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A sample that was answered wrongly.

    Attributes:
      row: Of the sample, in its split.
      severity: As of `severities`.
      stack: Its raw intensities, (views, height, width).
    """

    row: int
    severity: float
    stack: np.ndarray


def severities(
    target: Target,
    answers: np.ndarray,
    labels: np.ndarray,
    statistics: Mapping[str, Statistics],
) -> np.ndarray:
    """Returns how wrong each answer is, (samples,); 0 is right.

    Of classes, it is the probability of a wrong answer; of quantities, the mean error in standard
    deviations over train; of fractions, the share of atoms given to other elements.

    Args:
      target: What was asked.
      answers: (samples, size).
      labels: As `Target.encode` gives them.
      statistics: `Manifest.statistics`.
    """
    if target.kind == CLASSES:
        return np.where(answers.argmax(axis=1) == labels, 0, answers.max(axis=1))
    errors = np.abs(answers - labels)
    if target.kind == QUANTITY:
        std = np.asarray(statistics[target.key].std)
        return (errors / np.where(std > 0, std, 1)).mean(axis=1)
    return errors.sum(axis=1) / 2


class WorstMistakes:
    """Keeps the worst sample of each of the materials that have the worst ones.

    Args:
      count: How many materials at most.
    """

    def __init__(self, count: int):
        self._count = count
        self._kept: dict[bytes, Mistake] = {}

    def offer(
        self,
        first_row: int,
        materials: np.ndarray,
        severities: np.ndarray,
        stack_of: Callable[[int], np.ndarray],
    ) -> None:
        """Looks through a batch.

        Args:
          first_row: Of its first sample, in the split.
          materials: Of its samples, (batch,).
          severities: Likewise.
          stack_of: Returns a sample's raw intensities, by its place in the batch.
        """
        for place, (material, severity) in enumerate(zip(materials, severities, strict=True)):
            if severity > self._bar(material):
                if material not in self._kept and len(self._kept) == self._count:
                    del self._kept[self._mildest()]
                self._kept[material] = Mistake(first_row + place, float(severity), stack_of(place))

    def _bar(self, material: bytes) -> float:
        """Returns what a sample of a material has to exceed."""
        if material in self._kept:
            return self._kept[material].severity
        if len(self._kept) < self._count:
            return 0.0
        return min((mistake.severity for mistake in self._kept.values()), default=math.inf)

    def _mildest(self) -> bytes:
        return min(self._kept, key=lambda material: self._kept[material].severity)

    def found(self) -> list[Mistake]:
        """Returns what was kept, the worst first."""
        return sorted(self._kept.values(), key=lambda mistake: (-mistake.severity, mistake.row))
