from types import SimpleNamespace

import numpy as np
import pytest

from cbed_tf import crystal
from cbed_tf.manifest import Split, Statistics
from models import reports
from pipelines import TARGETS

# Train: space group 62 (orthorhombic) three times, 225 and 227 (both cubic) twice each.
MANIFEST = SimpleNamespace(
    splits={
        "train": Split(7, 7, (), {62: 3, 225: 2, 227: 2}),
        "test": Split(2, 2, (), {14: 2}),
    },
    statistics={"abc_angstrom": Statistics((4.0, 5.0, 6.0), (1.0, 1.0, 1.0))},
)


def space_groups(*numbers):
    return np.array(numbers) - 1


def probabilities(*answers):
    """Each answer is {space group: probability}."""
    table = np.zeros((len(answers), 230), np.float32)
    for row, answer in enumerate(answers):
        for number, probability in answer.items():
            table[row, number - 1] = probability
    return table


def test_space_group_scores_beside_the_most_frequent_classes_of_train():
    answers = probabilities({225: 0.6, 62: 0.4}, {225: 0.6, 62: 0.4}, {14: 0.9, 2: 0.1})
    labels = space_groups(225, 62, 2)
    document = reports.score_targets({"space_group": answers}, {"space_group": labels}, MANIFEST)
    scores = document["space_group"]
    assert scores["top1"] == {"model": pytest.approx(1 / 3), "baseline": pytest.approx(1 / 3)}
    # The baseline's five: 62, 225, 227 and, of those that never occur, 1 and 2.
    assert scores["top5"] == {"model": 1.0, "baseline": 1.0}
    assert scores["baseline_answer"] == "62"
    assert scores["classes_present"] == 3
    # 225: precision 1/2, recall 1, F1 2/3; 62 and 2: 0. Always 62: F1 of 62 is 1/2.
    assert scores["macro_f1"]["model"] == pytest.approx(2 / 9)
    assert scores["macro_f1"]["baseline"] == pytest.approx(1 / 6)
    assert scores["per_class"]["225"]["precision"] == 0.5
    assert set(scores["per_class"]) == {"2", "62", "225"}


def test_crystal_system_is_read_off_the_space_groups():
    """62 is most probable, but cubic space groups are so together; train is mostly cubic too."""
    answers = probabilities({62: 0.4, 225: 0.3, 227: 0.3})
    labels = {"space_group": space_groups(227)}
    document = reports.score_targets({"space_group": answers}, labels, MANIFEST)
    scores = document["crystal_system_from_space_group"]
    assert scores["top1"] == {"model": 1.0, "baseline": 1.0}
    assert scores["baseline_answer"] == "cubic"
    assert document["point_group_from_space_group"]["baseline_answer"] == "m-3m"
    assert document["space_group"]["top1"] == {"model": 0.0, "baseline": 0.0}


def test_counts_of_train_only():
    counts = reports.training_counts(TARGETS["crystal_system"], MANIFEST)
    names = TARGETS["crystal_system"].class_names
    assert dict(zip(names, counts.tolist(), strict=True)) == {
        **dict.fromkeys(crystal.CRYSTAL_SYSTEMS, 0),
        "orthorhombic": 3,
        "cubic": 4,
    }


def test_quantities_are_scored_in_their_unit_beside_the_training_mean():
    answers = {"abc_angstrom": np.array([[4.0, 5.0, 9.0], [5.0, 5.0, 9.0]], np.float32)}
    labels = {"abc_angstrom": np.array([[4.0, 7.0, 9.0], [4.0, 7.0, 9.0]], np.float32)}
    scores = reports.score_targets(answers, labels, MANIFEST)["abc_angstrom"]
    assert scores["unit"] == "angstrom"
    assert scores["mae_by_component"] == {
        "a": {"model": 0.5, "baseline": 0.0},
        "b": {"model": 2.0, "baseline": 2.0},
        "c": {"model": 0.0, "baseline": 3.0},
    }
    assert scores["mae"]["model"] == pytest.approx(2.5 / 3)
    assert scores["mae"]["baseline"] == pytest.approx(5 / 3)


def test_table_shows_model_and_baseline_of_each_score():
    document = {
        "abc_angstrom": {"unit": "angstrom", "mae": {"model": 0.5, "baseline": 1.25}},
        "space_group": {"top1": {"model": 1 / 3, "baseline": 0.0}},
    }
    lines = [line.split() for line in reports.format_table(document).splitlines()]
    assert lines == [
        ["model", "baseline"],
        ["abc_angstrom", "mean", "abs.", "error", "(angstrom)", "0.5", "1.25"],
        ["space_group", "top-1", "0.3333", "0"],
    ]
