import csv
import json
import shutil

import h5py
import keras
import numpy as np
import pytest
from archives import write_archive, write_file

import cbed_tf
from cbed_tf.__main__ import main
from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack
from cbed_tf.dataset.manifest import load_index
from models import load_trained_model
from models.learning.options import TrainingOptions
from models.prediction import calibration
from models.prediction import predict as prediction
from models.training.train import train
from pipelines import load_dataset


def predict(run_dir, source, output, *words):
    return main(
        ["predict", f"--run_dir={run_dir}", f"--input={source}", f"--output={output}", *words]
    )


def read_rows(path, name="sample_id"):
    with path.open(newline="") as stream:
        return {row[name]: row for row in csv.DictReader(stream)}


@pytest.fixture
def run_told_the_energy(tmp_path):
    """A run whose model answers what it is told, and 62 for every pattern."""
    images = keras.Input((3, 24, 32), name="cbed_stack")
    energy = keras.Input((1,), name="energy_keV")
    nothing = 0 * keras.ops.sum(images, axis=(1, 2, 3))[:, None]
    answers = {
        "space_group": keras.ops.softmax(nothing + 8 * keras.ops.one_hot(61, 230)[None]),
        "energy_keV": 2 * energy,
        "energy_keV_std": energy + 0.5,
    }
    (tmp_path / "run").mkdir()
    keras.Model({"cbed_stack": images, "energy_keV": energy}, answers).save(
        tmp_path / "run" / "best.keras"
    )
    return tmp_path / "run"


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


def interrupted(*_):
    raise KeyboardInterrupt


def disk_is_full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("name", ["_stacked", "_write_joint_table", "write_atomically"])
@pytest.mark.parametrize(("fail", "code"), [(interrupted, 130), (disk_is_full, 1)])
def test_what_ends_early_leaves_no_file(
    toy_run, toy_archive, tmp_path, monkeypatch, capsys, name, fail, code
):
    """In the second batch, or with some of the files written; one sample is refused."""
    source = shutil.copytree(toy_archive, tmp_path / "source")
    with h5py.File(source / "batch_test_0.h5", "r+") as file:
        file["sample_6_0/cbed_stack"][0, 0, 0] = np.nan
    (tmp_path / "out").mkdir()
    words = [source, tmp_path / "out" / "p.csv", "--batch_size=2", "--joint"]
    words.append(f"--figure={tmp_path / 'out' / 'p.png'}")
    calls = []

    def fail_at_last(*arguments):
        calls.append(arguments)
        if name != "_stacked" or len(calls) > 1:
            fail()
        return stacked(*arguments)

    stacked = prediction._stacked
    with monkeypatch.context() as patch:
        patch.setattr(prediction, name, fail_at_last)
        assert predict(toy_run, *words) == code
    message = {1: f"{words[1]} cannot be written: [Errno 28] No space", 130: "interrupted"}[code]
    assert message in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
    assert calls
    if fail is interrupted and name == "_stacked":  # and then the same command does all of it
        assert predict(toy_run, *words) == 3
        names = ["p.csv", "p.materials.csv", "p.png", "p.rejected.jsonl"]
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_known_inputs_are_read_from_each_sample_or_given_for_all(
    run_told_the_energy, tmp_path, capsys
):
    source = write_file(tmp_path / "new.h5", [0, 1])
    with h5py.File(source, "r+") as file:
        del file["sample_0_1"].attrs["energy_keV"]
    assert predict(run_told_the_energy, source, tmp_path / "read.csv") == 3
    assert "refused new/sample_0_1: the model needs energy_keV" in capsys.readouterr().err
    energy = synthetic_attributes(0)["energy_keV"]
    (row,) = read_rows(tmp_path / "read.csv").values()
    assert float(row["energy_keV"]) == 2 * energy
    assert float(row["energy_keV_std"]) == energy + 0.5
    assert (
        predict(run_told_the_energy, source, tmp_path / "given.csv", "--known=energy_keV:80") == 0
    )
    rows = read_rows(tmp_path / "given.csv").values()
    assert [row["energy_keV"] for row in rows] == ["160", "160"]


def test_what_cannot_be_known_is_refused(run_told_the_energy, toy_run, toy_archive, capsys):
    output = run_told_the_energy / "p.csv"
    assert predict(run_told_the_energy, toy_archive, output, "--known=energy_keV=80") == 2
    assert "--known has 'energy_keV=80', should be like" in capsys.readouterr().err
    assert predict(run_told_the_energy, toy_archive, output, "--known=abc_angstrom:1,2,3") == 1
    assert "the model takes energy_keV" in capsys.readouterr().err
    assert predict(toy_run, toy_archive, output, "--known=energy_keV:80") == 1
    assert "the model takes patterns only" in capsys.readouterr().err
    assert not output.exists()


