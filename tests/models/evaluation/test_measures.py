import math

import numpy as np
import pytest

from models.evaluation import measures

# Two materials: samples 0, 1 and 3 are of the first.
GROUPS = np.array([0, 0, 1, 0])
ONCE = np.array([[1, 1]], np.float32)


def resampled(measure, *weights):
    return measure.resampled(np.array(weights, np.float32)).tolist()


def test_mean_counts_samples_not_materials():
    mean = measures.mean(np.array([1.0, 2.0, 10.0, 3.0]), GROUPS)
    assert mean.value() == 4
    # The second material twice and the first never; the first twice: 12 / 6.
    assert resampled(mean, [0, 2], [2, 0], [1, 2]) == [10, 2, 26 / 5]


def test_mean_of_some_samples_is_nan_where_none_was_drawn():
    mean = measures.mean(np.array([1, 0, 1, 1]), GROUPS, np.array([True, True, False, False]))
    assert mean.value() == 0.5
    first, second = resampled(mean, [1, 0], [0, 2])
    assert first == 0.5
    assert math.isnan(second)


def test_root_mean_of_squares():
    assert measures.root_mean(np.array([1.0, 49.0]), np.array([0, 0])).value() == 5


def test_macro_f1_by_hand():
    """Class 0: 2 hits of 3 true, 2 answers; class 1: 1 of 1 true, 2 answers; class 2: none of 1.

    F1 = 4/5, 2/3 and 0. Class 7 is answered once and never true: it has no F1 in the mean.
    """
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 7])
    groups = np.array([0, 0, 0, 1, 2])
    f1 = measures.macro_f1(predicted, labels, groups)
    assert f1.value() == pytest.approx((4 / 5 + 2 / 3) / 3)
    # Without material 2 there is no class 2; without material 0, class 1 has 1 answer, 1 hit.
    assert resampled(f1, [1, 1, 0], [0, 1, 1]) == pytest.approx([(4 / 5 + 2 / 3) / 2, 1 / 2])


def test_balanced_accuracy_by_hand():
    """Recalls 2/3, 1 and 0."""
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0])
    accuracy = measures.balanced_accuracy(predicted, labels, np.array([0, 0, 0, 1, 2]))
    assert accuracy.value() == pytest.approx((2 / 3 + 1) / 3)
    assert resampled(accuracy, [1, 0, 3]) == pytest.approx([(2 / 3) / 2])


def test_presence_f1_by_hand():
    """Sample 0: 1 of 2 found, 1 too many; sample 1: 1 of 1. 2 * 2 / (3 true + 3 answered)."""
    true = np.array([[1, 1, 0], [0, 0, 1]], bool)
    predicted = np.array([[1, 0, 1], [0, 0, 1]], bool)
    f1 = measures.presence_f1(predicted, true, np.array([0, 1]))
    assert f1.value() == pytest.approx(4 / 6)
    assert resampled(f1, [1, 0], [0, 1]) == [0.5, 1]
    nothing = measures.presence_f1(np.zeros((1, 2), bool), np.ones((1, 2), bool), np.array([0]))
    assert nothing.value() == 0


@pytest.mark.parametrize("measure", [measures.macro_f1, measures.balanced_accuracy])
def test_resampled_scores_equal_those_of_repeated_samples(measure):
    random = np.random.default_rng(1)
    labels, predicted = random.integers(0, 6, (2, 40))
    groups = np.repeat(np.arange(10), 4)
    weights = random.multinomial(10, np.full(10, 0.1), size=3)
    scores = measure(predicted, labels, groups).resampled(weights.astype(np.float32))
    for counts, score in zip(weights, scores, strict=True):
        rows = np.repeat(np.arange(40), counts[groups])
        alone = measure(predicted[rows], labels[rows], np.zeros(len(rows), int))
        assert score == pytest.approx(alone.value())
