import csv
import json

import h5py
import numpy as np
import pytest
from archives import write_file

import cbed_tf
from cbed_tf.__main__ import main
from cbed_tf.manifest import load_index
from models import load_trained_model, prediction
from models.options import TrainingOptions
from models.training import train
from pipelines import load_dataset


def predict(run_dir, source, output, *words):
    return main(
        ["predict", f"--run_dir={run_dir}", f"--input={source}", f"--output={output}", *words]
    )


def read_rows(path):
    with path.open(newline="") as stream:
        return {row["sample_id"]: row for row in csv.DictReader(stream)}


def test_hdf5_file_and_its_shards_get_equal_predictions(sample_dataset, tmp_path):
    """On the packaged archive: `cbed predict` reads HDF5, `model.predict` the converted records."""
    options = TrainingOptions(("space_group", "d_hkls_angstrom"), epochs=1, batch_size=16)
    train(sample_dataset, tmp_path / "run", options)
    source = cbed_tf.sample_archive() / "batch_test_0.h5"
    assert predict(tmp_path / "run", source, tmp_path / "p.csv", "--batch_size=5") == 0
    rows = read_rows(tmp_path / "p.csv")

    images = load_dataset(sample_dataset, "test", 4).map(lambda images, _: images)
    answers = load_trained_model(tmp_path / "run").predict(images, verbose=0)
    ids = load_index(sample_dataset, "test", ["sample_id"])["sample_id"]
    assert {f"test/{sample_id}".encode() for sample_id in rows} == set(ids)
    for position, sample_id in enumerate(ids):
        row = rows[sample_id.decode().removeprefix("test/")]
        ranked = np.sort(answers["space_group"][position])[::-1]
        for rank in range(5):
            number = int(row[f"space_group_{rank + 1}"])
            probability = float(row[f"space_group_{rank + 1}_probability"])
            assert np.allclose(answers["space_group"][position, number - 1], probability, rtol=1e-5)
            assert np.allclose(ranked[rank], probability, rtol=1e-5)
        distances = [float(row[f"d_hkls_angstrom_{view}"]) for view in (1, 2, 3)]
        assert np.allclose(answers["d_hkls_angstrom"][position], distances, rtol=1e-5)


def test_good_samples_are_predicted_beside_refused_ones(toy_run, tmp_path, capsys):
    source = write_file(tmp_path / "new.h5", [0, 1, 2])
    with h5py.File(source, "r+") as file:
        file["sample_0_1/cbed_stack"][1, 2, 3] = np.nan
    output = tmp_path / "p.csv"
    assert predict(toy_run, source, output, f"--figure={tmp_path / 'p.png'}") == 3
    captured = capsys.readouterr()
    assert "refused new/sample_0_1: cbed_stack has 1 pixel(s) that are not a number" in captured.err
    assert "2 samples predicted" in captured.out
    assert "p.rejected.jsonl" in captured.out
    assert list(read_rows(output)) == ["new/sample_0_0", "new/sample_1_0"]
    (line,) = (tmp_path / "p.rejected.jsonl").read_text().splitlines()
    rejection = json.loads(line)
    assert rejection["sample_id"] == "new/sample_0_1"
    assert rejection["file"] == str(source)
    assert "[1, 2, 3]" in rejection["reason"]
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_size_leaves_a_table_without_rows(toy_run, tmp_path, capsys):
    source = write_file(tmp_path / "large.h5", [0], height=48, width=64)
    assert predict(toy_run, source, tmp_path / "p.csv") == 3
    assert "shape (3, 48, 64), the model takes (3, 24, 32)" in capsys.readouterr().err
    assert read_rows(tmp_path / "p.csv") == {}
    assert (tmp_path / "p.csv").read_text().startswith("sample_id,space_group,")


def test_batch_size_changes_no_answer(toy_run, toy_archive, tmp_path):
    for batch_size in (1, 16):
        words = [f"--batch_size={batch_size}", "--checkpoint=last"]
        assert predict(toy_run, toy_archive, tmp_path / f"{batch_size}.csv", *words) == 0
    ones, many = read_rows(tmp_path / "1.csv"), read_rows(tmp_path / "16.csv")
    assert list(ones) == list(many)
    assert len(ones) == 16
    for sample_id, row in ones.items():
        assert float(row["energy_keV"]) == pytest.approx(
            float(many[sample_id]["energy_keV"]), rel=1e-5
        )


def test_existing_output_is_refused(toy_run, toy_archive, tmp_path, capsys):
    for name in ("p.csv", "p.rejected.jsonl"):
        (tmp_path / name).write_text("precious")
        assert predict(toy_run, toy_archive, tmp_path / "p.csv") == 1
        assert f"{name} exists, and nothing is overwritten" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "precious"
        (tmp_path / name).unlink()
    assert predict(toy_run, toy_archive, tmp_path / "no" / "p.csv") == 1
    assert "there is no folder" in capsys.readouterr().err


def test_interruption_leaves_no_file(toy_run, toy_archive, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "space_group_captions", interrupt)
    words = ["--batch_size=2", f"--figure={tmp_path / 'p.png'}"]
    assert predict(toy_run, toy_archive, tmp_path / "p.csv", *words) == 130
    assert list(tmp_path.iterdir()) == []
