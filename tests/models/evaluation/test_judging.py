import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from cbed_tf.__main__ import main
from cbed_tf.dataset.manifest import load_index, load_manifest
from cbed_tf.errors import CbedError
from models import evaluate, load_trained_model
from models.evaluation import judging
from models.prediction.calibration import fit_temperature, load_temperatures
from pipelines import load_dataset

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def run(toy_run, tmp_path_factory):
    """A copy of the toy run: an evaluation leaves temperatures, which predictions would use."""
    return shutil.copytree(toy_run, tmp_path_factory.mktemp("judged") / "run")


@pytest.fixture(scope="module")
def evaluated(run, toy_dataset):
    words = [f"--run_dir={run}", f"--data_dir={toy_dataset}", "--batch_size=3"]
    assert main(["evaluate", *words]) == 0
    return json.loads((run / "metrics-test.json").read_text())


def test_metrics_equal_an_independent_count(evaluated, run, toy_dataset):
    images, labels = next(iter(load_dataset(toy_dataset, "test", 99, targets=["energy_keV"])))
    answers = load_trained_model(run).predict(images.numpy(), verbose=0)
    truth = load_index(toy_dataset, "test")
    hits = answers["space_group"].argmax(axis=1) + 1 == truth["space_group"]
    scores = evaluated["scores"]
    assert scores["space_group"]["top1"]["model"] == hits.mean()
    error = np.abs(answers["energy_keV"] - labels["energy_keV"].numpy())
    assert scores["energy_keV"]["mae"]["model"] == pytest.approx(error.mean(), rel=1e-5)
    median = scores["energy_keV"]["median_absolute_error"]["model"]
    assert median == pytest.approx(np.median(error), rel=1e-5)
    mean = load_index(toy_dataset, "train")["energy_keV"].mean()
    baseline = np.abs(truth["energy_keV"] - mean)
    assert scores["energy_keV"]["mae"]["baseline"] == pytest.approx(baseline.mean(), rel=1e-5)
    rmse = math.sqrt((baseline**2).mean())
    assert scores["energy_keV"]["rmse"]["baseline"] == pytest.approx(rmse, rel=1e-5)


def test_metrics_say_what_was_judged(evaluated):
    assert evaluated["split"] == "test"
    assert evaluated["checkpoint"] == "best"
    assert (evaluated["samples"], evaluated["materials"]) == (4, 2)
    assert evaluated["baselines_from"] == "train"
    assert evaluated["warnings"] == []
    assert evaluated["bootstrap"] == {
        "resamples": 1000,
        "seed": 0,
        "level": 0.95,
        "unit": "material",
    }
    assert evaluated["scores"]["space_group"]["classes_present"] == 2
    assert list(evaluated["scores"]) == [
        "space_group",
        "crystal_system_from_space_group",
        "point_group_from_space_group",
        "crystal_system",
        "point_group",
        "energy_keV",
        "d_hkls_angstrom",
        "abc_angstrom",
        "angles_degree",
        "composition",
    ]
    for key, scores in evaluated["scores"].items():
        name = "mae" if "mae" in scores else "top1"
        low, high = scores[name]["interval"]
        assert low <= high
        # All samples of a material have all labels in common but the energy.
        assert ("per_material" in scores) == (key != "energy_keV")
    assert all(
        mistake["true"] != mistake["answer"] and 0 < mistake["probability"] <= 1
        for mistake in evaluated["mistakes"]
    )


def test_temperatures_are_fitted_on_dev_and_kept(evaluated, run, toy_dataset):
    images, labels = next(iter(load_dataset(toy_dataset, "dev", 99)))
    answers = load_trained_model(run).predict(images.numpy(), verbose=0)
    expected = fit_temperature(answers["space_group"], labels["space_group"].numpy())
    kept = load_temperatures(run, "best")
    assert kept == {"space_group": pytest.approx(expected, rel=1e-4)}
    calibration = evaluated["calibration"]
    assert calibration["temperatures"] == kept
    assert calibration["fitted_on"] == "dev"
    assert not calibration["cross_fitted"]
    assert calibration["targets"]["space_group"]["temperatures"] == [kept["space_group"]]
    assert "crystal_system_from_space_group" in calibration["targets"]


def test_dev_is_judged_under_temperatures_of_its_other_half(evaluated, run, toy_dataset):
    document = evaluate(run, toy_dataset, "dev", resamples=0)
    assert document["calibration"]["cross_fitted"]
    assert len(document["calibration"]["targets"]["space_group"]["temperatures"]) == 2
    assert document["calibration"]["temperatures"] == load_temperatures(run, "best")
    assert "interval" not in document["scores"]["space_group"]["top1"]


def test_pictures_and_report(evaluated, run):
    names = {path.name for path in (run / "figures-test").iterdir()}
    assert names >= {
        "reliability.png",
        "crystal_system.png",
        "space_group.png",
        "energy_keV.png",
        "d_hkls_angstrom.png",
        "abc_angstrom.png",
        "angles_degree.png",
        "composition.png",
        "mistakes.png",
    }
    for name in names:
        assert (run / "figures-test" / name).read_bytes().startswith(PNG)
    assert "<h1>run on test</h1>" in (run / "report-test.html").read_text()


