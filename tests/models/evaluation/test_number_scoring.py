import math
from types import SimpleNamespace

import numpy as np
import pytest

from cbed_tf.dataset.manifest import Statistics
from models.evaluation import number_scoring
from models.evaluation.tasks import Task
from pipelines import TARGETS

MEAN_FRACTIONS = np.zeros(118)
MEAN_FRACTIONS[[7, 12]] = 0.6, 0.04
MANIFEST = SimpleNamespace(
    statistics={
        "abc_angstrom": Statistics((4.0, 5.0, 6.0), (1.0, 1.0, 2.0)),
        "energy_keV": Statistics((145.0,), (10.0,)),
        "composition": Statistics(tuple(MEAN_FRACTIONS), tuple(MEAN_FRACTIONS)),
    }
)
LENGTHS = Task(
    TARGETS["abc_angstrom"],
    np.array([[4.0, 5.0, 9.0], [5.0, 5.0, 9.0], [4.0, 5.0, 10.0]], np.float32),
    np.array([[4.0, 7.0, 9.0]] * 3, np.float32),
    np.arange(3),
)


def scores_of(measures):
    return {"/".join(path): (model.value(), baseline.value()) for path, model, baseline in measures}


def test_quantities_are_scored_in_their_unit_beside_the_training_mean():
    """Errors of the model: a 0, 1, 0; b 2, 2, 2; c 0, 0, 1. Of the mean: 0, 2 and 3 everywhere."""
    scores = scores_of(number_scoring.quantity_measures(LENGTHS, MANIFEST))
    assert scores == {
        "mae": pytest.approx((8 / 9, 5 / 3)),
        "rmse": pytest.approx((math.sqrt(14 / 9), math.sqrt(13 / 3))),
        "mae_by_component/a": pytest.approx((1 / 3, 0)),
        "mae_by_component/b": pytest.approx((2, 2)),
        "mae_by_component/c": pytest.approx((1 / 3, 3)),
        "rmse_by_component/a": pytest.approx((math.sqrt(1 / 3), 0)),
        "rmse_by_component/b": pytest.approx((2, 2)),
        "rmse_by_component/c": pytest.approx((math.sqrt(1 / 3), 3)),
    }
    facts = number_scoring.quantity_facts(LENGTHS, MANIFEST)
    assert facts["unit"] == "angstrom"
    assert facts["baseline_answer"] == [4, 5, 6]
    assert facts["median_absolute_error"] == {"model": 1, "baseline": 2}
    assert facts["median_by_component"]["c"] == {"model": 0, "baseline": 3}


def test_predicted_deviations_beside_the_constant_one_of_train():
    """Errors 5, 10 and 30 keV, deviations 5, 4 and 20: ratios 1, 2.5 and 1.5."""
    task = Task(
        TARGETS["energy_keV"],
        np.array([[105.0], [110.0], [150.0]]),
        np.array([[100.0], [100.0], [180.0]], np.float32),
        np.arange(3),
        std=np.array([[5.0], [4.0], [20.0]], np.float32),
    )
    scores = scores_of(number_scoring.quantity_measures(task, MANIFEST))
    # The mean 145 is off by 45, 45 and 35, in deviations of 10.
    assert scores["uncertainty/coverage_1_sigma"] == pytest.approx((1 / 3, 0))
    assert scores["uncertainty/coverage_2_sigma"] == pytest.approx((2 / 3, 0))
    constant = 0.5 * math.log(2 * math.pi)
    model = constant + (math.log(5 * 4 * 20) + 0.5 * (1 + 6.25 + 2.25)) / 3
    baseline = constant + math.log(10) + 0.5 * (2 * 4.5**2 + 3.5**2) / 3
    assert scores["uncertainty/nll"] == pytest.approx((model, baseline))
    one, two = number_scoring.NORMAL_COVERAGE
    assert (one, two) == pytest.approx((0.6827, 0.9545), abs=1e-4)


def test_numbers_that_are_constant_over_train_need_no_deviation():
    """Of b = 0.5 within one deviation; a never varies in train, and the error of c is 3 of 2."""
    statistics = {"abc_angstrom": Statistics((4.0, 5.0, 6.0), (0.0, 1.0, 2.0))}
    task = Task(
        TARGETS["abc_angstrom"],
        np.array([[4.5, 5.5, 9.0]]),
        np.array([[4.0, 5.0, 6.0]], np.float32),
        np.arange(1),
        std=np.array([[9.0, 1.0, 2.0]]),
    )
    scores = scores_of(
        number_scoring.quantity_measures(task, SimpleNamespace(statistics=statistics))
    )
    assert scores["uncertainty/coverage_1_sigma"] == (0.5, 1)
    nll = 0.5 * math.log(2 * math.pi) + (math.log(2) + 0.5 * (0.25 + 2.25)) / 2
    baseline = 0.5 * math.log(2 * math.pi) + math.log(2) / 2
    assert scores["uncertainty/nll"] == pytest.approx((nll, baseline))
    constant = {"abc_angstrom": Statistics((4.0, 5.0, 6.0), (0.0, 0.0, 0.0))}
    paths = scores_of(number_scoring.quantity_measures(task, SimpleNamespace(statistics=constant)))
    assert not any("uncertainty" in path for path in paths)


def test_composition_by_hand():
    """Sample 0 has O and Al, answered O and 4 % Al; sample 1 has Ga, answered O and Ga."""
    true, answers = np.zeros((2, 118), np.float32), np.zeros((2, 118), np.float32)
    true[0, [7, 12]], true[1, 30] = 0.5, 1
    answers[0, [7, 12]], answers[1, [7, 30]] = (0.96, 0.04), (0.25, 0.75)
    task = Task(TARGETS["composition"], answers, true, np.arange(2))
    scores = scores_of(number_scoring.fraction_measures(task, MANIFEST))
    # 3 present, 3 answered, 2 of them right; the baseline always answers O, right once.
    assert scores["element_f1"] == pytest.approx((4 / 6, 2 / 5))
    model = (0.46 + 0.46 + 0.25 + 0.25) / 2 / 118
    assert scores["mae"] == pytest.approx((model, (0.1 + 0.46 + 0.6 + 0.04 + 1) / 2 / 118))
    facts = number_scoring.fraction_facts(task, MANIFEST)
    assert facts["presence_threshold"] == 0.05
    assert facts["per_element"]["O"] == {
        "samples": 1,
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
    }
    assert set(facts["per_element"]) == {"O", "Al", "Ga"}
