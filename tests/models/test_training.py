import csv

import keras
import numpy as np

from cbed_tf.__main__ import main
from cbed_tf.convert import convert_archive
from models import callbacks, load_trained_model
from models.options import TrainingOptions
from models.training import train


def read_log(run_dir):
    with (run_dir / "log.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_run_folder_is_complete(toy_run):
    assert {path.name for path in toy_run.iterdir()} >= {
        "best.keras",
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
    assert (again / "log.csv").read_text() == (toy_run / "log.csv").read_text()


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


def test_interrupted_training_keeps_whole_files(toy_dataset, tmp_path, monkeypatch, capsys):
    report = callbacks.ReportEpochs.on_epoch_end

    def interrupt(self, epoch, logs=None):
        report(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.ReportEpochs, "on_epoch_end", interrupt)
    words = [f"--data_dir={toy_dataset}", f"--run_dir={tmp_path}", "--epochs=9", "--batch_size=4"]
    assert main(["train", *words]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert len(read_log(tmp_path)) == 2
    assert load_trained_model(tmp_path, "last").output["space_group"].shape == (None, 230)
    assert (tmp_path / "training-curve.png").exists()
    assert not list(tmp_path.glob(".*"))


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
