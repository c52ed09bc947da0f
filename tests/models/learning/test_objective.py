import numpy as np
import pytest

from models.learning.objective import Objective

LABELS = {"a": np.float32([1, 2]), "b": np.float32([10, 20])}


def label_itself(key):
    """A loss whose value is the label, in training twice that."""
    return lambda labels, answers, training: labels * (2.0 if training else 1.0)


def objective(**options):
    loss_of = {key: label_itself(key) for key in LABELS}
    return Objective(loss_of, {"a": 1.0, "b": 0.5}, **options)


def test_losses_are_weighed_and_added():
    total, means = objective().total(LABELS, {}, None, training=False)
    assert {key: float(mean) for key, mean in means.items()} == {"a": 1.5, "b": 15.0}
    assert float(total) == 1.5 + 7.5
    assert float(objective().total(LABELS, {}, None, training=True)[0]) == 2 * (1.5 + 7.5)


def test_sample_weights_multiply_their_target():
    weights = {"a": np.float32([0, 3]), "b": np.float32([1, 1])}
    total, means = objective().total(LABELS, {}, weights, training=False)
    assert float(means["a"]) == 3.0
    assert float(total) == 3.0 + 7.5


def test_learned_weights_by_hand():
    """exp(-s) * loss + s / 2 at s = log 4, and s = 0 for the other one."""
    learning = objective(learned=("a", "b"))
    assert {v.path for v in learning.trainable_variables} == {
        "objective/a_log_variance", "objective/b_log_variance",
    }  # fmt: skip
    learning.log_variances["a"].assign(np.log(4))
    total, means = learning.total(LABELS, {}, None, training=True)
    assert float(means["a"]) == 3.0
    assert float(total) == pytest.approx(3.0 / 4 + np.log(4) / 2 + 0.5 * 30.0)


def test_the_plain_loss_knows_no_learned_weights():
    learning = objective(learned=("a",))
    learning.log_variances["a"].assign(5.0)
    assert float(learning.total(LABELS, {}, None, training=False)[0]) == 1.5 + 7.5
