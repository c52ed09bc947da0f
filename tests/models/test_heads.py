import keras
import numpy as np
import pytest

from cbed_tf.manifest import Statistics
from models.heads import (
    ClassCrossEntropy,
    Destandardize,
    StandardizedHuber,
    add_head,
    make_loss,
    make_metrics,
    standardization,
)
from pipelines import TARGETS

ENERGY = Statistics((145.0,), (30.0,))


def test_destandardize_by_hand():
    layer = Destandardize(mean=(10.0, 20.0), std=(2.0, 0.5))
    np.testing.assert_allclose(layer(np.array([[0.0, 0.0], [1.0, -2.0]])), [[10, 20], [12, 19]])
    again = Destandardize.from_config(layer.get_config())
    np.testing.assert_allclose(again(np.array([[1.0, -2.0]])), [[12, 19]])


def test_huber_by_hand():
    """Residuals of 0.5 and 3 deviations: (0.5^2 / 2 + 3 - 0.5) / 2."""
    loss = StandardizedHuber(std=(2.0, 10.0))
    value = loss(np.array([[1.0, 0.0]]), np.array([[2.0, 30.0]], np.float32))
    assert float(value) == pytest.approx((0.125 + 2.5) / 2)
    again = StandardizedHuber.from_config(loss.get_config())
    assert float(again(np.array([[1.0, 0.0]]), np.array([[2.0, 30.0]], np.float32))) == float(value)


def test_class_loss_is_minus_the_logarithm_of_the_probability():
    probabilities = np.full((1, 7), 0.1, np.float32)
    probabilities[0, 3] = 0.4
    loss = make_loss(TARGETS["crystal_system"], None)
    assert float(loss(np.array([3]), probabilities)) == pytest.approx(-np.log(0.4), rel=1e-5)


def test_class_loss_of_a_mixture_is_the_mixture_of_the_losses():
    answers = np.float32([[0.1, 0.2, 0.7]] * 2)
    loss = ClassCrossEntropy(reduction="none")
    first, second = (loss(np.array([k, k]), answers).numpy() for k in (0, 2))
    mixed = loss(np.float32([[0.75, 0, 0.25]] * 2), answers)
    np.testing.assert_allclose(mixed, 0.75 * first + 0.25 * second, rtol=1e-5)


def test_class_metrics_of_a_mixture_look_at_the_larger_share():
    answers = np.float32([np.arange(10), np.arange(10)[::-1]])
    mixtures = np.zeros((2, 10), np.float32)
    mixtures[:, 9], mixtures[:, 2] = 0.6, 0.4
    top1, top5 = make_metrics(TARGETS["point_group"])
    for labels in (mixtures, np.array([9, 9])):
        for metric in (top1, top5):
            metric.reset_state()
            metric.update_state(labels, answers)
            assert float(metric.result()) == 0.5


def test_fraction_loss_is_the_cross_entropy_of_shares():
    labels, answers = np.zeros((1, 118), np.float32), np.zeros((1, 118), np.float32)
    labels[0, [7, 12]] = 0.6, 0.4
    answers[0, [7, 12]] = 0.75, 0.25
    expected = -0.6 * np.log(0.75) - 0.4 * np.log(0.25)
    loss = make_loss(TARGETS["composition"], None)
    assert float(loss(labels, answers)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("key", ["space_group", "composition"])
def test_gradient_survives_a_confidently_wrong_answer(key, eager):
    """Logits 200 apart round the true probability to 0; its logarithm must not be clipped."""
    target = TARGETS[key]
    size = target.size(views=3)
    features = keras.Input((4,))
    model = keras.Model(features, {key: add_head(features, target, 3, None)})
    kernel, bias = (np.zeros(shape, np.float32) for shape in ((4, size), (size,)))
    bias[0] = 200
    model.set_weights([kernel, bias])
    model.compile(keras.optimizers.SGD(1.0), loss={key: make_loss(target, None)}, run_eagerly=eager)
    label = np.array([5]) if key == "space_group" else np.eye(size, dtype=np.float32)[[5]]
    model.train_on_batch(np.zeros((1, 4), np.float32), {key: label})
    change = model.get_weights()[1] - bias
    assert change[5] == pytest.approx(1, abs=1e-4)
    assert change[0] == pytest.approx(-1, abs=1e-4)


def test_untrained_quantity_head_answers_near_the_training_mean():
    features = keras.Input((4,))
    model = keras.Model(features, add_head(features, TARGETS["energy_keV"], 3, ENERGY))
    assert model(np.zeros((2, 4), np.float32)).numpy().tolist() == [[145.0], [145.0]]


def test_constant_label_is_divided_by_one():
    target = TARGETS["angles_degree"]
    statistics = Statistics((90.0, 90.0, 100.0), (0.0, 0.0, 5.0))
    assert standardization(target, statistics) == ((90.0, 90.0, 100.0), (1.0, 1.0, 5.0))
    loss = make_loss(target, statistics)
    assert np.isfinite(float(loss(np.full((1, 3), 90.0), np.full((1, 3), 91.0, np.float32))))


def test_views_share_mean_and_deviation():
    """Two views at 1 and 3, each with deviation 1: mean 2, variance 1 + 1."""
    mean, std = standardization(TARGETS["d_hkls_angstrom"], Statistics((1.0, 3.0), (1.0, 1.0)))
    assert mean == (2.0,)
    assert std[0] == pytest.approx(np.sqrt(2))


def test_metrics_have_names_that_logs_can_be_read_by():
    names = {key: [metric.name for metric in make_metrics(TARGETS[key])] for key in TARGETS}
    assert names["space_group"] == ["top1", "top5"]
    assert names["crystal_system"] == ["top1"]
    assert names["composition"] == names["abc_angstrom"] == ["mae"]


def test_mean_absolute_error_is_in_natural_units():
    (metric,) = make_metrics(TARGETS["energy_keV"])
    metric.update_state(np.array([[100.0], [190.0]]), np.array([[110.0], [190.0]]))
    assert float(metric.result()) == 5.0