def test_probabilities_are_calibrated_and_the_log_says_so(run_told_the_energy, tmp_path, capsys):
    source = write_file(tmp_path / "new.h5", [0])
    chance = np.exp(8) / (np.exp(8) + 229)
    assert predict(run_told_the_energy, source, tmp_path / "plain.csv") == 0
    assert "as the model gives them, not calibrated" in capsys.readouterr().err
    calibration.save_temperatures(run_told_the_energy, "best", {"space_group": 2.0})
    assert predict(run_told_the_energy, source, tmp_path / "hot.csv") == 0
    assert "space_group are calibrated (temperature 2)" in capsys.readouterr().err
    assert predict(run_told_the_energy, source, tmp_path / "off.csv", "--calibrated=false") == 0
    assert "not calibrated" in capsys.readouterr().err
    for name, expected in (
        ("plain", chance),
        ("hot", np.exp(4) / (np.exp(4) + 229)),
        ("off", chance),
    ):
        (row,) = read_rows(tmp_path / f"{name}.csv").values()
        assert row["space_group"] == "62"
        assert float(row["space_group_1_probability"]) == pytest.approx(expected, rel=1e-5)


def test_joint_answers_of_the_materials(run_told_the_energy, tmp_path, capsys):
    """Materials have two samples each; the model answers twice the energy of each sample."""
    source = write_archive(tmp_path / "archive", train=3, dev=2, test=0)
    output = tmp_path / "p.csv"
    assert predict(run_told_the_energy, source, output, "--joint", "--batch_size=2") == 0
    assert f"{tmp_path / 'p.materials.csv'}: 3 materials" in capsys.readouterr().out
    rows = read_rows(output)
    joint = read_rows(tmp_path / "p.materials.csv", "material")
    assert {row["material"] for row in rows.values()} == set(joint)
    assert sorted(row["samples"] for row in joint.values()) == ["1", "2", "2"]
    for material, row in joint.items():
        energies = [float(r["energy_keV"]) for r in rows.values() if r["material"] == material]
        assert float(row["energy_keV"]) == pytest.approx(np.mean(energies), rel=1e-5)
        assert float(row["energy_keV_spread"]) == pytest.approx(np.std(energies), abs=1e-3)
        assert row["space_group_symbol"] == "P n m a"
        assert row["crystal_system"] == "orthorhombic"
        assert float(row["space_group_1_probability"]) == pytest.approx(0.9287, abs=1e-4)


def test_arrays_have_no_joint_answers(toy_run, tmp_path, capsys):
    np.save(tmp_path / "many.npy", np.ones((2, 3, 24, 32), np.float32))
    output = tmp_path / "p.csv"
    assert predict(toy_run, tmp_path / "many.npy", output, "--joint") == 1
    assert "many.npy does not tell which of its samples show one" in capsys.readouterr().err
    assert not output.exists()


def test_scaled_patterns_are_refused_unless_asked_for(toy_run, toy_archive, tmp_path, capsys):
    with h5py.File(next(toy_archive.glob("batch_test*.h5"))) as file:
        np.save(tmp_path / "new.npy", file["sample_6_0/cbed_stack"][()] ** 0.25)
    assert predict(toy_run, tmp_path / "new.npy", tmp_path / "p.csv") == 3
    assert "refused new/0: the largest intensity of cbed_stack is 17" in capsys.readouterr().err
    words = [tmp_path / "new.npy", tmp_path / "q.csv", "--check_raw=false"]
    assert predict(toy_run, *words) == 0
    assert len(read_rows(tmp_path / "q.csv")) == 1


def test_a_run_that_does_not_know_its_patterns_says_so(run_told_the_energy, tmp_path, capsys):
    np.save(tmp_path / "new.npy", np.random.default_rng(0).random((3, 24, 32)))
    words = [tmp_path / "new.npy", tmp_path / "p.csv", "--known=energy_keV:80"]
    assert predict(run_told_the_energy, *words) == 0
    assert "the brightness of these is not checked" in capsys.readouterr().err


def test_a_missing_view_is_no_reason_to_refuse(toy_run, tmp_path):
    stack = synthetic_stack(0)
    stack[1] = 0
    np.save(tmp_path / "new.npy", stack)
    assert predict(toy_run, tmp_path / "new.npy", tmp_path / "p.csv") == 0
    assert len(read_rows(tmp_path / "p.csv")) == 1
