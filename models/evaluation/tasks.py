"""What is judged: the answers to each target beside its labels, of samples or of materials."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from models.evaluation.answers import Answers, is_labelled
from models.networks.heads import STD
from models.networks.probabilities import (
    COARSER,
    SPACE_GROUP,
    coarse_labels,
    coarsen,
    group_means,
    joint_probabilities,
)
from pipelines.targets import CLASSES, TARGETS, Target

# What space groups imply has the key of its target, and this.
IMPLIED = f"_from_{SPACE_GROUP}"


@dataclasses.dataclass(frozen=True)
class Task:
    """Answers to one target.

    Attributes:
      target: What was asked.
      answers: (rows, size).
      labels: As `Target.encode` gives them, one row each.
      groups: The material of each row, from 0, without gaps.
      std: Predicted standard deviations of the answers, where there are any.
    """

    target: Target
    answers: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    std: np.ndarray | None = None


def sample_tasks(answers: Answers) -> dict[str, Task]:
    """Returns what is judged sample by sample, of samples that have a label.

    A target that none has a label of is left out.

    By target key; what space groups imply follows them as `crystal_system_from_space_group` and
    `point_group_from_space_group`, whatever else the model says about these.
    """
    tasks = {}
    for target in answers.targets:
        known = is_labelled(target, answers.labels[target.key])
        if not known.any():
            continue
        task = Task(
            target,
            answers.predicted[target.key],
            answers.labels[target.key],
            answers.groups,
            answers.predicted.get(f"{target.key}{STD}"),
        )
        tasks[target.key] = task if known.all() else _of_rows(task, known)
        if target.key == SPACE_GROUP:
            tasks.update(implied_tasks(tasks[SPACE_GROUP]))
    return tasks


def _of_rows(task: Task, rows: np.ndarray) -> Task:
    return Task(
        task.target,
        task.answers[rows],
        task.labels[rows],
        np.unique(task.groups[rows], return_inverse=True)[1],
        None if task.std is None else task.std[rows],
    )


def implied_tasks(task: Task) -> dict[str, Task]:
    """Returns what answers on space groups say about crystal systems and point groups."""
    return {
        f"{target.key}{IMPLIED}": Task(
            target,
            coarsen(target, task.answers),
            coarse_labels(target, task.labels),
            task.groups,
        )
        for target in map(TARGETS.__getitem__, COARSER)
    }


def joint_tasks(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Returns what is judged material by material, of what is one for all samples of each.

    An answer is the joint one of the material's samples, as `cbed predict` gives it: of classes the
    mean log-probability, of everything else the mean. None where all materials have one sample.

    Args:
      tasks: From `sample_tasks`.
    """
    known = _joint_implied(tasks)
    return {
        key: known.get(key) or known.get(f"{key}{IMPLIED}") or _joint(task)
        for key, task in tasks.items()
        if _is_of_material(task)
    }


def _joint_implied(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Returns what joint space groups imply, which is then not joined by itself."""
    task = tasks.get(SPACE_GROUP)
    return implied_tasks(_joint(task)) if task and _is_of_material(task) else {}


def _is_of_material(task: Task) -> bool:
    """Returns whether materials have several samples, and these one label."""
    return len(task.groups) > task.groups.max() + 1 and np.array_equal(
        task.labels, task.labels[_first_rows(task.groups)][task.groups]
    )


def _joint(task: Task) -> Task:
    join = joint_probabilities if task.target.kind == CLASSES else group_means
    return Task(
        task.target,
        join(task.answers, task.groups),
        task.labels[_first_rows(task.groups)],
        np.arange(task.groups.max() + 1),
    )


def _first_rows(groups: np.ndarray) -> np.ndarray:
    return np.unique(groups, return_index=True)[1]
