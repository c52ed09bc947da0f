"""Encoders of keras.applications: from random weights, from a file, synchronised."""

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.src.legacy.saving import legacy_h5_format

from cbed_tf.errors import CbedError
from models.networks import backbones
from models.networks.backbones import build_backbone
from models.networks.backbones.applications import Application


def tiny(include_top, weights, input_shape, pooling):
    """Has what counts of an architecture: a first convolution, and batch normalisation."""
    assert (include_top, weights, pooling) == (False, None, "avg")
    images = keras.Input(input_shape)
    x = layers.Conv2D(4, 3, strides=2, name="first")(images)
    x = layers.Conv2D(3, 3, name="second")(layers.BatchNormalization(name="norm")(x))
    return keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x), name="tiny")


@pytest.fixture
def application(monkeypatch):
    application = Application("tiny", tiny, scale=2.0, offset=-0.5)
    monkeypatch.setitem(backbones.BACKBONES, "tiny", application)
    return application


def photograph_model(path):
    """Returns the architecture for three colours, random weights everywhere, and writes these."""
    model = tiny(False, None, (32, 40, 3), "avg")
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.1, 1, w.shape) for w in model.get_weights()])
    if path.name == "legacy.h5":  # as the files on the web are
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    else:
        (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)
    return model


@pytest.mark.parametrize("name", ["legacy.h5", "whole.h5", "notop.weights.h5", "notop.keras"])
def test_a_pattern_is_a_grey_photograph(application, name, tmp_path):
    photographs = photograph_model(tmp_path / name)
    encoder = build_backbone("tiny", 32, 40, pretrained=tmp_path / name)
    patterns = np.random.default_rng(1).random((2, 32, 40, 1), np.float32)
    grey = np.repeat(2 * patterns - 0.5, 3, axis=-1)
    np.testing.assert_allclose(encoder(patterns), photographs(grey), rtol=1e-5)


def test_views_as_channels_keep_or_share_the_colours(application, tmp_path):
    photographs = photograph_model(tmp_path / "notop.keras")
    three = build_backbone("tiny", 32, 40, 3, pretrained=tmp_path / "notop.keras")
    patterns = np.random.default_rng(1).random((2, 32, 40, 3), np.float32)
    np.testing.assert_allclose(three(patterns), photographs(2 * patterns - 0.5), rtol=1e-5)

    two = build_backbone("tiny", 32, 40, 2, pretrained=tmp_path / "notop.keras")
    same = np.repeat(patterns[..., :1], 3, axis=-1)
    np.testing.assert_allclose(two(same[..., :2]), photographs(2 * same - 0.5), rtol=1e-5)


@pytest.mark.parametrize("name", ["other.keras", "other.weights.h5", "no_weights.h5", "missing.h5"])
def test_wrong_files_are_named(application, name, tmp_path):
    path = tmp_path / name
    if name.startswith("other"):
        other = keras.Sequential([keras.Input((7,)), layers.Dense(3)])
        (other.save_weights if name.endswith(".weights.h5") else other.save)(path)
    elif name != "missing.h5":
        path.write_bytes(b"nothing")
    with pytest.raises(CbedError, match=name):
        build_backbone("tiny", 32, 40, pretrained=path)


def test_a_real_architecture_takes_its_own_weights(tmp_path):
    photographs = keras.applications.EfficientNetV2B0(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    photographs.save_weights(tmp_path / "notop.weights.h5")
    encoder = build_backbone("efficientnetv2", 32, 32, pretrained=tmp_path / "notop.weights.h5")
    own, theirs = encoder.get_weights(), photographs.get_weights()
    np.testing.assert_allclose(own[0], theirs[0].sum(axis=2, keepdims=True), rtol=1e-5)
    for mine, other in zip(own[1:], theirs[1:], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_synchronized_normalisation_keeps_the_weights(application, tmp_path):
    photograph_model(tmp_path / "notop.keras")
    encoder = build_backbone("tiny", 32, 40, pretrained=tmp_path / "notop.keras", synchronized=True)
    (norm,) = (x for x in encoder._flatten_layers() if isinstance(x, layers.BatchNormalization))
    assert norm.synchronized
    patterns = np.random.default_rng(1).random((2, 32, 40, 1), np.float32)
    plain = build_backbone("tiny", 32, 40, pretrained=tmp_path / "notop.keras")
    np.testing.assert_array_equal(encoder(patterns), plain(patterns))


@pytest.mark.parametrize("name", ["resnet50", "convnext"])
def test_patterns_that_are_too_small_are_refused(name):
    with pytest.raises(CbedError, match=f"{name} takes .* at least 32x32 pixels, not 24x32"):
        build_backbone(name, 24, 32)


def test_backbones_without_pretrained_weights_say_so():
    with pytest.raises(CbedError, match="no pretrained weights for backbone 'small', only for res"):
        build_backbone("small", 32, 32, pretrained="notop.h5")


def test_layers_that_follow_start_alike_on_any_number_of_devices(application):
    kernels = []
    for synchronized in (False, True):
        keras.utils.set_random_seed(1)
        features = build_backbone("tiny", 32, 40, synchronized=synchronized).output
        dense = keras.layers.Dense(3)
        dense(features)
        kernels.append(dense.kernel.numpy())
    np.testing.assert_array_equal(*kernels)
