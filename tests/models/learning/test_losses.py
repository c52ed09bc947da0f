import numpy as np
import pytest
import tensorflow as tf

from models.learning.losses import ClassLoss, FractionLoss, LikelihoodLoss, QuantityLoss


def logarithms(key, *rows):
    return {f"{key}_logarithms": np.log(np.float32(rows))}


def gradients(loss, labels, answers, training=True):
    """Returns the losses, and their sum's gradient by what the model answers."""
    tensors = {name: tf.constant(value) for name, value in answers.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        losses = loss(tf.constant(labels), tensors, training)
        total = tf.reduce_sum(losses)
    return losses.numpy(), tape.gradient(total, tensors)


def test_class_loss_is_minus_the_logarithm_of_the_probability():
    answers = logarithms("crystal_system", [0.1, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1])
    loss = ClassLoss("crystal_system")
    np.testing.assert_allclose(loss(np.array([1]), answers, True), [-np.log(0.4)], rtol=1e-5)


def test_class_loss_of_a_mixture_is_the_mixture_of_the_losses():
    answers = logarithms("x", [0.1, 0.2, 0.7])
    loss = ClassLoss("x")
    first, last = (loss(np.array([k]), answers, True)[0] for k in (0, 2))
    mixed = loss(np.float32([[0.75, 0, 0.25]]), answers, True)
    np.testing.assert_allclose(mixed, [0.75 * first + 0.25 * last], rtol=1e-5)


def test_adjustment_is_part_of_the_probability_in_training_only():
    """Odds 1 : 1, seen three times as often: in training the frequent one is expected at 3/4."""
    loss = ClassLoss("x", adjustment=np.log(np.float32([0.75, 0.25])))
    answers = logarithms("x", [0.5, 0.5])
    np.testing.assert_allclose(loss(np.array([1]), answers, True), [-np.log(0.25)], rtol=1e-5)
    np.testing.assert_allclose(loss(np.array([1]), answers, False), [-np.log(0.5)], rtol=1e-5)


def test_a_sum_is_adjusted_where_its_parts_are():
    """Space groups 1 to 3 at 1/3 each, seen 1 : 1 : 2; the first two are triclinic."""
    answers = np.full((1, 230), 1e-30, np.float32)
    answers[:, :3] = 1 / 3
    adjustment = np.zeros(230, np.float32)
    adjustment[2] = np.log(2)
    loss = ClassLoss("crystal_system", is_marginal=True, adjustment=adjustment)
    answers = {"space_group_logarithms": np.log(answers)}
    np.testing.assert_allclose(loss(np.array([0]), answers, True), [-np.log(0.5)], rtol=1e-5)
    np.testing.assert_allclose(loss(np.array([0]), answers, False), [-np.log(2 / 3)], rtol=1e-5)


def test_labels_are_smoothed_in_training_only():
    table = np.float32([[0.8, 0.2], [0.0, 1.0]])
    loss = ClassLoss("x", smoothing=table)
    answers = logarithms("x", [0.9, 0.1])
    smooth = -0.8 * np.log(0.9) - 0.2 * np.log(0.1)
    np.testing.assert_allclose(loss(np.array([0]), answers, True), [smooth], rtol=1e-5)
    np.testing.assert_allclose(loss(np.float32([[1, 0]]), answers, True), [smooth], rtol=1e-5)
    np.testing.assert_allclose(loss(np.array([0]), answers, False), [-np.log(0.9)], rtol=1e-5)


def test_fraction_loss_by_hand():
    """Cross entropy of shares; presence: mean of what is there, mean of what is not, halved."""
    labels = np.float32([[0.6, 0.4, 0, 0]])
    presence = np.float32([[2, 0, 0, -3]])
    answers = {
        **logarithms("composition", [0.75, 0.2, 0.04, 0.01]),
        "composition_presence": presence,
    }
    of_shares = -0.6 * np.log(0.75) - 0.4 * np.log(0.2)
    sigmoid = 1 / (1 + np.exp(-presence[0]))
    there = -np.log(sigmoid[:2]).mean()
    absent = -np.log(1 - sigmoid[2:]).mean()
    found = FractionLoss("composition")(labels, answers, True)
    np.testing.assert_allclose(found, [of_shares + (there + absent) / 2], rtol=1e-5)


def test_huber_by_hand():
    """Residuals of 0.5 and 3 deviations: (0.5^2 / 2 + 3 - 0.5) / 2."""
    loss = QuantityLoss("x", (2.0, 10.0))
    found = loss(np.float32([[1, 0]]), {"x": np.float32([[2, 30]])}, True)
    np.testing.assert_allclose(found, [(0.125 + 2.5) / 2])


def test_likelihood_by_hand():
    """Errors of 1 and 6 in deviations of 2 and 3 train-deviations of 0.5 and 2."""
    loss = LikelihoodLoss("x", (0.5, 2.0))
    answers = {"x": np.float32([[2, 4]]), "x_std": np.float32([[1, 6]])}
    found = loss(np.float32([[3, 10]]), answers, False)
    np.testing.assert_allclose(found, [(np.log(2) + 0.5 + np.log(3) + 0.5) / 2], rtol=1e-5)


def test_likelihood_weighs_by_the_deviation_in_training():
    """Its slope by the answer is then error / deviation, not error / deviation^2."""
    loss = LikelihoodLoss("x", (1.0,))
    answers = {"x": np.float32([[0]]), "x_std": np.float32([[4]])}
    _, plain = gradients(loss, np.float32([[2]]), answers, training=False)
    _, weighed = gradients(loss, np.float32([[2]]), answers, training=True)
    assert float(plain["x"]) == pytest.approx(-2 / 16)
    assert float(weighed["x"]) == pytest.approx(-2 / 4)


def test_the_right_deviation_is_the_most_likely():
    errors = np.random.default_rng(0).normal(0, 3, 4000).astype(np.float32)[:, None]
    loss = LikelihoodLoss("x", (1.0,))
    deviations = (1.0, 2.0, 3.0, 4.0, 6.0)
    answers = [{"x": 0 * errors, "x_std": np.full_like(errors, d)} for d in deviations]
    losses = [float(np.mean(loss(errors, answer, False))) for answer in answers]
    assert int(np.argmin(losses)) == deviations.index(3.0)


def test_absent_labels_cost_and_teach_nothing():
    nan = np.nan
    for loss, labels, answers in (
        (ClassLoss("x"), np.array([-1, 1]), logarithms("x", [0.5, 0.5], [0.5, 0.5])),
        (
            ClassLoss("x", smoothing=np.float32([[0.9, 0.1], [0.1, 0.9]])),
            np.array([-1, 1]),
            logarithms("x", [0.5, 0.5], [0.5, 0.5]),
        ),
        (
            QuantityLoss("x", (1.0, 1.0)),
            np.float32([[nan, nan], [nan, 3]]),
            {"x": np.ones((2, 2), "f")},
        ),
        (
            LikelihoodLoss("x", (1.0, 1.0)),
            np.float32([[nan, nan], [nan, 9]]),
            {"x": np.ones((2, 2), "f"), "x_std": np.full((2, 2), 2, "f")},
        ),
        (
            FractionLoss("x"),
            np.float32([[0, 0], [1, 0]]),
            {**logarithms("x", [0.5, 0.5], [0.5, 0.5]), "x_presence": np.ones((2, 2), "f")},
        ),
    ):
        losses, gradient = gradients(loss, labels, answers)
        assert losses[0] == 0 < losses[1]
        for of_answer in gradient.values():
            assert not of_answer.numpy()[0].any()
            assert np.isfinite(of_answer).all()
            assert of_answer.numpy()[1].any()


def test_a_number_beside_an_absent_one_counts_fully():
    loss = QuantityLoss("x", (1.0, 1.0))
    found = loss(np.float32([[np.nan, 3.0]]), {"x": np.float32([[1, 1]])}, True)
    assert float(found[0]) == pytest.approx(1.5)
