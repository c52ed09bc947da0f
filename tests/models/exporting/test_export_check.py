import keras
import numpy as np
import pytest

from models.exporting import saved_model
from models.exporting.export_check import check_equal, largest_difference, make_probe
from models.prediction.answering import AnsweringModel
from models.prediction.training_intensities import TrainingIntensities


def test_differences_are_relative_to_spread_or_size():
    others = {"wide": np.array([[10.0], [30.0]]), "narrow": np.array([[100.0], [100.001]])}
    near = {"wide": np.array([[10.0], [30.02]]), "narrow": np.array([[100.0], [100.001]])}
    difference, key = largest_difference(near, others)
    assert key == "wide"
    assert difference == pytest.approx(0.02 / 10)  # the two lie 10 from their mean
    near = {"wide": others["wide"], "narrow": np.array([[100.0], [100.002]])}
    assert largest_difference(near, others) == (pytest.approx(0.001 / 10.0001), "narrow")
    assert largest_difference(others, others)[0] == 0


def test_missing_outputs_and_numbers_are_infinitely_far():
    one = {"a": np.ones((2, 1))}
    assert largest_difference({}, one) == (np.inf, "a")
    assert largest_difference({**one, "b": np.ones((2, 1))}, one) == (np.inf, "b")
    assert largest_difference({"a": np.array([[1.0], [np.nan]])}, one) == (np.inf, "a")
    assert largest_difference({"a": np.ones((2, 2))}, one) == (np.inf, "a")


def test_the_probe_is_in_the_range_of_the_training():
    inputs = {
        "cbed_stack": keras.Input((3, 40, 50), name="cbed_stack"),
        "energy_keV": keras.Input((1,), name="energy_keV"),
    }
    total = keras.ops.sum(inputs["cbed_stack"], axis=(1, 2, 3))[:, None]
    model = AnsweringModel(keras.Model(inputs, {"energy_keV": inputs["energy_keV"] + total}), {})
    probe = make_probe(model, 4, TrainingIntensities(1e3, 1e5, 6.0))
    assert probe["cbed_stack"].shape == (4, 3, 40, 50)
    assert probe["cbed_stack"].dtype == np.float32
    assert 5e4 < probe["cbed_stack"].max() <= 1e5
    assert 0.1 <= probe["cbed_stack"].min() < 0.2
    assert probe["energy_keV"].shape == (4, 1)
    counted = make_probe(model, 1, TrainingIntensities(1e3, 1e5, np.inf))
    assert (counted["cbed_stack"] > 0).all()


def test_models_in_float16_are_asked_as_plain_graphs(tmp_path, monkeypatch):
    """Keras may have XLA compile a model that it asks, which rounds float16 elsewhere."""
    keras.utils.set_random_seed(0)
    images = keras.Input((2, 8, 8), name="cbed_stack")
    features = keras.layers.Flatten(dtype="float32")(images**0.25)
    for _ in range(3):
        features = keras.layers.Dense(32, "gelu", dtype="mixed_float16")(features)
    lengths = keras.layers.Dense(3, dtype="float32")(features)
    model = AnsweringModel(keras.Model(images, {"abc_angstrom": lengths}), {})
    saved_model.write_saved_model(model, tmp_path)
    monkeypatch.setattr(AnsweringModel, "ask", lambda *_: pytest.fail("asked by way of keras"))

    assert check_equal(model, saved_model.load_saved_model(tmp_path)) <= 1e-5
