import keras
import numpy as np
import pytest
import tensorflow as tf

from models.networks.views import FoldViews, UnfoldViews

IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def test_fold_puts_the_patterns_one_after_the_other():
    patterns = FoldViews()(IMAGES)
    assert patterns.shape == (6, 4, 5, 1)
    np.testing.assert_array_equal(patterns[4, :, :, 0], IMAGES[1, 1])


def test_unfold_is_the_way_back_eagerly_and_in_a_graph():
    unfold = UnfoldViews(3)
    rows = IMAGES.reshape(6, 20)
    np.testing.assert_array_equal(unfold(rows), IMAGES.reshape(2, 3, 20))
    dataset = tf.data.Dataset.from_tensors(rows).map(unfold)
    np.testing.assert_array_equal(next(iter(dataset)), IMAGES.reshape(2, 3, 20))


def test_shapes_with_an_unknown_batch():
    images = keras.Input((3, 4, 5))
    patterns = FoldViews()(images)
    assert patterns.shape == (None, 4, 5, 1)
    features = keras.layers.Flatten()(patterns)
    assert UnfoldViews(3)(features).shape == (None, 3, 20)


def test_config_holds_the_views():
    assert UnfoldViews.from_config(UnfoldViews(5, name="back").get_config()).views == 5


def test_no_views_are_refused():
    with pytest.raises(ValueError, match="views is 0"):
        UnfoldViews(0)
