import dataclasses

import keras
import numpy as np
import pytest

from cbed_tf.errors import CbedError
from models.networks.backbones import BACKBONES, build_backbone


@pytest.mark.parametrize("name", BACKBONES)
def test_one_row_of_features_for_each_pattern(name):
    encoder = build_backbone(name, 32, 40)
    features = encoder(np.ones((5, 32, 40, 1), np.float32))
    assert features.shape == (5, encoder.output_shape[-1])


@pytest.mark.parametrize("name", ["small", "polar", "convnext"])  # with layers not of Keras's list
def test_an_encoder_comes_back_as_it_was_saved(name, tmp_path):
    encoder = build_backbone(name, 32, 40)
    patterns = np.random.default_rng(0).random((5, 32, 40, 1), np.float32)
    features = encoder(patterns)
    encoder.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(again(patterns), features)


def test_small_reduces_every_size_to_a_map_of_at_most_eight_pixels():
    for size in (24, 128, 512):
        encoder = build_backbone("small", size, size)
        height = encoder.get_layer("coarse_grid").input.shape[1]
        assert 4 <= height <= 8


def test_small_sees_where_a_disk_lies():
    encoder = build_backbone("small", 24, 32)
    patterns = np.zeros((2, 24, 32, 1), np.float32)
    patterns[0, 3:6, 3:6] = patterns[1, 15:18, 19:22] = 1  # 12 and 16 pixels apart: same phase
    first, second = encoder(patterns).numpy()
    assert np.abs(first - second).max() > 0.1


def test_small_answers_the_same_in_training_and_afterwards():
    encoder = build_backbone("small", 24, 32)
    patterns = np.random.default_rng(0).random((3, 24, 32, 1), np.float32)
    np.testing.assert_array_equal(encoder(patterns, training=True), encoder(patterns))


def test_small_tells_weak_patterns_apart():
    """Fourth roots of a faint pattern vary by hundredths; normalisation must not drown them."""
    encoder = build_backbone("small", 24, 32)
    patterns = 0.01 * np.random.default_rng(0).random((2, 24, 32, 1), np.float32)
    first, second = encoder(patterns).numpy()
    assert np.abs(first - second).max() > 0.1


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(CbedError, match=r"'vgg'.*small, polar, resnet50"):
        build_backbone("vgg", 32, 32)


def test_the_command_names_every_backbone():
    from models.commands.benchmark import FLAGS
    from models.learning.options import TrainingOptions

    (field,) = (f for f in dataclasses.fields(TrainingOptions) if f.name == "backbone")
    for name in BACKBONES:
        assert name in FLAGS["backbone"].help
        assert name in field.metadata["option"].help
