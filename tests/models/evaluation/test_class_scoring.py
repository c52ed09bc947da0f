from types import SimpleNamespace

import numpy as np
import pytest

from cbed_tf import crystal
from cbed_tf.dataset.manifest import Split
from models.evaluation.class_scoring import class_facts, class_measures, training_counts
from models.evaluation.tasks import Task, implied_tasks
from pipelines import TARGETS

# Train: space group 62 (orthorhombic) three times, 225 and 227 (both cubic) twice each; five
# samples have none.
MANIFEST = SimpleNamespace(
    splits={
        "train": Split(12, 12, (), {0: 5, 62: 3, 225: 2, 227: 2}),
        "test": Split(2, 2, (), {14: 2}),
    },
)


def task_of(labels, *answers, groups=None):
    """Each answer is {space group: probability}."""
    table = np.zeros((len(answers), 230), np.float32)
    for row, answer in enumerate(answers):
        for number, probability in answer.items():
            table[row, number - 1] = probability
    groups = np.arange(len(labels)) if groups is None else np.array(groups)
    return Task(TARGETS["space_group"], table, np.array(labels) - 1, groups)


def scores_of(task):
    return {
        "/".join(path): (model.value(), baseline.value())
        for path, model, baseline in class_measures(task, MANIFEST)
    }


def test_space_group_scores_beside_the_most_frequent_classes_of_train():
    task = task_of([225, 62, 2], {225: 0.6, 62: 0.4}, {225: 0.6, 62: 0.4}, {14: 0.9, 2: 0.1})
    scores = scores_of(task)
    assert scores["top1"] == pytest.approx((1 / 3, 1 / 3))
    # The baseline's five: 62, 225, 227 and, of those that never occur, 1 and 2.
    assert scores["top5"] == (1, 1)
    # 225: precision 1/2, recall 1, F1 2/3; 62 and 2: 0. Always 62: F1 of 62 is 1/2.
    assert scores["macro_f1"] == pytest.approx((2 / 9, 1 / 6))
    assert scores["balanced_accuracy"] == pytest.approx((1 / 3, 1 / 3))


def test_parts_of_the_score_by_crystal_system_and_point_group():
    """Of two cubic samples one has its space group; the other is cubic by 225 and 227 together.

    Train is cubic by them too, so that is what the baseline answers for all.
    """
    task = task_of([225, 227, 62], {225: 1}, {62: 0.4, 225: 0.3, 227: 0.3}, {62: 1})
    scores = scores_of(task)
    assert scores["per_crystal_system/cubic/top1"] == (0.5, 0)
    assert scores["per_crystal_system/cubic/recall"] == (1, 1)
    assert scores["per_crystal_system/orthorhombic/top1"] == (1, 1)
    assert scores["per_crystal_system/orthorhombic/recall"] == (1, 0)
    assert scores["per_point_group/m-3m/recall"] == (1, 1)
    assert not any("triclinic" in path for path in scores)


def test_crystal_system_is_read_off_the_space_groups():
    """62 is most probable, but cubic space groups are so together; train is mostly cubic too."""
    task = task_of([227], {62: 0.4, 225: 0.3, 227: 0.3})
    assert scores_of(task)["top1"] == (0, 0)
    implied = implied_tasks(task)
    scores = scores_of(implied["crystal_system_from_space_group"])
    assert scores == {"top1": (1, 1), "macro_f1": (1, 1), "balanced_accuracy": (1, 1)}
    facts = class_facts(implied["point_group_from_space_group"], MANIFEST)
    assert facts["baseline_answer"] == "m-3m"
    assert "top5" in scores_of(implied["point_group_from_space_group"])


def test_facts_of_each_class():
    task = task_of([225, 225, 62], {225: 1}, {62: 1}, {62: 1}, groups=[0, 0, 1])
    facts = class_facts(task, MANIFEST)
    assert facts["kind"] == "classes"
    assert facts["classes_present"] == 2
    assert facts["baseline_answer"] == "62"
    assert facts["per_class"]["225"] == {
        "samples": 2,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "materials": 1,
        "mistaken_for": {"62": 1},
    }
    assert set(facts["per_class"]) == {"62", "225"}
    assert facts["per_crystal_system"] == {
        "orthorhombic": {"samples": 1, "materials": 1},
        "cubic": {"samples": 2, "materials": 1},
    }


def test_counts_of_train_only():
    counts = training_counts(TARGETS["crystal_system"], MANIFEST)
    names = TARGETS["crystal_system"].class_names
    assert dict(zip(names, counts.tolist(), strict=True)) == {
        **dict.fromkeys(crystal.CRYSTAL_SYSTEMS, 0),
        "orthorhombic": 3,
        "cubic": 4,
    }
