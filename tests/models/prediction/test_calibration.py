import json
import math

import numpy as np
import pytest

from cbed_tf.errors import CbedError
from models.prediction import calibration


@pytest.fixture
def run_dir(tmp_path):
    for name in ("best", "last"):
        (tmp_path / f"{name}.keras").write_bytes(name.encode())
    return tmp_path


def test_temperature_of_two_classes_by_hand():
    """All answers are 0.8 to 0.2, three of four are right: calibrated they are 0.75 to 0.25.

    Odds of 4 become odds of 3: 4**(1/T) = 3.
    """
    probabilities = np.tile(np.array([[0.8, 0.2]], np.float32), (4, 1))
    temperature = calibration.fit_temperature(probabilities, np.array([0, 0, 0, 1]))
    assert temperature == pytest.approx(math.log(4) / math.log(3), rel=1e-6)
    tempered = calibration.apply_temperature(probabilities, temperature)
    np.testing.assert_allclose(tempered[0], [0.75, 0.25], rtol=1e-6)
    assert tempered.dtype == np.float32


def test_temperature_that_sharpened_answers_is_found_again():
    """Labels drawn from probabilities q; a model that answers q**3 needs T = 3."""
    random = np.random.default_rng(0)
    true = random.dirichlet(np.ones(5), 20_000)
    labels = (random.random((20_000, 1)) > true.cumsum(axis=1)).sum(axis=1)
    sharpened = calibration.apply_temperature(true, 1 / 3)
    assert calibration.fit_temperature(true, labels) == pytest.approx(1, abs=0.03)
    assert calibration.fit_temperature(sharpened, labels) == pytest.approx(3, rel=0.03)


def test_temperatures_without_a_maximum_end_at_the_bounds():
    sure = np.array([[0.9, 0.1], [1.0, 0.0]])
    assert calibration.fit_temperature(sure, np.array([0, 0])) == pytest.approx(0.1, rel=1e-4)
    assert calibration.fit_temperature(sure, np.array([1, 1])) == pytest.approx(10, rel=1e-4)


def test_temperatures_are_kept_for_each_model(run_dir):
    assert calibration.load_temperatures(run_dir, "best") == {}
    calibration.save_temperatures(run_dir, "best", {"space_group": 1.5})
    calibration.save_temperatures(run_dir, "last", {"crystal_system": 0.75})
    assert calibration.load_temperatures(run_dir, "best") == {"space_group": 1.5}
    assert calibration.load_temperatures(run_dir, "last") == {"crystal_system": 0.75}


def test_temperatures_of_an_earlier_model_do_not_count(run_dir, caplog):
    calibration.save_temperatures(run_dir, "best", {"space_group": 1.5})
    (run_dir / "best.keras").write_bytes(b"trained further")
    assert calibration.load_temperatures(run_dir, "best") == {}
    assert "of another best model" in caplog.text


def test_temperatures_belong_to_the_model_that_was_loaded(run_dir):
    """A training replaced it between the loading and the saving."""
    loaded = calibration.model_checksum(run_dir, "best")
    (run_dir / "best.keras").write_bytes(b"trained further")
    calibration.save_temperatures(run_dir, "best", {"space_group": 1.5}, loaded)
    assert calibration.load_temperatures(run_dir, "best") == {}
    assert calibration.load_temperatures(run_dir, "best", loaded) == {"space_group": 1.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        ("[]", "no object"),
        ('{"best": {"temperatures": {}}}', "model_crc32c"),
        ({"space_group": 0.0}, "should be 0.1 to 10.0"),
        ({"space_group": math.nan}, "should be 0.1 to 10.0"),
        ({"spacegroup": 1.0}, "spacegroup"),
    ],
)
def test_damaged_files_are_refused(run_dir, content, message):
    path = run_dir / "calibration.json"
    if isinstance(content, dict):
        calibration.save_temperatures(run_dir, "best", content)
    else:
        path.write_text(content)
    with pytest.raises(CbedError, match=message) as refusal:
        calibration.load_temperatures(run_dir, "best")
    assert str(path) in str(refusal.value)


def test_the_file_says_what_it_is_for(run_dir):
    calibration.save_temperatures(run_dir, "best", {"space_group": 1.25})
    document = json.loads((run_dir / "calibration.json").read_text())
    # The CRC-32C of b"best", by another implementation: bit by bit.
    value = 0xFFFFFFFF
    for byte in b"best":
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    checksum = f"{value ^ 0xFFFFFFFF:08x}"
    assert document == {"best": {"model_crc32c": checksum, "temperatures": {"space_group": 1.25}}}
