import json

import numpy as np
import pytest

from cbed_tf.__main__ import main
from cbed_tf.manifest import load_index
from models import load_trained_model
from pipelines import load_dataset

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def evaluated(toy_run, toy_dataset):
    words = [f"--run_dir={toy_run}", f"--data_dir={toy_dataset}", "--batch_size=3"]
    assert main(["evaluate", *words]) == 0
    return json.loads((toy_run / "metrics-test.json").read_text())


def test_metrics_equal_an_independent_count(evaluated, toy_run, toy_dataset):
    images, labels = next(iter(load_dataset(toy_dataset, "test", 99, targets=["energy_keV"])))
    answers = load_trained_model(toy_run).predict(images.numpy(), verbose=0)
    truth = load_index(toy_dataset, "test")
    hits = answers["space_group"].argmax(axis=1) + 1 == truth["space_group"]
    scores = evaluated["scores"]
    assert scores["space_group"]["top1"]["model"] == hits.mean()
    error = np.abs(answers["energy_keV"] - labels["energy_keV"].numpy()).mean()
    assert scores["energy_keV"]["mae"]["model"] == pytest.approx(error, rel=1e-5)
    mean = load_index(toy_dataset, "train")["energy_keV"].mean()
    baseline = np.abs(truth["energy_keV"] - mean).mean()
    assert scores["energy_keV"]["mae"]["baseline"] == pytest.approx(baseline, rel=1e-5)


def test_metrics_say_what_was_judged(evaluated, toy_run, toy_dataset):
    assert evaluated["split"] == "test"
    assert evaluated["checkpoint"] == "best"
    assert (evaluated["samples"], evaluated["materials"]) == (4, 2)
    assert evaluated["baselines_from"] == "train"
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


def test_figures_are_pictures(evaluated, toy_run):
    names = {path.name for path in (toy_run / "figures-test").iterdir()}
    assert names == {
        "crystal_system.png",
        "patterns.png",
        "energy_keV.png",
        "d_hkls_angstrom.png",
        "abc_angstrom.png",
        "angles_degree.png",
    }
    for name in names:
        assert (toy_run / "figures-test" / name).read_bytes().startswith(PNG)


def test_last_model_has_files_of_its_own(evaluated, toy_run, toy_dataset, capsys):
    words = [f"--run_dir={toy_run}", f"--data_dir={toy_dataset}"]
    assert main(["evaluate", *words, "--split=train", "--checkpoint=last"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("train: 8 samples of 4 materials; last model")
    assert "space_group  top-1" in out
    assert json.loads((toy_run / "metrics-train-last.json").read_text())["checkpoint"] == "last"
    assert (toy_run / "figures-train-last" / "patterns.png").exists()


def test_refusals(toy_run, toy_dataset, sample_dataset, tmp_path, capsys):
    assert main(["evaluate", f"--run_dir={tmp_path}", f"--data_dir={toy_dataset}"]) == 1
    assert "holds no trained model" in capsys.readouterr().err
    assert main(["evaluate", f"--run_dir={toy_run}", f"--data_dir={tmp_path}"]) == 1
    assert "holds no finished data set" in capsys.readouterr().err
    assert main(["evaluate", f"--run_dir={toy_run}", f"--data_dir={sample_dataset}"]) == 1
    assert "takes (views, height, width) (3, 24, 32)" in capsys.readouterr().err
    words = [f"--run_dir={toy_run}", f"--data_dir={toy_dataset}"]
    assert main(["evaluate", *words, "--split=validation"]) == 2
    assert "validation" in capsys.readouterr().err
