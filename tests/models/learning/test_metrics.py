import numpy as np
import pytest

from models.learning.metrics import headline_names, make_metrics
from pipelines import TARGETS


def result_of(metric, labels, answers):
    metric.reset_state()
    metric.update_state(labels, answers)
    return float(metric.result())


def test_metrics_have_names_that_logs_can_be_read_by():
    names = {key: [metric.name for metric in make_metrics(TARGETS[key])] for key in TARGETS}
    assert names["space_group"] == ["space_group_top1", "space_group_top5"]
    assert names["crystal_system"] == ["crystal_system_top1"]
    assert names["composition"] == ["composition_mae"]
    logged = ["loss", "a_loss", "a_top1", "a_top5", "b_mae", "val_loss", "val_a_top1"]
    assert headline_names(logged) == ["loss", "a_top1", "b_mae"]


def test_class_metrics_of_a_mixture_look_at_the_larger_share():
    answers = np.float32([np.arange(10), np.arange(10)[::-1]])
    mixtures = np.zeros((2, 10), np.float32)
    mixtures[:, 9], mixtures[:, 2] = 0.6, 0.4
    for metric in make_metrics(TARGETS["point_group"]):
        for labels in (mixtures, np.array([9, 9])):
            assert result_of(metric, labels, answers) == 0.5


def test_mean_absolute_error_is_in_natural_units():
    (metric,) = make_metrics(TARGETS["energy_keV"])
    answers = np.float32([[110.0], [190.0]])
    assert result_of(metric, np.float32([[100.0], [190.0]]), answers) == 5.0


@pytest.mark.parametrize("absent", [-1, np.zeros(10, np.float32)], ids=["index", "mixture"])
def test_absent_classes_count_neither_way(absent):
    labels = np.array([9, 0, -1]) if np.ndim(absent) == 0 else np.float32(np.eye(10)[[9, 0, 0]])
    labels[2] = absent
    answers = np.float32([np.arange(10)] * 3)
    for metric in make_metrics(TARGETS["point_group"]):
        assert result_of(metric, labels, answers) == 0.5


def test_absent_numbers_count_neither_way():
    (metric,) = make_metrics(TARGETS["abc_angstrom"])
    labels = np.float32([[1, 2, np.nan], [np.nan] * 3])
    assert result_of(metric, labels, np.float32([[2, 5, 0], [0, 0, 0]])) == 2.0


def test_absent_compositions_count_neither_way():
    (metric,) = make_metrics(TARGETS["composition"])
    labels, answers = np.zeros((2, 100), np.float32), np.full((2, 100), 0.01, np.float32)
    labels[0, 7] = 1.0
    assert result_of(metric, labels, answers) == pytest.approx((0.99 + 99 * 0.01) / 100)
