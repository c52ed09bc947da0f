import math

import numpy as np
import pytest

from models.evaluation.calibrating import calibrate, fit_temperatures
from models.evaluation.reliability import BINS, cross_fitted, reliability
from models.evaluation.tasks import Task, implied_tasks
from models.prediction.calibration import apply_temperature, fit_temperature
from pipelines import TARGETS

SYSTEM = TARGETS["crystal_system"]


def sharpened(samples, power, seed=0):
    """Labels drawn from probabilities, and a model that answers their power."""
    random = np.random.default_rng(seed)
    true = random.dirichlet(np.full(7, 0.5), samples)
    labels = (random.random((samples, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return apply_temperature(true, 1 / power), labels.clip(max=6)


def test_calibration_error_by_hand():
    """Four answers of 0.9, three right: 0.15 off; one of 0.55, right: 0.45 off."""
    answers = np.array([[0.9, 0.1]] * 4 + [[0.45, 0.55]])
    found = reliability(answers, np.array([0, 0, 0, 1, 1]), np.arange(5))
    assert found.ece == pytest.approx((4 * 0.15 + 0.45) / 5)
    assert found.nll == pytest.approx(-(3 * math.log(0.9) + math.log(0.1) + math.log(0.55)) / 5)
    full = found.samples > 0
    assert found.samples[full].tolist() == [1, 4]
    assert found.confidence[full] == pytest.approx([0.55, 0.9])
    assert found.accuracy[full] == pytest.approx([1, 0.75])
    # 0.9 * 15 = 13.5: the fourteenth interval; all are right by chance with 0.9 ** 4 = 0.66.
    assert np.flatnonzero(full).tolist() == [8, 13]
    assert found.expected[13].tolist() == [0.5, 1]
    assert found.as_document()["bins"][0] == {
        "samples": 1,
        "confidence": pytest.approx(0.55),
        "accuracy": 1.0,
    }


def test_certain_answers_are_in_the_last_interval():
    found = reliability(np.array([[1.0, 0.0]]), np.array([0]), np.array([0]))
    assert found.samples[BINS - 1] == 1
    assert found.ece == 0
    wrong = reliability(np.array([[1.0, 0.0]], np.float32), np.array([1]), np.array([0]))
    assert wrong.ece == 1
    assert math.isfinite(wrong.nll)


def test_exact_probabilities_have_the_error_of_chance():
    answers, labels = sharpened(3000, power=1)
    found = reliability(answers, labels, np.arange(3000))
    assert found.ece == pytest.approx(found.ece_by_chance, rel=0.6)
    off = reliability(*sharpened(3000, power=3), np.arange(3000))
    assert off.ece > 4 * off.ece_by_chance


def test_samples_of_a_material_scatter_together():
    """100 answers of 0.5 on one material are all right or all wrong: 0.5 off, always."""
    answers, labels = np.full((100, 2), 0.5), np.arange(100) % 2
    together = reliability(answers, labels, np.zeros(100, int))
    assert together.ece_by_chance == pytest.approx(0.5)
    assert together.expected[7].tolist() == [0, 1]
    # Apart, their share has a deviation of 0.05: 0.04 off in the mean.
    apart = reliability(answers, labels, np.arange(100))
    assert apart.ece_by_chance == pytest.approx(0.05 * math.sqrt(2 / math.pi), rel=0.1)
    assert apart.expected[7] == pytest.approx([0.4, 0.6], abs=0.02)


def test_cross_fitted_halves_share_no_material_and_do_not_judge_themselves():
    """The labels of one half are those of another model: each half gets the other's temperature."""
    answers, labels = sharpened(4000, power=2)
    groups = np.repeat(np.arange(1000), 4)
    task = Task(SYSTEM, answers, labels, groups)
    tempered, temperatures = cross_fitted(task)
    assert temperatures == pytest.approx([2, 2], rel=0.1)
    ratio = np.log(tempered[:, 0] / tempered[:, 1]) / np.log(answers[:, 0] / answers[:, 1])
    fold = np.isclose(1 / ratio, temperatures[1], rtol=1e-4)
    assert fold.sum() == 2000
    assert all(len(set(fold[groups == material])) == 1 for material in range(0, 1000, 50))
    assert temperatures[1] == pytest.approx(fit_temperature(answers[~fold], labels[~fold]))
    assert temperatures[0] == pytest.approx(fit_temperature(answers[fold], labels[fold]))


def space_group_task(power):
    random = np.random.default_rng(1)
    true = np.zeros((2000, 230))
    true[:, [0, 1, 61, 224, 226]] = random.dirichlet(np.ones(5), 2000)
    labels = np.array([random.choice(230, p=row / row.sum()) for row in true])
    return Task(TARGETS["space_group"], apply_temperature(true, 1 / power), labels, np.arange(2000))


def test_space_groups_bring_their_crystal_systems_to_their_temperature():
    task = space_group_task(power=3)
    tasks = {"space_group": task, **implied_tasks(task)}
    tasks["crystal_system"] = Task(
        SYSTEM, np.eye(7)[np.zeros(2000, int)], task.labels % 7, task.groups
    )
    temperatures = fit_temperatures(tasks)
    assert temperatures == {"space_group": pytest.approx(3, rel=0.1)}
    for is_dev in (False, True):
        judged = calibrate(tasks, temperatures, is_dev)
        assert list(judged) == ["space_group", *implied_tasks(task)]
        for found in judged.values():
            assert found.after.ece < found.before.ece / 2
            assert found.after.nll < found.before.nll
        assert len(judged["space_group"].temperatures) == 1 + is_dev
    document = judged["space_group"].as_document()
    assert set(document) == {"before", "after", "temperatures"}


def test_without_temperatures_there_is_no_after():
    task = Task(SYSTEM, *sharpened(50, 1), np.arange(50))
    judged = calibrate({"crystal_system": task}, {}, is_dev=False)["crystal_system"]
    assert judged.after is None
    assert set(judged.as_document()) == {"before"}
    one_material = Task(SYSTEM, *sharpened(50, 1), np.zeros(50, int))
    judged = calibrate({"crystal_system": one_material}, {"crystal_system": 2.0}, is_dev=True)
    assert judged["crystal_system"].after is None
