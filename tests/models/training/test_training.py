import csv
import json

import keras
import numpy as np
import pytest

from cbed_tf.__main__ import main
from cbed_tf.conversion.convert import convert_archive
from models import load_trained_model
from models.learning.options import TrainingOptions
from models.training.train import train


def read_log(run_dir):
    with (run_dir / "log.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_run_folder_is_complete(toy_run):
    assert {path.name for path in toy_run.iterdir()} >= {
        "best.keras",
        "intensities.json",
        "last.keras",
        "log.csv",
        "run.flags",
        "tensorboard",
        "training-curve.png",
    }
    assert not [path.name for path in toy_run.rglob(".*")]
    rows = read_log(toy_run)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"space_group_top5", "abc_angstrom_mae", "val_composition_mae"} <= set(rows[0])


def test_flagfile_repeats_the_run(toy_run, tmp_path):
    again = tmp_path / "again"
    assert main(["train", f"--flagfile={toy_run / 'run.flags'}", f"--run_dir={again}"]) == 0
    assert measured(again) == measured(toy_run)


def measured(run_dir):
    """The log without what depends on the machine's mood."""
    pace = ("seconds", "samples_per_second", "waiting_share")
    return [{k: v for k, v in row.items() if k not in pace} for row in read_log(run_dir)]


def test_existing_run_is_refused(toy_run, toy_dataset, capsys):
    before = (toy_run / "log.csv").read_bytes()
    assert main(["train", f"--data_dir={toy_dataset}", f"--run_dir={toy_run}"]) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert (toy_run / "log.csv").read_bytes() == before


def test_wrong_flags_are_usage_errors_before_any_work(toy_dataset, tmp_path, capsys):
    common = [f"--data_dir={toy_dataset}", f"--run_dir={tmp_path / 'run'}"]
    for flag, message in (
        ("--targets=mass", "mass"),
        ("--epochs=0", "--epochs is 0"),
        ("--epochs=many", "epochs"),
        ("--schedule=linear", "linear"),
        ("--colour=red", "colour"),
        ("--target_weights=space_group", "target_weights"),
    ):
        assert main(["train", *common, flag]) == 2
        assert message in capsys.readouterr().err
    assert main(["train", "--run_dir=somewhere"]) == 2
    assert "data_dir" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_log_says_how_fast_it_was(toy_run):
    for row in read_log(toy_run):
        assert float(row["samples_per_second"]) == pytest.approx(8 / float(row["seconds"]))
        assert 0 <= float(row["waiting_share"]) < 1
    assert [float(row["learning_rate"]) for row in read_log(toy_run)] == [
        pytest.approx(0.0005),  # half way down the cosine: 2 of 4 updates, none to warm up
        0,
    ]


def test_a_finished_run_says_what_it_came_to(toy_run):
    summary = json.loads((toy_run / "run.json").read_text())
    values = [float(row["val_loss"]) for row in read_log(toy_run)]
    assert summary["epochs"] == 2
    assert summary["best"] == min(values) == values[summary["best_epoch"] - 1]
    assert not (toy_run / "state.npz").exists()


def test_training_without_dev_judges_by_its_own_loss(tmp_path, toy_archive):
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "batch_train_0.h5").symlink_to(toy_archive / "batch_train_0.h5")
    convert_archive(archive, tmp_path / "shards", workers=1)
    options = TrainingOptions(("energy_keV",), epochs=2, batch_size=8, class_weights="none")
    history = train(tmp_path / "shards", tmp_path / "run", options)
    assert set(history) == {"loss", "energy_keV_mae"}
    assert (tmp_path / "run" / "best.keras").exists()


def test_target_weights_and_class_weights_reach_the_loss(toy_dataset, tmp_path):
    options = TrainingOptions(
        ("space_group", "energy_keV"),
        target_weights={"space_group": 0.5, "energy_keV": 0.0},
        epochs=1,
        batch_size=8,
        class_weights="balanced",
    )
    history = train(toy_dataset, tmp_path / "run", options)
    np.testing.assert_allclose(
        history["loss"], 0.5 * np.array(history["space_group_loss"]), rtol=1e-5
    )
    assert history["energy_keV_loss"][0] > 0


def test_precision_policy_is_that_of_the_run_only(toy_dataset, tmp_path):
    options = TrainingOptions(epochs=1, batch_size=8, mixed_precision=True)
    train(toy_dataset, tmp_path / "run", options)
    assert keras.config.dtype_policy().name == "float32"
    model = load_trained_model(tmp_path / "run")
    assert model.get_layer("fused").dtype_policy.name == "mixed_float16"
    answer = model.predict(np.ones((1, 3, 24, 32), np.float32), verbose=0)["space_group"]
    assert answer.dtype == np.float32


def test_toy_samples_are_learnt_by_heart(toy_dataset, tmp_path):
    history = train(toy_dataset, tmp_path / "run", TrainingOptions(epochs=25, batch_size=4))
    assert history["space_group_top1"][-1] == 1