def test_last_model_has_files_of_its_own(evaluated, run, toy_dataset, capsys):
    words = [f"--run_dir={run}", f"--data_dir={toy_dataset}", "--resamples=10"]
    assert main(["evaluate", *words, "--split=train", "--checkpoint=last"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("train: 8 samples of 4 materials; last model")
    assert out[1].startswith("WARNING: This is the training split")
    assert any(line.startswith("space group") and "top-1" in line for line in out)
    assert out[-1] == f"more in {run / 'report-train-last.html'}"
    assert len(out) < 30
    document = json.loads((run / "metrics-train-last.json").read_text())
    assert document["checkpoint"] == "last"
    assert document["bootstrap"]["resamples"] == 10
    assert (run / "figures-train-last" / "mistakes.png").exists()


def test_a_run_beside_another(evaluated, run, toy_dataset, tmp_path, capsys):
    """The other run knows space groups alone; it is the same model, so nothing differs."""
    other = tmp_path / "other"
    other.mkdir()
    model = load_trained_model(run)
    keras_model = type(model)(model.input, {"space_group": model.output["space_group"]})
    keras_model.save(other / "best.keras")
    words = [f"--run_dir={run}", f"--data_dir={toy_dataset}", f"--compare={other}"]
    assert main(["evaluate", *words]) == 0
    out = capsys.readouterr().out
    assert "difference" in out
    assert "its 95 % interval" in out
    document = json.loads((run / "metrics-test-vs-other.json").read_text())
    assert document["compared_with"] == str(other)
    top1 = document["scores"]["space_group"]["top1"]
    assert top1["other"] == top1["model"] == evaluated["scores"]["space_group"]["top1"]["model"]
    assert top1["difference_interval"] == [0, 0]
    assert top1["other_interval"] == top1["interval"]
    assert "other" not in document["scores"]["energy_keV"]["mae"]
    assert load_temperatures(other, "best").keys() == {"space_group"}
    page = (run / "report-test-vs-other.html").read_text()
    assert "<h1>run and other on test</h1>" in page
    # What stood there before is as it was.
    assert json.loads((run / "metrics-test.json").read_text()) == evaluated


def test_refusals(run, toy_dataset, sample_dataset, tmp_path, capsys):
    assert main(["evaluate", f"--run_dir={tmp_path}", f"--data_dir={toy_dataset}"]) == 1
    assert "holds no trained model" in capsys.readouterr().err
    assert main(["evaluate", f"--run_dir={run}", f"--data_dir={tmp_path}"]) == 1
    assert "holds no finished data set" in capsys.readouterr().err
    assert main(["evaluate", f"--run_dir={run}", f"--data_dir={sample_dataset}"]) == 1
    assert "takes (views, height, width) (3, 24, 32)" in capsys.readouterr().err
    words = [f"--run_dir={run}", f"--data_dir={toy_dataset}"]
    assert main(["evaluate", *words, "--split=validation"]) == 2
    assert "validation" in capsys.readouterr().err
    assert main(["evaluate", *words, "--resamples=-1"]) == 2
    assert "resamples" in capsys.readouterr().err
    assert main(["evaluate", *words, f"--compare={tmp_path}"]) == 1
    assert f"{tmp_path} holds no trained model" in capsys.readouterr().err
    with pytest.raises(CbedError, match="is compared with itself"):
        evaluate(run, toy_dataset, compare=f"{run}/")


@pytest.fixture
def bare_run(toy_run, tmp_path):
    """The toy run's model, without temperatures."""
    (tmp_path / "bare").mkdir()
    shutil.copy(toy_run / "best.keras", tmp_path / "bare")
    return tmp_path / "bare"


def test_what_cannot_be_written_is_said(bare_run, toy_dataset, monkeypatch, capsys):
    def disk_is_full(*_):
        raise OSError(28, "No space left on device")

    for module in (judging, judging.calibration):
        monkeypatch.setattr(module, "write_atomically", disk_is_full)
    words = [f"--run_dir={bare_run}", f"--data_dir={toy_dataset}", "--resamples=0"]
    assert main(["evaluate", *words]) == 1
    said = capsys.readouterr().err
    assert f"the temperatures of {bare_run} cannot be kept: [Errno 28] No space" in said
    assert f"the evaluation in {bare_run} cannot be written: [Errno 28] No space" in said
    assert "4 samples of 2 materials" in said
    assert "top-1" in said
    assert [path.name for path in bare_run.iterdir()] == ["best.keras"]


def test_a_model_that_a_training_replaces_meanwhile_gets_no_temperatures(
    bare_run, toy_dataset, monkeypatch
):
    def ask_slowly(*arguments, **options):
        shutil.copy(bare_run / "next.keras", bare_run / "best.keras")
        return ask(*arguments, **options)

    ask = judging.ask
    (bare_run / "next.keras").write_bytes((bare_run / "best.keras").read_bytes() + b"learned")
    monkeypatch.setattr(judging, "ask", ask_slowly)
    document = evaluate(bare_run, toy_dataset, "dev", resamples=0)
    assert document["calibration"]["temperatures"]
    assert load_temperatures(bare_run, "best") == {}


def test_empty_splits(bare_run, toy_dataset, monkeypatch):
    manifest = load_manifest(toy_dataset)
    empty = dataclasses.replace(manifest.split("dev"), samples=0)
    splits = {**manifest.splits, "dev": empty}
    emptied = dataclasses.replace(manifest, splits=splits)
    monkeypatch.setattr(judging, "load_manifest", lambda _: emptied)
    with pytest.raises(CbedError, match="the dev split of .* has no samples"):
        evaluate(bare_run, toy_dataset, "dev")
    document = evaluate(bare_run, toy_dataset, resamples=0)
    assert document["calibration"]["fitted_on"] is None
