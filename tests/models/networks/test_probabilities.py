import numpy as np
import pytest

from models.networks import probabilities
from models.prediction.calibration import apply_temperature
from pipelines import TARGETS


def test_of_equal_probabilities_the_first_class_counts_as_more_probable():
    assert probabilities.top_classes(np.array([[0.2, 0.4, 0.4]]), 2).tolist() == [[1, 2]]


def test_pooled_probabilities_can_name_another_winner():
    answers = np.array([[0.4, 0.3, 0.3]])
    pooled = probabilities.pool_classes(answers, [0, 1, 1], 2)
    np.testing.assert_allclose(pooled, [[0.4, 0.6]])


def test_space_groups_imply_crystal_systems():
    answers = np.zeros((1, 230), np.float32)
    answers[0, [61, 224, 226]] = 0.4, 0.3, 0.3
    target = TARGETS["crystal_system"]
    system = dict(zip(target.class_names, probabilities.coarsen(target, answers)[0], strict=True))
    assert system["cubic"] == pytest.approx(0.6)
    labels = probabilities.coarse_labels(target, np.array([61, 224]))
    assert [target.class_names[label] for label in labels] == ["orthorhombic", "cubic"]


def test_joint_answer_is_the_geometric_mean_of_each_group():
    """Samples 0 and 2 are of one crystal: sqrt(0.6 * 0.2), sqrt(0.3 * 0.3), sqrt(0.1 * 0.5)."""
    answers = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.2, 0.3, 0.5]])
    joint = probabilities.joint_probabilities(answers, np.array([0, 1, 0]))
    expected = np.sqrt([0.12, 0.09, 0.05])
    np.testing.assert_allclose(joint, [expected / expected.sum(), answers[1]])


def test_a_class_that_a_sample_excludes_loses_without_a_nan():
    answers = np.array([[0.0, 0.4, 0.6], [0.9, 0.1, 0.0]], np.float32)
    joint = probabilities.joint_probabilities(answers, np.array([0, 0]))
    np.testing.assert_allclose(joint, [[0, 1, 0]], atol=1e-12)


def test_temperature_before_or_after_the_joint_answer_is_the_same():
    answers = np.random.default_rng(0).dirichlet(np.ones(4), 6)
    groups = np.array([0, 1, 1, 0, 2, 0])
    before = probabilities.joint_probabilities(apply_temperature(answers, 1.7), groups)
    after = apply_temperature(probabilities.joint_probabilities(answers, groups), 1.7)
    np.testing.assert_allclose(before, after)


def test_means_of_groups():
    means = probabilities.group_means(np.array([[1.0], [5.0], [2.0]]), np.array([1, 0, 1]))
    assert means.tolist() == [[5.0], [1.5]]
