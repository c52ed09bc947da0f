"""All scores of a split: which there are, and the document that holds them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cbed_tf.dataset.manifest import Manifest
from models.evaluation.bootstrap import interval
from models.evaluation.class_scoring import class_facts, class_measures
from models.evaluation.measures import Measure, Path
from models.evaluation.number_scoring import (
    fraction_facts,
    fraction_measures,
    quantity_facts,
    quantity_measures,
)
from models.evaluation.tasks import Task, joint_tasks
from pipelines.targets import CLASSES, FRACTIONS, QUANTITY

_MEASURES = {
    CLASSES: class_measures,
    QUANTITY: quantity_measures,
    FRACTIONS: fraction_measures,
}
_FACTS = {CLASSES: class_facts, QUANTITY: quantity_facts, FRACTIONS: fraction_facts}
PER_MATERIAL = "per_material"


class SplitScores:
    """The scores of a model on a split.

    Args:
      tasks: From `tasks.sample_tasks`.
      manifest: Of the data set whose training split the baselines know.

    Attributes:
      measures: The model's, by (key, …, name); resampled materials have them too.
    """

    def __init__(self, tasks: Mapping[str, Task], manifest: Manifest):
        scored = dict(self._all(tasks, manifest))
        self.measures: dict[Path, Measure] = {path: pair[0] for path, pair in scored.items()}
        self._baselines = {path: pair[1] for path, pair in scored.items()}
        self._tasks, self._manifest = tasks, manifest

    @staticmethod
    def _all(
        tasks: Mapping[str, Task], manifest: Manifest
    ) -> Iterator[tuple[Path, tuple[Measure, Measure]]]:
        for prefix, judged in (((), tasks), ((PER_MATERIAL,), joint_tasks(tasks))):
            for key, task in judged.items():
                for path, *pair in _MEASURES[task.target.kind](task, manifest):
                    yield (key, *prefix, *path), tuple(pair)

    def document(self, distributions: Mapping[Path, np.ndarray]) -> dict[str, dict[str, Any]]:
        """Returns everything as JSON-like dicts by target key (and `…_from_space_group`).

        Each score in it is {'model': number, 'baseline': number}, with an 'interval' where
        there is one; those of joint answers to materials are below 'per_material'.

        Args:
          distributions: Of `measures`, by resample; empty for no intervals.
        """
        documents: dict[str, Any] = {
            key: _FACTS[task.target.kind](task, self._manifest) for key, task in self._tasks.items()
        }
        for path, measure in self.measures.items():
            pair = {"model": measure.value(), "baseline": self._baselines[path].value()}
            bounds = interval(distributions[path]) if path in distributions else None
            entry = {**pair, "interval": list(bounds)} if bounds else pair
            put(documents, path, entry)
        return documents


def put(documents: dict[str, Any], path: Path, entry: Mapping[str, Any]) -> None:
    """Adds entries to the dict at a path, made where there is none."""
    for name in path:
        documents = documents.setdefault(name, {})
    documents.update(entry)
