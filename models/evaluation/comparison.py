"""Two runs on the same samples: their scores side by side, and whether they differ."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from models.evaluation.bootstrap import interval
from models.evaluation.measures import Measure, Path
from models.evaluation.scoring import put


def add_comparison(
    documents: dict[str, Any],
    measures: tuple[Mapping[Path, Measure], Mapping[Path, Measure]],
    distributions: tuple[Mapping[Path, np.ndarray], Mapping[Path, np.ndarray]],
) -> None:
    """Adds the other run's scores to the documents of the first.

    Each score that both have gets 'other', the other run's, and 'difference', the first minus the
    other, both with an interval. That of the difference is over the same resamples of materials for
    both runs: what is hard for both cancels, so it tells more than two intervals that overlap.

    Args:
      documents: From `SplitScores.document` of the first run.
      measures: Of the first and of the other run, on the same samples.
      distributions: Of these, by resample; empty for no intervals.
    """
    first, other = measures
    for path in (path for path in first if path in other):
        entry: dict[str, Any] = {"other": other[path].value()}
        entry["difference"] = first[path].value() - entry["other"]
        if path in distributions[0]:
            entry["other_interval"] = _as_list(distributions[1][path])
            entry["difference_interval"] = _as_list(distributions[0][path] - distributions[1][path])
        put(documents, path, entry)


def _as_list(distribution: np.ndarray) -> list[float] | None:
    bounds = interval(distribution)
    return bounds and list(bounds)
