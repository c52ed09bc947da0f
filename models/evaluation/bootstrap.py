"""How far scores would be elsewhere with other materials of the same kind: bootstrap intervals.

Whole materials are drawn anew, not samples: the ten energies of a material are right or wrong
together, and intervals that took them for ten observations would be three times too narrow.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping

import numpy as np

from cbed_tf.processes.progress import Progress
from models.evaluation.measures import Measure

LEVEL = 0.95
_RESAMPLES_AT_ONCE = 50


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """Draws as many materials as there are, with replacement, again and again.

    Two sets of scores that are given the same number of materials get the same draws, so that their
    difference can be taken resample by resample.

    Attributes:
      resamples: How often to draw; 0 for no intervals.
      seed: Of the draws.
    """

    resamples: int = 1000
    seed: int = 0

    def distributions(self, measures: Mapping[Hashable, Measure]) -> dict[Hashable, np.ndarray]:
        """Returns each score for each resample, (resamples,), by its name.

        Args:
          measures: By name; those of as many materials are of the same ones in the same order.
        """
        scores = {name: np.empty(self.resamples) for name in measures}
        # Several numbers of materials only where some have no label of a target.
        by_materials: dict[int, list[Hashable]] = {}
        for name, measure in measures.items():
            by_materials.setdefault(len(measure.sums), []).append(name)
        total = self.resamples * len(by_materials)
        with Progress("resampling materials", total, "resamples") as progress:
            for materials, names in by_materials.items():
                first = 0
                for weights in self._draws(materials):
                    for name in names:
                        drawn = measures[name].resampled(weights)
                        scores[name][first : first + len(weights)] = drawn
                    first += len(weights)
                    progress.advance(len(weights))
        return scores

    def _draws(self, materials: int) -> Iterator[np.ndarray]:
        """Yields how often each material was drawn, float32 (some resamples, materials)."""
        random = np.random.default_rng(self.seed)
        for first in range(0, self.resamples, _RESAMPLES_AT_ONCE):
            count = min(_RESAMPLES_AT_ONCE, self.resamples - first)
            drawn = random.integers(materials, size=(count, materials))
            places = drawn + materials * np.arange(count)[:, None]
            counts = np.bincount(places.reshape(-1), minlength=count * materials)
            yield counts.reshape(count, materials).astype(np.float32)


def interval(distribution: np.ndarray) -> tuple[float, float] | None:
    """Returns the central LEVEL of resampled scores; None where no resample has any.

    Args:
      distribution: (resamples,), not-a-number where a resample had nothing to judge.
    """
    known = distribution[np.isfinite(distribution)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
