"""Scores of answers that are classes, beside always answering train's most frequent ones."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from cbed_tf.dataset.manifest import Manifest
from models.evaluation import measures, scores
from models.evaluation.measures import Scored
from models.evaluation.tasks import Task
from models.networks.probabilities import COARSER, SPACE_GROUP, coarse_labels, coarsen
from pipelines.targets import TARGETS, Target

_TOP5_FROM_CLASSES = 8


def class_measures(task: Task, manifest: Manifest) -> Iterator[Scored]:
    """Yields top-1, top-5, macro-F1 and balanced accuracy; of space groups, parts of these too.

    These are, for the samples of each crystal system and point group, the share whose space group
    is right (`top1`), and the share whose system or point group is (`recall`), which is that of
    which the space groups together are most probable.

    Args:
      task: Answers to a target with classes.
      manifest: Of the data set whose training split the baseline knows.
    """
    counts = training_counts(task.target, manifest)
    labels, groups = task.labels, task.groups
    # The baseline ranks the classes by their frequency, for every row alike.
    rankings = (task.answers, np.broadcast_to(counts, task.answers.shape))
    hits = [scores.top_k_hits(ranking, labels, 1) for ranking in rankings]
    yield ("top1",), *(measures.mean(hit, groups) for hit in hits)
    if len(task.target.class_names) >= _TOP5_FROM_CLASSES:
        among = [scores.top_k_hits(ranking, labels, 5) for ranking in rankings]
        yield ("top5",), *(measures.mean(hit, groups) for hit in among)
    firsts = [ranking.argmax(axis=1) for ranking in rankings]
    for measure in (measures.macro_f1, measures.balanced_accuracy):
        yield (measure.__name__,), *(measure(first, labels, groups) for first in firsts)
    if task.target.key == SPACE_GROUP:
        for coarser in map(TARGETS.__getitem__, COARSER):
            yield from _parts(coarser, task, rankings, hits)


def _parts(
    coarser: Target, task: Task, rankings: tuple[np.ndarray, np.ndarray], hits: list[np.ndarray]
) -> Iterator[Scored]:
    true = coarse_labels(coarser, task.labels)
    same = [coarsen(coarser, ranking).argmax(axis=1) == true for ranking in rankings]
    for label in np.unique(true).tolist():
        path, where = (f"per_{coarser.key}", coarser.class_names[label]), true == label
        yield (*path, "top1"), *(measures.mean(hit, task.groups, where) for hit in hits)
        yield (*path, "recall"), *(measures.mean(hit, task.groups, where) for hit in same)


def class_facts(task: Task, manifest: Manifest) -> dict[str, Any]:
    """Returns what else is said of such answers: each class, the confusions, the baseline."""
    names = task.target.class_names
    predicted = task.answers.argmax(axis=1)
    counts = scores.confusion(predicted, task.labels, len(names))
    mistaken = scores.mistaken_for(counts)
    materials = _materials_of_classes(task, task.labels)
    answer = int(training_counts(task.target, manifest).argmax())
    facts = {
        "kind": task.target.kind,
        "classes_present": len(materials),
        "baseline_answer": names[answer],
        "per_class": {
            names[label]: {
                **dataclasses.asdict(class_score),
                "materials": materials[label],
                "mistaken_for": {names[other]: count for other, count in mistaken[label]},
            }
            for label, class_score in scores.class_scores(predicted, task.labels).items()
        },
    }
    if task.target.key == SPACE_GROUP:
        for coarser in map(TARGETS.__getitem__, COARSER):
            facts[f"per_{coarser.key}"] = _sizes(coarser, task)
    return facts


def _sizes(coarser: Target, task: Task) -> dict[str, dict[str, int]]:
    labels = coarse_labels(coarser, task.labels)
    samples = np.bincount(labels)
    return {
        coarser.class_names[label]: {"samples": int(samples[label]), "materials": materials}
        for label, materials in _materials_of_classes(task, labels).items()
    }


def _materials_of_classes(task: Task, labels: np.ndarray) -> dict[int, int]:
    pairs = np.unique(np.stack([labels, task.groups]), axis=1)
    return dict(zip(*(x.tolist() for x in np.unique(pairs[0], return_counts=True)), strict=True))


def training_counts(target: Target, manifest: Manifest) -> np.ndarray:
    """Returns how often each class occurs in train (in all splits where there is no train)."""
    splits = manifest.splits
    counts = np.zeros(len(target.class_names), np.int64)
    for split in [splits["train"]] if "train" in splits else splits.values():
        labels = target.encode(np.array(list(split.space_groups), np.int64))
        samples = np.array(list(split.space_groups.values()), np.int64)
        np.add.at(counts, labels[labels >= 0], samples[labels >= 0])
    return counts
