"""The metrics file of a split: everything that is said of it, in numbers."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cbed_tf.dataset.manifest import Manifest
from models.evaluation.answers import is_labelled
from models.evaluation.bootstrap import LEVEL, Bootstrap
from models.evaluation.calibrating import DEV
from models.evaluation.comparison import add_comparison
from models.evaluation.gallery import mistake_documents
from models.evaluation.judged import Judged
from models.evaluation.measures import Path
from models.evaluation.scoring import SplitScores
from pipelines.targets import TARGETS


def metrics_document(
    judged: Sequence[Judged],
    data_dir: str | os.PathLike,
    manifest: Manifest,
    split: str,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Returns everything that is said of a split, as JSON-like values.

    Args:
      judged: The run, and the other one in a comparison.
      data_dir: The data set.
      manifest: Of it.
      split: Of it.
      bootstrap: For the intervals.
    """
    first, answers = judged[0], judged[0].answers
    scored = [SplitScores(one.tasks, manifest) for one in judged]
    distributions = [_distributions(bootstrap, one) for one in scored]
    documents = scored[0].document(distributions[0])
    if len(judged) == 2:
        measures = (scored[0].measures, scored[1].measures)
        add_comparison(documents, measures, (distributions[0], distributions[1]))
    return {
        "run_dir": first.run_dir,
        "checkpoint": first.checkpoint,
        "weights": first.weights,
        "inputs": list(first.inputs),
        "compared_with": judged[1].run_dir if len(judged) == 2 else None,
        "data_dir": os.fspath(data_dir),
        "split": split,
        "samples": answers.samples,
        "materials": answers.materials,
        "baselines_from": "train" if "train" in manifest.splits else "all splits",
        "warnings": [*_warnings(manifest, split), *_missing_labels(judged)],
        "bootstrap": {**dataclasses.asdict(bootstrap), "level": LEVEL, "unit": "material"},
        "scores": documents,
        "calibration": _calibration(first, split),
        "compared_calibration": _calibration(judged[1], split) if len(judged) == 2 else None,
        "mistakes": mistake_documents(answers),
    }


def _distributions(bootstrap: Bootstrap, scored: SplitScores) -> dict[Path, np.ndarray]:
    """Resamples scores; a single material has no intervals."""
    if not bootstrap.resamples:
        return {}
    return bootstrap.distributions(
        {path: measure for path, measure in scored.measures.items() if len(measure.sums) > 1}
    )


def _calibration(judged: Judged, split: str) -> dict[str, Any]:
    return {
        "method": "temperature",
        "temperatures": dict(judged.temperatures),
        "fitted_on": DEV if judged.temperatures else None,
        "cross_fitted": split == DEV,
        "targets": {key: found.as_document() for key, found in judged.calibrated.items()},
    }


def _warnings(manifest: Manifest, split: str) -> Iterator[str]:
    """Yields what keeps scores on a split from being results."""
    if split == "train":
        yield "This is the training split: its scores show what was learned by heart."
    if manifest.overlaps.get("materials"):
        yield (
            f"{manifest.overlaps['materials']:,} material(s) occur in more than one split of this "
            "data set: its scores are a leak, not a result."
        )


def _missing_labels(judged: Sequence[Judged]) -> Iterator[str]:
    labels = {key: one.answers for one in judged for key in one.answers.labels}
    for key, answers in labels.items():
        missing = int((~is_labelled(TARGETS[key], answers.labels[key])).sum())
        if missing:
            yield (
                f"{missing:,} of {answers.samples:,} samples have no label of {key}: its scores "
                "are of the others."
            )
