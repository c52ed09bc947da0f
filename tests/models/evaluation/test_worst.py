from types import SimpleNamespace

import numpy as np
import pytest

from models.evaluation.worst import WorstMistakes, severities
from pipelines import TARGETS


def offered(worst, materials, severities, first_row=0):
    """Offers a batch whose stacks hold their row."""
    worst.offer(
        first_row,
        np.array(materials, "S4"),
        np.array(severities, float),
        lambda place: np.full((1, 2, 2), first_row + place),
    )
    return [(mistake.row, mistake.severity, mistake.stack[0, 0, 0]) for mistake in worst.found()]


def test_the_worst_of_each_material_are_kept_with_their_patterns():
    worst = WorstMistakes(2)
    assert offered(worst, ["a", "b", "a"], [0.5, 0.0, 0.7]) == [(2, 0.7, 2)]
    # c is worse than nothing; d worse than c, which goes; a gets worse still.
    assert offered(worst, ["c", "d"], [0.2, 0.6], 3) == [(2, 0.7, 2), (4, 0.6, 4)]
    assert offered(worst, ["a", "d", "c"], [0.9, 0.3, 0.5], 5) == [(5, 0.9, 5), (4, 0.6, 4)]


def test_batches_change_nothing():
    random = np.random.default_rng(3)
    materials = [f"m{k}" for k in random.integers(0, 20, 300)]
    severity = random.random(300).round(3)
    together = offered(WorstMistakes(6), materials, severity)
    worst = WorstMistakes(6)
    for first in range(0, 300, 7):
        in_batches = offered(
            worst, materials[first : first + 7], severity[first : first + 7], first
        )
    assert in_batches == together
    by_material = {}
    for material, value in zip(materials, severity, strict=True):
        by_material[material] = max(value, by_material.get(material, 0))
    assert [value for _, value, _ in together] == sorted(by_material.values(), reverse=True)[:6]


def test_none_are_kept_of_right_answers_or_when_none_are_wanted():
    assert offered(WorstMistakes(3), ["a"], [0.0]) == []
    assert offered(WorstMistakes(0), ["a", "b"], [0.9, 0.8]) == []


def test_how_wrong_answers_are():
    system = TARGETS["crystal_system"]
    answers = np.array([[0.6, 0.4, 0, 0, 0, 0, 0], [0.6, 0.4, 0, 0, 0, 0, 0]])
    assert severities(system, answers, np.array([0, 1]), {}).tolist() == [0, 0.6]
    lengths = TARGETS["abc_angstrom"]
    statistics = {"abc_angstrom": SimpleNamespace(std=(2.0, 1.0, 0.0))}
    wrong = severities(lengths, np.array([[5.0, 5, 5]]), np.array([[4.0, 5, 6]]), statistics)
    assert wrong == pytest.approx([(0.5 + 0 + 1) / 3])
    composition = TARGETS["composition"]
    true, answered = np.zeros((2, 1, 118))
    true[0, [7, 12]], answered[0, [7, 30]] = 0.5, 0.5
    assert severities(composition, answered, true, {}).tolist() == [0.5]
