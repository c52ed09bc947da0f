import numpy as np
import pytest
import tensorflow as tf

from models.networks.marginals import CoarserClasses, coarser_logarithms, is_marginal
from models.networks.probabilities import coarsen
from pipelines import TARGETS


@pytest.mark.parametrize("key", ["crystal_system", "point_group"])
def test_coarser_classes_are_sums_eagerly_and_in_a_graph(key):
    probabilities = np.random.default_rng(0).dirichlet(np.full(230, 0.3), 4).astype(np.float32)
    logarithms = np.log(np.maximum(probabilities, 1e-30))
    layer = CoarserClasses.from_config(CoarserClasses(key).get_config())
    expected = coarsen(TARGETS[key], probabilities)
    np.testing.assert_allclose(np.exp(layer(logarithms)), expected, rtol=1e-4, atol=1e-12)
    in_graph = tf.function(layer)(logarithms)
    np.testing.assert_allclose(np.exp(in_graph), expected, rtol=1e-4, atol=1e-12)


def test_the_triclinic_groups_by_hand():
    logarithms = np.full((1, 230), -np.inf, np.float32)
    logarithms[:, :3] = np.log([0.2, 0.3, 0.5])
    systems = np.exp(coarser_logarithms(logarithms, "crystal_system"))
    np.testing.assert_allclose(systems[0, :3], [0.5, 0.5, 0], atol=1e-6)


def test_an_improbable_system_still_has_a_gradient():
    logarithms = tf.Variable(np.full((1, 230), -300, np.float32))
    with tf.GradientTape() as tape:
        cubic = coarser_logarithms(logarithms, "crystal_system")[0, -1]
    gradient = tape.gradient(cubic, logarithms).numpy()[0]
    np.testing.assert_allclose(gradient[194:], 1 / 36, rtol=1e-4)  # 36 cubic space groups
    assert not gradient[:194].any()


def test_what_follows_from_what():
    assert is_marginal("point_group", ["point_group", "space_group"])
    assert not is_marginal("point_group", ["point_group", "crystal_system"])
    assert not is_marginal("space_group", ["space_group"])
    with pytest.raises(ValueError, match="key is 'space_group', should be one of crystal_system"):
        CoarserClasses("space_group")
