import numpy as np
import pytest

from models.evaluation import scores

# Three samples, four classes; the true ones are most, second and least probable.
PROBABILITIES = np.array([[0.7, 0.1, 0.1, 0.1], [0.5, 0.3, 0.2, 0.0], [0.4, 0.3, 0.2, 0.1]])
LABELS = np.array([0, 1, 3])


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 0]), (4, [1, 1, 1])]
)
def test_top_k_hits(k, expected):
    assert scores.top_k_hits(PROBABILITIES, LABELS, k).tolist() == expected


def test_of_equal_probabilities_the_first_class_counts_as_more_probable():
    assert not scores.top_k_hits(np.zeros((1, 3)), np.array([1]), 1)
    assert scores.top_k_hits(np.zeros((1, 3)), np.array([1]), 2)


def test_class_scores_by_hand():
    """Class 0: 2 hits of 3 true, 2 answers; class 1: 1 of 1 true, 2 answers; class 2: none of 1."""
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 7])
    by_class = scores.class_scores(predicted, labels)
    assert by_class[0] == scores.ClassScore(3, 1.0, pytest.approx(2 / 3), pytest.approx(4 / 5))
    assert by_class[1] == scores.ClassScore(1, 0.5, 1.0, pytest.approx(2 / 3))
    assert by_class[2] == scores.ClassScore(1, 0.0, 0.0, 0.0)
    assert list(by_class) == [0, 1, 2]


def test_element_scores_are_of_those_that_occur():
    true = np.array([[1, 1, 0], [1, 0, 0]], bool)
    predicted = np.array([[1, 0, 1], [0, 0, 1]], bool)
    by_element = scores.element_scores(predicted, true)
    assert by_element == {
        0: scores.ClassScore(2, 1.0, 0.5, pytest.approx(2 / 3)),
        1: scores.ClassScore(1, 0.0, 0.0, 0.0),
    }


def test_confusion_has_true_classes_as_rows():
    counts = scores.confusion(np.array([1, 1, 2]), np.array([0, 1, 0]), 3)
    assert counts.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 0]]


def test_mistakes_come_most_frequent_first_and_without_hits():
    counts = np.array([[9, 1, 3, 0], [0, 4, 0, 0], [0, 0, 0, 0], [2, 2, 2, 0]])
    assert scores.mistaken_for(counts, most=2) == {
        0: [(2, 3), (1, 1)],
        1: [],
        3: [(0, 2), (1, 2)],
    }
