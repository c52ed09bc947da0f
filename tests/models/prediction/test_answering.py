import json

import keras
import numpy as np
import pytest

from models import build_model, load_trained_model
from models.networks.probabilities import coarsen
from models.prediction import calibration
from models.prediction.answering import AnsweringModel, calibrate, load_answering_model
from models.saving.runs import checkpoint_path
from pipelines.targets import TARGETS, get_targets


def make_model(known=False):
    """Probabilities straight from pixels, some of them exactly 0, with all that depends on them."""
    images = keras.Input((3, 10, 23), name="cbed_stack")
    first = keras.layers.Flatten()(images)[:, :230]
    answers = {"space_group": first / keras.ops.sum(first, axis=1, keepdims=True)}
    for key in ("crystal_system", "point_group", "composition"):
        count = len(TARGETS[key].class_names)
        answers[key] = keras.ops.softmax(keras.layers.Flatten()(images)[:, :count])
    answers["energy_keV"] = keras.layers.Flatten()(images)[:, :1]
    if not known:
        return keras.Model(images, answers)
    energy = keras.Input((1,), name="energy_keV")
    distances = keras.Input((3,), name="d_hkls_angstrom")
    answers["energy_keV"] = energy + keras.ops.sum(distances, axis=1, keepdims=True)
    inputs = {"energy_keV": energy, "cbed_stack": images, "d_hkls_angstrom": distances}
    return keras.Model(inputs, answers)


def images(samples=5):
    stack = np.random.default_rng(0).uniform(0, 1, (samples, 3, 10, 23)) ** 30
    stack[:, 0, 3] = 0
    return stack.astype(np.float32)


def calibrated_by_numpy(answers, temperatures):
    expected = dict(answers)
    for key, temperature in temperatures.items():
        expected[key] = calibration.apply_temperature(answers[key], temperature)
    if "space_group" in temperatures:
        for key in ("crystal_system", "point_group"):
            expected[key] = coarsen(TARGETS[key], expected["space_group"])
    return expected


@pytest.mark.parametrize("temperatures", [
    {"space_group": 1.7},
    {"space_group": 0.4, "crystal_system": 3.0},
    {"crystal_system": 2.0, "point_group": 0.5},
])  # fmt: skip
def test_the_graph_calibrates_as_numpy_does(temperatures):
    model = make_model()
    plain = model.predict_on_batch(images())
    assert (plain["space_group"] == 0).any()
    answers = calibrate(model, temperatures).predict_on_batch(images())
    expected = calibrated_by_numpy(plain, temperatures)
    assert answers.keys() == expected.keys()
    for key, values in expected.items():
        assert answers[key].dtype == np.float32
        np.testing.assert_allclose(answers[key], values, rtol=2e-5, atol=1e-7, err_msg=key)
    changed = {key for key in plain if not np.allclose(plain[key], answers[key], atol=1e-4)}
    coarser = {"crystal_system", "point_group"} if "space_group" in temperatures else set()
    assert changed == set(temperatures) | coarser


def test_without_temperatures_the_model_is_itself():
    model = make_model()
    assert calibrate(model, {}) is model


def test_a_run_with_temperatures(tmp_path):
    make_model().save(checkpoint_path(tmp_path, "last"))
    assert load_answering_model(tmp_path, "last").temperatures == {}
    fitted = {"space_group": 2.0, "crystal_system": 3.0}
    calibration.save_temperatures(tmp_path, "last", fitted)
    model = load_answering_model(tmp_path, "last")
    assert model.temperatures == {"space_group": 2.0}  # which the crystal system follows
    assert model.image_shape == (3, 10, 23)
    assert model.known_sizes == {}
    plain = load_trained_model(tmp_path, "last").predict_on_batch(images())
    expected = calibrated_by_numpy(plain, fitted)
    answers = model.ask({"cbed_stack": images()})
    for key, values in expected.items():
        np.testing.assert_allclose(answers[key], values, rtol=2e-5, atol=1e-7)
    uncalibrated = load_answering_model(tmp_path, "last", calibrated=False)
    assert uncalibrated.temperatures == {}
    np.testing.assert_array_equal(
        uncalibrated.ask({"cbed_stack": images()})["space_group"], plain["space_group"]
    )


def test_known_inputs_are_asked_by_name(tmp_path):
    make_model(known=True).save(checkpoint_path(tmp_path, "best"))
    calibration.save_temperatures(tmp_path, "best", {"space_group": 2.0})
    model = load_answering_model(tmp_path)
    assert model.image_shape == (3, 10, 23)
    assert model.known_sizes == {"energy_keV": 1, "d_hkls_angstrom": 3}
    known = {
        "d_hkls_angstrom": np.array([[1, 2, 3]] * 5, np.float32),
        "energy_keV": np.arange(5, dtype=np.float32)[:, None],
    }
    answers = model.ask({"cbed_stack": images(), **known})
    assert answers["energy_keV"][:, 0].tolist() == [6, 7, 8, 9, 10]


def test_temperatures_of_an_earlier_model_are_not_applied(tmp_path):
    make_model().save(checkpoint_path(tmp_path, "best"))
    calibration.save_temperatures(tmp_path, "best", {"space_group": 2.0})
    document = json.loads((tmp_path / "calibration.json").read_text())
    document["best"]["model_crc32c"] = "00000000"
    (tmp_path / "calibration.json").write_text(json.dumps(document))
    assert load_answering_model(tmp_path).temperatures == {}


@pytest.mark.parametrize(("fusion", "expected"), [("mean", True), ("channels", False)])
def test_only_models_that_leave_out_missing_views_take_them(fusion, expected):
    model = build_model((3, 24, 32), get_targets(["space_group"]), {}, fusion=fusion)
    assert AnsweringModel(model, {}).takes_missing_views == expected
    assert (
        AnsweringModel(calibrate(model, {"space_group": 2.0}), {}).takes_missing_views == expected
    )
