"""Values worked out by hand; patterns are not square where that could matter."""

import keras
import numpy as np
import pytest

from models.networks.polar import AngularSpectrum, CircularPadding, PolarSampling


def pattern_of(height, width, brightness):
    """A pattern whose brightness is a function of the place seen from the middle."""
    down, right = np.indices((height, width)).astype(np.float32)
    return brightness(right - (width - 1) / 2, down - (height - 1) / 2)[None, :, :, None].astype(
        np.float32
    )


def test_rings_lie_around_the_middle():
    polar = PolarSampling(reach=1.0, angles=4)(pattern_of(12, 16, lambda x, y: 10 * x + y))
    rings = 12 // 2 - 1
    assert polar.shape == (1, rings, 4, 1)
    radius = np.arange(1, rings + 1)
    # To the right, down, to the left, up.
    expected = np.stack([10 * radius, radius, -10 * radius, -radius], axis=1)
    np.testing.assert_allclose(polar[0, :, :, 0], expected, atol=1e-5)


def test_between_pixels_it_interpolates():
    polar = PolarSampling(reach=1.0, angles=8)(
        pattern_of(12, 12, lambda x, y: 3 * x - 2 * y + x * y)
    )
    x = y = np.sqrt(0.5)  # the first ring at 45 degrees, where a bilinear function is itself
    np.testing.assert_allclose(polar[0, 0, 1, 0], 3 * x - 2 * y + x * y, rtol=1e-5)


def test_channels_stay_apart():
    images = np.random.default_rng(1).random((2, 20, 24, 3)).astype(np.float32)
    layer = PolarSampling(angles=6)
    expected = [PolarSampling(angles=6)(images[..., k : k + 1])[..., 0] for k in range(3)]
    np.testing.assert_allclose(layer(images), np.stack(expected, axis=-1), rtol=1e-6)


def test_reach_leaves_out_what_is_far():
    assert PolarSampling(reach=0.5, angles=4)(np.zeros((2, 42, 50, 1), "float32")).shape[1] == 10


def test_larger_patterns_are_averaged_first():
    """Blocks of 2 x 2 of a 256-pixel pattern are the pixels of a 128-pixel one."""
    small = np.random.default_rng(0).random((1, 128, 128, 1)).astype(np.float32)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    layer = PolarSampling(angles=16)
    np.testing.assert_allclose(PolarSampling(angles=16)(large), layer(small), rtol=1e-5)


def test_rotated_patterns_have_the_same_spectrum():
    def flower(turn):
        return lambda x, y: np.hypot(x, y) * (1 + np.cos(3 * (np.arctan2(y, x) - turn)))

    def spectrum(turn):
        polar = PolarSampling(angles=48)(pattern_of(64, 64, flower(turn)))
        return AngularSpectrum(orders=7)(polar)[0, :, :, 0].numpy()

    upright, turned = spectrum(0.0), spectrum(np.pi / 2)
    np.testing.assert_allclose(upright, turned, atol=2e-3)
    # r (1 + cos 3a) is its mean, r, and half of r in order 3; nothing repeats otherwise.
    far_out = upright[10:] / np.arange(11, 11 + len(upright[10:]))[:, None]
    np.testing.assert_allclose(far_out[:, [0, 3]], [[1, 0.5]] * len(far_out), atol=0.02)
    assert np.delete(far_out, [0, 3], axis=1).max() < 0.02


def test_angles_go_round_and_rings_end():
    maps = np.arange(6, dtype="float32").reshape(1, 2, 3, 1)
    padded = CircularPadding(1)(maps)[0, :, :, 0]
    np.testing.assert_array_equal(
        padded, [[0, 0, 0, 0, 0], [2, 0, 1, 2, 0], [5, 3, 4, 5, 3], [0, 0, 0, 0, 0]]
    )


def test_inside_a_graph_it_answers_the_same():
    import tensorflow as tf

    images = np.random.default_rng(2).random((4, 20, 24, 1)).astype(np.float32)
    layer = PolarSampling(angles=6)
    dataset = tf.data.Dataset.from_tensors(images).map(lambda x: layer(x))
    np.testing.assert_allclose(next(iter(dataset)), layer(images), rtol=1e-6)


def test_a_spectrum_of_nothing_has_a_finite_slope():
    import tensorflow as tf

    maps = tf.zeros((1, 2, 8, 1))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(AngularSpectrum(3)(maps))
    assert np.isfinite(tape.gradient(total, maps)).all()


@pytest.mark.parametrize(
    "layer", [PolarSampling(0.5, 12), CircularPadding(2), AngularSpectrum(5)], ids=type
)
def test_layers_come_back_from_their_config(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    images = np.random.default_rng(0).random((2, 24, 32, 1)).astype(np.float32)
    np.testing.assert_array_equal(again(images), layer(images))
    assert again.compute_output_shape(images.shape) == layer(images).shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PolarSampling(reach=0), "reach is 0, should be above 0"),
        (lambda: PolarSampling(angles=0), "angles is 0, should be at least 1"),
        (lambda: CircularPadding(0), "margin is 0, should be at least 1"),
        (lambda: AngularSpectrum(0), "orders is 0, should be at least 1"),
        (lambda: AngularSpectrum(6)(np.zeros((1, 2, 8, 1))), "orders is 6, 8 angles have 5"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
