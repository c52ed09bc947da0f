import csv
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import cbed_tf
from cbed_tf.__main__ import main
from models.exporting import export_check, saved_model
from models.exporting.export import export_model
from models.prediction import calibration
from models.prediction.training_intensities import measure

ROOT = Path(cbed_tf.__file__).parents[1]

# A process that can import none of ours, nor keras; it asks about a whole file.
PLAIN = '''
import importlib.machinery
import sys

class Missing:
    """Finds the packages, as TensorFlow asks where keras lies, and cannot load them."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cbed_tf", "models", "pipelines", "keras", "tf_keras"):
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        raise ImportError(f"{spec.name} is not here")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Missing())
EXAMPLE
import numpy as np
with h5py.File("unknown.h5") as file:
    names = sorted(file)
    patterns = np.stack([file[name]["cbed_stack"][()] for name in names])
answers = model.signatures["serving_default"](cbed_stack=tf.constant(patterns))
np.savez("answers.npz", names=names, **{key: value.numpy() for key, value in answers.items()})
assert not any(name.partition(".")[0] in ("cbed_tf", "models", "keras") for name in sys.modules)
'''


def readme_example():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if "tf.saved_model.load" in block]
    return block


@pytest.fixture
def calibrated_run(toy_run, tmp_path):
    """The run of every target, with temperatures."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("best.keras", "intensities.json", "run.flags"):
        (folder / name).symlink_to(toy_run / name)
    calibration.save_temperatures(folder, "best", {"space_group": 1.6, "crystal_system": 3.0})
    return folder


def test_plain_tensorflow_answers_what_cbed_predict_answers(
    calibrated_run, toy_archive, tmp_path, capsys
):
    assert main(["export", f"--run_dir={calibrated_run}", f"--output={tmp_path / 'exported'}"]) == 0
    said = capsys.readouterr().out
    assert "MiB" in said
    stored = tf.train.list_variables(str(tmp_path / "exported" / "variables" / "variables"))
    count = sum(math.prod(shape) for name, shape in stored if name.startswith("weights"))
    assert f"{count:,} parameters" in said
    assert "probabilities of space_group are calibrated (temperature 1.6)" in said
    assert "ms a sample in batches of 1 (" in said
    assert "ms a sample in batches of 32 (" in said
    (tmp_path / "unknown.h5").symlink_to(toy_archive / "batch_train_0.h5")
    words = [f"--input={tmp_path / 'unknown.h5'}", f"--output={tmp_path / 'p.csv'}"]
    assert main(["predict", f"--run_dir={calibrated_run}", *words]) == 0

    program = PLAIN.replace("EXAMPLE", readme_example())
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "p.csv").open(newline="") as stream:
        rows = {row["sample_id"].partition("/")[2]: row for row in csv.DictReader(stream)}
    answers = np.load(tmp_path / "answers.npz")
    assert len(rows) == len(answers["names"]) == 8
    for position, name in enumerate(answers["names"]):
        compare(rows[name], {key: answers[key][position] for key in answers.files[1:]})
    first = rows["sample_0_0"]
    assert done.stdout.startswith(f"space group {first['space_group']} (")
    assert "angstrom" in done.stdout


def compare(row, answers):
    """A row of predictions.csv has six digits."""
    for rank in range(1, 6):
        chance = answers["space_group"][int(row[f"space_group_{rank}"]) - 1]
        assert float(row[f"space_group_{rank}_probability"]) == pytest.approx(chance, rel=1e-5)
    for key in ("crystal_system", "point_group"):
        assert float(row[f"{key}_probability"]) == pytest.approx(answers[key].max(), rel=1e-5)
    assert float(row["energy_keV"]) == pytest.approx(answers["energy_keV"][0], rel=1e-5)
    for key, names in (("abc_angstrom", "abc"), ("d_hkls_angstrom", "123")):
        for number, name in zip(answers[key], names, strict=True):
            assert float(row[f"{key}_{name}"]) == pytest.approx(number, rel=1e-5)


def test_the_description_says_what_goes_in_and_comes_out(
    calibrated_run, toy_dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(export_check, "_SECONDS", 0)
    export_model(calibrated_run, tmp_path / "served" / "1")
    about = json.loads((tmp_path / "served" / "1" / "cbed.json").read_text())
    patterns = about["inputs"].pop("cbed_stack")
    assert about["inputs"] == {}
    assert patterns["shape"] == [None, 3, 24, 32]
    seen = measure(toy_dataset)
    assert patterns["largest_intensity_in_training"] == [seen.dimmest, seen.brightest]
    outputs = about["outputs"]
    assert outputs["space_group"]["names"] == [str(number) for number in range(1, 231)]
    assert outputs["space_group"]["temperature"] == 1.6
    assert "temperature" not in outputs["crystal_system"]
    assert outputs["energy_keV"] == {
        "kind": "quantities", "unit": "keV", "shape": [None, 1], "names": [],
    }  # fmt: skip
    assert outputs["abc_angstrom"]["names"] == ["a", "b", "c"]
    assert outputs["composition"]["names"][:3] == ["H", "He", "Li"]
    assert f"--data_dir={toy_dataset}" in about["run_flags"]
    assert about["versions"]["keras"] == keras.__version__


def save_told_model(folder):
    """A run whose model answers what it is told, with a deviation."""
    images = keras.Input((2, 4, 5), name="cbed_stack")
    energy = keras.Input((1,), name="energy_keV")
    distances = keras.Input((2,), name="d_hkls_angstrom")
    total = keras.ops.sum(images, axis=(1, 2, 3))[:, None]
    answers = {"energy_keV": energy + total, "energy_keV_std": distances[:, 1:]}
    inputs = {"cbed_stack": images, "energy_keV": energy, "d_hkls_angstrom": distances}
    folder.mkdir()
    keras.Model(inputs, answers).save(folder / "last.keras")


def test_known_inputs_are_further_named_inputs(tmp_path):
    save_told_model(tmp_path / "run")
    done = export_model(tmp_path / "run", tmp_path / "exported", "last")
    assert done.difference <= 1e-5
    assert [latency.batch_size for latency in done.latencies] == [1, 32]
    for latency in done.latencies:
        assert 0 < latency.least_ms <= latency.median_ms <= latency.most_ms
    assert done.size_bytes == saved_model.size_bytes(tmp_path / "exported") > 1000
    ask = saved_model.load_saved_model(tmp_path / "exported")
    for samples in (1, 3):
        answers = ask(
            {
                "cbed_stack": np.ones((samples, 2, 4, 5), np.float32),
                "energy_keV": np.full((samples, 1), 100, np.float32),
                "d_hkls_angstrom": np.tile(np.float32([3, 2.5]), (samples, 1)),
            }
        )
        assert answers["energy_keV"].tolist() == [[140]] * samples
        assert answers["energy_keV_std"].tolist() == [[2.5]] * samples
    about = json.loads((tmp_path / "exported" / "cbed.json").read_text())
    assert about["inputs"]["d_hkls_angstrom"] == {
        "dtype": "float32", "shape": [None, 2], "unit": "angstrom",
    }  # fmt: skip
    assert about["outputs"]["energy_keV_std"] == {
        "kind": "standard deviations", "of": "energy_keV", "unit": "keV", "shape": [None, 1],
    }  # fmt: skip
    assert about["checkpoint"] == "last"


def test_a_model_that_answers_otherwise_is_thrown_away(tmp_path, monkeypatch, capsys):
    save_told_model(tmp_path / "run")
    load = saved_model.load_saved_model

    def off_by_a_little(folder):
        ask = load(folder)
        return lambda inputs: {key: values * 1.00002 for key, values in ask(inputs).items()}

    monkeypatch.setattr(saved_model, "load_saved_model", off_by_a_little)
    words = [f"--run_dir={tmp_path / 'run'}", f"--output={tmp_path / 'x'}", "--checkpoint=last"]
    assert main(["export", *words]) == 1
    assert "does not answer what the run's model answers: energy_keV" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_interruption_and_full_disk_leave_nothing(tmp_path, monkeypatch, capsys):
    save_told_model(tmp_path / "run")
    words = [f"--run_dir={tmp_path / 'run'}", f"--output={tmp_path / 'x'}", "--checkpoint=last"]

    def fail(error):
        def measure_latency(*_):
            raise error

        monkeypatch.setattr(export_check, "measure_latency", measure_latency)

    fail(KeyboardInterrupt())
    assert main(["export", *words]) == 130
    fail(OSError(28, "No space left on device"))
    assert main(["export", *words]) == 1
    assert "x cannot be written: [Errno 28] No space left" in capsys.readouterr().err
    fail(tf.errors.ResourceExhaustedError(None, None, "No space left on device"))
    assert main(["export", *words]) == 1
    assert "x cannot be written: No space left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_existing_output_and_missing_run_are_refused(tmp_path, capsys):
    (tmp_path / "x").mkdir()
    assert main(["export", f"--run_dir={tmp_path}", f"--output={tmp_path / 'x'}"]) == 1
    assert "x exists, and nothing is overwritten" in capsys.readouterr().err
    assert main(["export", f"--run_dir={tmp_path}", f"--output={tmp_path / 'y'}"]) == 1
    assert "holds no trained model best.keras" in capsys.readouterr().err
    assert main(["export", f"--run_dir={tmp_path}", "--output=y", "--checkpoint=first"]) == 2
