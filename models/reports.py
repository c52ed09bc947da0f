"""The scores of a split, target by target, each beside what needs no model at all.

The baselines know the training split's labels and no pattern: they always answer its most frequent
classes, or its mean.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cbed_tf.manifest import Manifest
from models import scores
from pipelines.targets import CLASSES, QUANTITY, TARGETS, Target, space_groups_of_class

_SPACE_GROUP = "space_group"
_COARSER = ("crystal_system", "point_group")
_TITLES = {"top1": "top-1", "top5": "top-5", "macro_f1": "macro-F1", "mae": "mean abs. error"}


def score_targets(
    answers: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], manifest: Manifest
) -> dict[str, dict[str, Any]]:
    """Scores every answered target.

    Args:
      answers: By target key, as a model gives them.
      labels: By target key, as `Target.encode` gives them; those of `space_group` also serve
        crystal system and point group, which are read off its probabilities.
      manifest: Of the data set whose training split the baselines know.

    Returns:
      By target key (and `crystal_system_from_space_group`, …) a JSON-like dict. Each score in it is
      {'model': number, 'baseline': number}.
    """
    documents = {}
    for key, answer in answers.items():
        target = TARGETS[key]
        if target.kind == CLASSES:
            documents[key] = _score_classes(target, answer, labels[key], manifest)
        else:
            documents[key] = _score_numbers(target, answer, labels[key], manifest)
        if key == _SPACE_GROUP:
            for coarser in map(TARGETS.__getitem__, _COARSER):
                documents[f"{coarser.key}_from_{key}"] = _score_classes(
                    coarser, coarsen(coarser, answer), coarse_labels(coarser, labels[key]), manifest
                )
    return documents


def coarsen(target: Target, space_group_probabilities: np.ndarray) -> np.ndarray:
    """Returns the probabilities of crystal systems or point groups that space groups' imply."""
    return scores.pool_classes(
        space_group_probabilities, space_groups_of_class(target.key), len(target.class_names)
    )


def coarse_labels(target: Target, space_group_labels: np.ndarray) -> np.ndarray:
    """Returns the crystal systems or point groups, as labels, of space-group labels."""
    return space_groups_of_class(target.key)[space_group_labels]


def training_counts(target: Target, manifest: Manifest) -> np.ndarray:
    """Returns how often each class occurs in train (in all splits where there is no train)."""
    splits = manifest.splits
    class_of = space_groups_of_class(target.key)
    counts = np.zeros(len(target.class_names), np.int64)
    for split in [splits["train"]] if "train" in splits else splits.values():
        for space_group, count in split.space_groups.items():
            counts[class_of[space_group - 1]] += count
    return counts


def _score_classes(
    target: Target, probabilities: np.ndarray, labels: np.ndarray, manifest: Manifest
) -> dict[str, Any]:
    counts = training_counts(target, manifest)
    # The baseline ranks the classes by their frequency, for every sample alike.
    baseline = np.broadcast_to(counts, probabilities.shape)
    predicted, answered = probabilities.argmax(axis=1), baseline.argmax(axis=1)
    document = {
        "kind": target.kind,
        "classes_present": len(np.unique(labels)),
        "top1": _pair(*(scores.top_k_accuracy(p, labels, 1) for p in (probabilities, baseline))),
    }
    if len(target.class_names) > 7:
        document["top5"] = _pair(
            *(scores.top_k_accuracy(p, labels, 5) for p in (probabilities, baseline))
        )
    document["macro_f1"] = _pair(*(scores.macro_f1(p, labels) for p in (predicted, answered)))
    document["baseline_answer"] = target.class_names[int(counts.argmax())]
    document["per_class"] = {
        target.class_names[index]: dataclasses.asdict(score)
        for index, score in scores.class_scores(predicted, labels).items()
    }
    return document


def _score_numbers(
    target: Target, answers: np.ndarray, labels: np.ndarray, manifest: Manifest
) -> dict[str, Any]:
    mean = np.asarray(manifest.statistics[target.key].mean)
    errors = [scores.mean_absolute_error(a, labels) for a in (answers, mean)]
    document = {"kind": target.kind, "mae": _pair(*(float(error.mean()) for error in errors))}
    if target.kind == QUANTITY:
        names = target.component_names(views=labels.shape[1])
        document["unit"] = target.unit
        document["mae_by_component"] = {
            name: _pair(*(float(error[k]) for error in errors)) for k, name in enumerate(names)
        }
        document["baseline_answer"] = mean.tolist()
    return document


def _pair(model: float, baseline: float) -> dict[str, float]:
    return {"model": model, "baseline": baseline}


def format_table(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the total scores of `score_targets` as aligned lines, model beside baseline."""
    lines = [f"{'':52}{'model':>10}{'baseline':>10}"]
    for key, document in documents.items():
        for name, title in _TITLES.items():
            if name in document:
                unit = f" ({document['unit']})" if document.get("unit") else ""
                score = document[name]
                label = f"{key.replace('_from_', ' from ')}  {title}{unit}"
                lines.append(f"{label:52}{score['model']:10.4g}{score['baseline']:10.4g}")
    return "\n".join(lines)
