"""Scores of quantities and fractions, beside always answering their mean over train."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cbed_tf.dataset.manifest import Manifest
from models.evaluation import measures, scores
from models.evaluation.measures import Scored
from models.evaluation.tasks import Task

# An element counts as answered when it is given more than this share of the atoms.
PRESENCE_THRESHOLD = 0.05
# What a normal distribution has within one and two standard deviations.
NORMAL_COVERAGE = (math.erf(math.sqrt(1 / 2)), math.erf(math.sqrt(2)))
_LEAST_STD = 1e-6


def quantity_measures(task: Task, manifest: Manifest) -> Iterator[Scored]:
    """Yields mean absolute error and RMSE in the quantity's unit, together and by component.

    Where standard deviations are predicted, also how many errors lie within one and two of them,
    and the mean negative log-likelihood of a normal distribution (nats a number), of the numbers
    that vary over train.

    Args:
      task: Answers to a quantity.
      manifest: Of the data set whose training split the baseline knows.
    """
    names = task.target.component_names(views=task.labels.shape[1])
    groups, squares = task.groups, [np.square(error) for error in _errors(task, manifest)]
    absolute = [np.sqrt(square) for square in squares]
    yield ("mae",), *(measures.mean(error.mean(axis=1), groups) for error in absolute)
    yield ("rmse",), *(measures.root_mean(square.mean(axis=1), groups) for square in squares)
    for k, name in enumerate(names):
        parts = [measures.mean(error[:, k], groups) for error in absolute]
        yield ("mae_by_component", name), *parts
        roots = [measures.root_mean(square[:, k], groups) for square in squares]
        yield ("rmse_by_component", name), *roots
    if task.std is not None:
        yield from _uncertainty_measures(task, absolute, manifest)


def quantity_facts(task: Task, manifest: Manifest) -> dict[str, Any]:
    """Returns what else is said of such answers: the median errors, the baseline, the unit."""
    names = task.target.component_names(views=task.labels.shape[1])
    absolute = [np.abs(error) for error in _errors(task, manifest)]
    return {
        "kind": task.target.kind,
        "unit": task.target.unit,
        "baseline_answer": np.asarray(manifest.statistics[task.target.key].mean).tolist(),
        "median_absolute_error": _pair(*(float(np.median(error)) for error in absolute)),
        "median_by_component": {
            name: _pair(*(float(np.median(error[:, k])) for error in absolute))
            for k, name in enumerate(names)
        },
    }


def _uncertainty_measures(
    task: Task, absolute: list[np.ndarray], manifest: Manifest
) -> Iterator[Scored]:
    constant = np.asarray(manifest.statistics[task.target.key].std)
    # Of what is one number over train, the baseline would be infinitely sure.
    varies = constant > 0
    if not varies.any():
        return
    deviations = [np.maximum(std[..., varies], _LEAST_STD) for std in (task.std, constant)]
    ratios = [error[:, varies] / std for error, std in zip(absolute, deviations, strict=True)]
    for count in (1, 2):
        within = [(ratio <= count).mean(axis=1) for ratio in ratios]
        name = f"coverage_{count}_sigma"
        yield ("uncertainty", name), *(measures.mean(share, task.groups) for share in within)
    surprises = [
        (0.5 * np.log(2 * np.pi) + np.log(std) + 0.5 * ratio**2).mean(axis=1)
        for ratio, std in zip(ratios, deviations, strict=True)
    ]
    yield ("uncertainty", "nll"), *(measures.mean(values, task.groups) for values in surprises)


def fraction_measures(task: Task, manifest: Manifest) -> Iterator[Scored]:
    """Yields the F1 of the elements' presence, and the mean absolute error of their fractions.

    An element is present if the formula has it, and answered if it is given more than
    PRESENCE_THRESHOLD of the atoms.

    Args:
      task: Answers to a target of fractions.
      manifest: Of the data set whose training split the baseline knows.
    """
    true = task.labels > 0
    mean = np.asarray(manifest.statistics[task.target.key].mean)
    answers = (task.answers, np.broadcast_to(mean, task.answers.shape))
    found = [measures.presence_f1(x > PRESENCE_THRESHOLD, true, task.groups) for x in answers]
    yield ("element_f1",), *found
    errors = [np.abs(x - task.labels.astype(np.float64)).mean(axis=1) for x in answers]
    yield ("mae",), *(measures.mean(error, task.groups) for error in errors)


def fraction_facts(task: Task, _: Manifest) -> dict[str, Any]:
    """Returns what else is said of such answers: each element that occurs."""
    by_column = scores.element_scores(task.answers > PRESENCE_THRESHOLD, task.labels > 0)
    names = task.target.class_names
    return {
        "kind": task.target.kind,
        "presence_threshold": PRESENCE_THRESHOLD,
        "per_element": {names[k]: dataclasses.asdict(found) for k, found in by_column.items()},
    }


def _errors(task: Task, manifest: Manifest) -> tuple[np.ndarray, np.ndarray]:
    """Returns the errors of the model and of the baseline, float64 (rows, size)."""
    mean = np.asarray(manifest.statistics[task.target.key].mean)
    return task.answers - task.labels.astype(np.float64), mean - task.labels


def _pair(model: float, baseline: float) -> dict[str, float]:
    return {"model": model, "baseline": baseline}
