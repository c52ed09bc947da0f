import keras
import numpy as np
import pytest

from models.learning.options import FUSIONS as NAMES
from models.networks.fusion import FUSIONS, AttendViews, PoolViews, PresentViews


def test_a_view_of_zeros_is_missing_unless_all_are():
    images = np.zeros((3, 2, 4, 5), np.float32)
    images[0] = 1
    images[1, 1, 2, 3] = 1e-30
    expected = [[True, True], [False, True], [True, True]]
    np.testing.assert_array_equal(PresentViews()(images), expected)


def test_pool_by_hand():
    views = np.float32([[[1, -5], [3, -7], [100, 100]]])
    present = np.array([[True, True, False]])
    np.testing.assert_allclose(PoolViews()(views, present), [[2, -6, 3, -5]])


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_attention_follows_the_views_and_ignores_missing_ones(policy):
    layer = AttendViews(width=8, heads=2, dtype=policy)
    views = np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    present = np.array([[True, True, True, False]] * 2)
    answer = keras.ops.convert_to_numpy(layer(views, present))
    order = [3, 1, 0, 2]
    permuted = layer(views[:, order], present[:, order])
    tolerance = 1e-5 if policy == "float32" else 1e-2
    np.testing.assert_allclose(permuted, answer[:, order], atol=tolerance)

    views[:, 3] = 77
    np.testing.assert_array_equal(np.array(layer(views, present))[:, :3], answer[:, :3])
    views[:, 2] = 77
    assert np.abs(np.array(layer(views, present))[:, 0] - answer[:, 0]).max() > 1e-3


def test_attention_is_saved_with_its_size():
    again = AttendViews.from_config(AttendViews(width=12, heads=3, name="attend").get_config())
    assert (again.width, again.heads, again.name) == (12, 3, "attend")


def test_options_know_every_fusion():
    assert set(NAMES) == {*FUSIONS, "channels"}
