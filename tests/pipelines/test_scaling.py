"""The first layer on values worked out by hand: eagerly, in a graph, and in half precision."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.scaling import IntensityScaling

# Codes of 0, 1/5, 2/5 and 1 of the largest fourth root, which is 5 and 0.5 and 0.
CODES = np.uint16([[[0, 13107], [26214, 65535]]] * 3)
ENCODED = {"cbed_stack": CODES, "pattern_max": np.float32([625, 0.0625, 0])}
ROOTS = np.float32([[[0, 1], [2, 5]], [[0, 0.1], [0.2, 0.5]], [[0, 0], [0, 0]]])

RAW = np.float32([0.0, 1.0, 16.0, 81.0, 1e-8, 1e-16, 65536.0**2])
FOURTH_ROOT = np.float32([0.0, 1.0, 2.0, 3.0, 1e-2, 1e-4, 256.0])


def apply(layer, values, how):
    if how == "eager":
        return np.asarray(layer(values))
    dataset = tf.data.Dataset.from_tensors(values).map(layer)
    return next(iter(dataset)).numpy()


@pytest.mark.parametrize("how", ["eager", "Dataset.map"])
def test_fourth_root(how):
    scaled = apply(IntensityScaling(), RAW, how)

    np.testing.assert_allclose(scaled, FOURTH_ROOT, rtol=1e-6)
    assert scaled.dtype == np.float32


@pytest.mark.parametrize("how", ["eager", "Dataset.map"])
@pytest.mark.parametrize("method", ["power", "log", "none"])
def test_not_a_number_and_negatives_become_0(how, method):
    values = np.float32([np.nan, -1.0, -0.0, -1e-30, -np.inf])

    assert apply(IntensityScaling(method), values, how).tolist() == [0, 0, 0, 0, 0]


def test_the_corners_of_a_pattern_survive():
    scaled = np.asarray(IntensityScaling()(np.float32([1e-19, 1e-21, 1e-37])))

    np.testing.assert_allclose(scaled, [1.7782794e-5, 5.6234133e-6, 5.6234133e-10], rtol=1e-6)


@pytest.mark.parametrize("exponent", [0.5, 0.25, 0.3, 1.0])
def test_other_exponents(exponent):
    scaled = np.asarray(IntensityScaling(exponent=exponent)(RAW))

    np.testing.assert_allclose(scaled, np.float64(RAW) ** exponent, rtol=1e-5)


def test_logarithm_starts_at_its_floor():
    floor = math.exp(-17)
    scaled = IntensityScaling("log")(np.float32([0, floor / 2, floor, floor * math.e, 1.0]))

    np.testing.assert_allclose(scaled, [0, 0, 0, 1, 17], atol=1e-5)


def test_none_leaves_intensities_alone():
    np.testing.assert_array_equal(IntensityScaling("none")(RAW), RAW)


@pytest.mark.parametrize("how", ["eager", "Dataset.map"])
def test_16_bit_patterns_by_hand(how):
    scaled = apply(IntensityScaling(), ENCODED, how)

    np.testing.assert_allclose(scaled, ROOTS, rtol=1e-6)
    assert scaled.dtype == np.float32


@pytest.mark.parametrize(
    "options", [{"method": "none"}, {"method": "log", "floor": 1e-3}, {"exponent": 0.5}]
)
def test_16_bit_patterns_are_scaled_like_raw_ones(options):
    layer = IntensityScaling(**options)

    np.testing.assert_allclose(layer(ENCODED), layer(ROOTS**4), rtol=1e-5)


def test_a_largest_intensity_that_is_none_is_0():
    for largest in (np.nan, -1.0):
        encoded = {**ENCODED, "pattern_max": np.full(3, largest, np.float32)}
        assert not np.any(IntensityScaling()(encoded))


def test_16_bit_patterns_within_a_model_in_half_precision():
    inputs = {
        "cbed_stack": keras.Input((3, 2, 2), name="cbed_stack", dtype="uint16"),
        "pattern_max": keras.Input((3,), name="pattern_max"),
    }
    outputs = IntensityScaling(dtype="mixed_float16")(inputs)
    assert outputs.shape == (None, 3, 2, 2)
    assert outputs.dtype == "float16"
    batch = {name: value[None] for name, value in ENCODED.items()}
    scaled = keras.Model(inputs, outputs).predict(batch, verbose=0)
    np.testing.assert_allclose(scaled[0], ROOTS, rtol=1e-3)


def test_half_precision_is_left_for_the_scaled_values():
    # 1e-8 is 0 in float16, its fourth root is not: cast after the root, never before.
    layer = IntensityScaling(dtype="mixed_float16")
    scaled = np.asarray(layer(np.float32([1e-8, 16.0, 1e6])))

    assert scaled.dtype == np.float16
    np.testing.assert_allclose(scaled, [1e-2, 2.0, 31.62], rtol=1e-3)


def test_half_precision_within_a_model():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, IntensityScaling(dtype="mixed_float16")(inputs))

    scaled = model.predict(np.float32([[1e-8, 16.0, np.nan, 0]]), verbose=0)
    np.testing.assert_allclose(scaled, [[1e-2, 2.0, 0, 0]], rtol=1e-3)


@pytest.mark.parametrize("options", [{}, {"method": "log", "floor": 1e-6}, {"exponent": 0.3}])
def test_it_is_saved_with_the_model(tmp_path, options):
    inputs = keras.Input((7,))
    model = keras.Model(inputs, IntensityScaling(**options, name="scaling")(inputs))
    model.save(tmp_path / "m.keras")

    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(RAW[None]), model(RAW[None]))
    assert again.get_layer("scaling").get_config() == model.get_layer("scaling").get_config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "pow"}, "method is 'pow', should be one of power, log, none"),
        ({"exponent": 0}, "exponent is 0, should be above 0"),
        ({"floor": -1.0}, "floor is -1.0, should be above 0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        IntensityScaling(**options)
