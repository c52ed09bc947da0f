import keras
import numpy as np
import pytest

from cbed_tf.dataset.manifest import Statistics
from models.networks.fusion import Fused
from models.networks.heads import (
    Destandardize,
    GatedFractions,
    PositiveDeviation,
    add_answers,
    standardization,
)
from pipelines import TARGETS

ENERGY = Statistics((145.0,), (30.0,))


def test_destandardize_by_hand():
    layer = Destandardize(mean=(10.0, 20.0), std=(2.0, 0.5))
    np.testing.assert_allclose(layer(np.array([[0.0, 0.0], [1.0, -2.0]])), [[10, 20], [12, 19]])
    again = Destandardize.from_config(layer.get_config())
    np.testing.assert_allclose(again(np.array([[1.0, -2.0]])), [[12, 19]])


def test_deviations_are_positive_and_not_below_the_floor():
    layer = PositiveDeviation.from_config(PositiveDeviation((2.0, 10.0), floor=0.1).get_config())
    found = layer(np.float32([[0, -90], [np.log(np.e - 1), 90]]))
    np.testing.assert_allclose(found, [[2 * (np.log(2) + 0.1), 1], [2.2, 901]], rtol=1e-5)


def test_fractions_are_shared_among_what_is_there():
    """Presence of 50 %, 50 % and next to nothing; amounts 1 : 3 : 1."""
    layer = GatedFractions()
    amounts = np.log(np.float32([[1, 3, 1]]))
    presence = np.float32([[0, 0, -50]])
    np.testing.assert_allclose(np.exp(layer(amounts, presence)), [[0.25, 0.75, 0]], atol=1e-6)
    views = np.stack([amounts, amounts[:, ::-1]], axis=1)
    np.testing.assert_allclose(
        np.exp(layer(views, presence))[0], [[0.25, 0.75, 0], [0.25, 0.75, 0]], atol=1e-6
    )


def test_averaged_answers_are_those_of_the_views_that_are_there():
    """Each view answers by itself; the third one is missing."""
    views, present = keras.Input((3, 4)), keras.Input((3,), dtype="bool")
    statistics = {"energy_keV": ENERGY}
    targets = [TARGETS[key] for key in ("crystal_system", "energy_keV", "composition")]
    answers = add_answers(Fused(views, views, present), targets, 3, statistics)
    model = keras.Model([views, present], answers)
    features = np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)
    both = model([features, np.array([[True, True, False]])])
    alone = [model([features, np.eye(3, dtype=bool)[[k]]]) for k in range(2)]
    for key in ("crystal_system", "energy_keV"):
        expected = (alone[0][key] + alone[1][key]) / 2
        np.testing.assert_allclose(both[key], expected, rtol=1e-5)
        assert np.abs(alone[0][key] - alone[1][key]).max() > 1e-3
    np.testing.assert_allclose(np.sum(both["composition"]), 1, rtol=1e-5)


def test_untrained_quantity_head_answers_near_the_training_mean():
    features = keras.Input((4,))
    answers = add_answers(Fused(features), [TARGETS["energy_keV"]], 3, {"energy_keV": ENERGY})
    model = keras.Model(features, answers)
    assert model(np.zeros((2, 4), np.float32))["energy_keV"].numpy().tolist() == [[145.0]] * 2


def test_constant_label_is_divided_by_one():
    target = TARGETS["angles_degree"]
    statistics = Statistics((90.0, 90.0, 100.0), (0.0, 0.0, 5.0))
    assert standardization(target, statistics) == ((90.0, 90.0, 100.0), (1.0, 1.0, 5.0))


def test_views_share_mean_and_deviation():
    """Two views at 1 and 3, each with deviation 1: mean 2, variance 1 + 1."""
    mean, std = standardization(TARGETS["d_hkls_angstrom"], Statistics((1.0, 3.0), (1.0, 1.0)))
    assert mean == (2.0,)
    assert std[0] == pytest.approx(np.sqrt(2))
