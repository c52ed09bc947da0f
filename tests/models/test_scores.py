import numpy as np
import pytest

from models import scores

# Three samples, four classes; the true ones are most, second and least probable.
PROBABILITIES = np.array([[0.7, 0.1, 0.1, 0.1], [0.5, 0.3, 0.2, 0.0], [0.4, 0.3, 0.2, 0.1]])
LABELS = np.array([0, 1, 3])


@pytest.mark.parametrize(("k", "expected"), [(1, 1 / 3), (2, 2 / 3), (3, 2 / 3), (4, 1.0)])
def test_top_k_accuracy(k, expected):
    assert scores.top_k_accuracy(PROBABILITIES, LABELS, k) == pytest.approx(expected)


def test_of_equal_probabilities_the_first_class_counts_as_more_probable():
    assert scores.top_classes(np.array([[0.2, 0.4, 0.4]]), 2).tolist() == [[1, 2]]
    assert scores.top_k_accuracy(np.zeros((1, 3)), np.array([1]), 1) == 0
    assert scores.top_k_accuracy(np.zeros((1, 3)), np.array([1]), 2) == 1


def test_macro_f1_by_hand():
    """Class 0: 2 hits of 3 true, 2 answers; class 1: 1 of 1 true, 2 answers; class 2: none of 1.

    F1 = 4/5, 2/3 and 0. Class 7 is answered once and never true: it has no F1 in the mean.
    """
    labels = np.array([0, 0, 0, 1, 2])
    predicted = np.array([0, 0, 1, 1, 7])
    by_class = scores.class_scores(predicted, labels)
    assert by_class[0] == scores.ClassScore(3, 1.0, pytest.approx(2 / 3), pytest.approx(4 / 5))
    assert by_class[1] == scores.ClassScore(1, 0.5, 1.0, pytest.approx(2 / 3))
    assert by_class[2] == scores.ClassScore(1, 0.0, 0.0, 0.0)
    assert list(by_class) == [0, 1, 2]
    assert scores.macro_f1(predicted, labels) == pytest.approx((4 / 5 + 2 / 3) / 3)


def test_confusion_has_true_classes_as_rows():
    counts = scores.confusion(np.array([1, 1, 2]), np.array([0, 1, 0]), 3)
    assert counts.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]


def test_pooled_probabilities_can_name_another_winner():
    probabilities = np.array([[0.4, 0.3, 0.3]])
    pooled = scores.pool_classes(probabilities, [0, 1, 1], 2)
    np.testing.assert_allclose(pooled, [[0.4, 0.6]])


def test_mean_absolute_error_of_each_component():
    answers, labels = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[2.0, 5.0], [6.0, 4.0]])
    assert scores.mean_absolute_error(answers, labels).tolist() == [2.0, 0.5]
    assert scores.mean_absolute_error(np.array([4.0, 5.0]), labels).tolist() == [2.0, 0.5]
