"""One answer for each material, out of the answers to its samples at several beam energies.

Samples may come in any order and are not kept, only their sums: some 3 kB a material.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from models.networks.probabilities import COARSER, SPACE_GROUP, TINY
from pipelines.targets import CLASSES, QUANTITY, TARGETS, Target

_ROWS_AT_ONCE = 1000


@dataclasses.dataclass(frozen=True)
class JointRows:
    """Joint answers to some materials.

    Attributes:
      materials: Their names.
      samples: How many there are of each.
      answers: By target key, (materials, size).
      spreads: Of quantities, the standard deviation over a material's samples, likewise.
    """

    materials: list[str]
    samples: list[int]
    answers: dict[str, np.ndarray]
    spreads: dict[str, np.ndarray]


class JointAnswers:
    """Collects answers to samples; iterating gives those to the materials.

    Of classes, the joint answer is the mean of the samples' log-probabilities, normalised, as in
    `probabilities.joint_probabilities`; crystal system and point group are what the joint space
    groups imply, where these are answered. Of everything else it is the mean.

    Args:
      sizes: How many numbers the model answers for a sample, by output key.
    """

    def __init__(self, sizes: Mapping[str, int]):
        implied = COARSER if SPACE_GROUP in sizes else ()
        self._sizes = {
            target: sizes[key]
            for key, target in TARGETS.items()
            if key in sizes and key not in implied
        }
        self._width = sum(
            2 * size if target.kind == QUANTITY else size for target, size in self._sizes.items()
        )
        self._samples: dict[str, int] = {}
        self._sums: dict[str, np.ndarray] = {}

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is answered jointly."""
        return tuple(self._sizes)

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, materials: Sequence[str], answers: Mapping[str, np.ndarray]) -> None:
        """Adds the answers to a batch of samples, (samples, size) by key."""
        parts = []
        for target in self._sizes:
            values = answers[target.key].astype(np.float64)
            parts.append(np.log(np.maximum(values, TINY)) if target.kind == CLASSES else values)
            if target.kind == QUANTITY:
                parts.append(values**2)
        for material, row in zip(materials, np.concatenate(parts, axis=1), strict=True):
            self._samples[material] = self._samples.get(material, 0) + 1
            self._sums[material] = self._sums.get(material, 0) + row

    def __iter__(self) -> Iterator[JointRows]:
        """Yields many materials at a time, in the order in which they first came; none at least."""
        names = list(self._sums)
        for start in range(0, len(names) or 1, _ROWS_AT_ONCE):
            yield self._rows(names[start : start + _ROWS_AT_ONCE])

    def _rows(self, names: list[str]) -> JointRows:
        samples = [self._samples[name] for name in names]
        means = np.zeros((len(names), self._width))
        for position, name in enumerate(names):
            means[position] = self._sums[name] / self._samples[name]
        answers, spreads = {}, {}
        for target, size in self._sizes.items():
            mean, means = means[:, :size], means[:, size:]
            answers[target.key] = _probabilities(mean) if target.kind == CLASSES else mean
            if target.kind == QUANTITY:
                square, means = means[:, :size], means[:, size:]
                spreads[target.key] = np.sqrt(np.maximum(square - mean**2, 0))
        return JointRows(names, samples, answers, spreads)


def _probabilities(logs: np.ndarray) -> np.ndarray:
    chances = np.exp(logs - logs.max(axis=1, keepdims=True))
    return chances / chances.sum(axis=1, keepdims=True)
