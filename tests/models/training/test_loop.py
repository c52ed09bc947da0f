"""Whole trainings in this process: interrupted at any step, stopped early, poisoned, disk full."""

import csv
import errno
import itertools
import json
import os

import keras
import numpy as np
import pytest

from cbed_tf.errors import CbedError
from models.learning.options import TrainingOptions
from models.prediction import training_intensities
from models.saving import checkpoints
from models.saving.state import read_state
from models.training.steps import Steps
from models.training.train import train
from pipelines import Position, load_dataset

# All that has a state: chance, averages, momentum that changes, held gradients (3 steps an epoch,
# so that the last two of them make an update of their own).
EVERYTHING = TrainingOptions(
    targets=("space_group", "abc_angstrom"),
    epochs=2,
    batch_size=3,
    accumulate=2,
    schedule="one_cycle",
    warmup=0.5,
    clip_norm=1.0,
    ema=0.9,
    dropout=0.2,
    augment={"noise": 1e5, "mixup": 0.5},
    class_weights="balanced",
    checkpoint_minutes=1e-9,
)
PACE = ("seconds", "samples_per_second", "waiting_share")


class Killed(BaseException):
    """Ends a training without a word, as a kill does."""


def kill_before(monkeypatch, number):
    """Has the training die before its step of that number, from 0, whatever it was at."""
    learn, calls = Steps.learn, itertools.count()

    def step(self, *args, **kwargs):
        if next(calls) == number:
            raise Killed
        return learn(self, *args, **kwargs)

    monkeypatch.setattr(Steps, "learn", step)


def read_log(run_dir):
    with (run_dir / "log.csv").open() as stream:
        rows = csv.DictReader(stream)
        return [{k: v for k, v in row.items() if k not in PACE} for row in rows]


def weights(run_dir):
    return keras.models.load_model(run_dir / "last.keras", compile=False).get_weights()


@pytest.fixture(scope="module")
def undisturbed(toy_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    train(toy_dataset, folder, EVERYTHING)
    return folder


def test_a_training_that_is_killed_twice_goes_on_to_the_same_bits(
    toy_dataset, undisturbed, tmp_path, monkeypatch
):
    for steps, so_far in ((2, 2), (3, 5)):  # with held gradients in the file, and a model
        kill_before(monkeypatch, steps)
        with pytest.raises(Killed):
            train(toy_dataset, tmp_path, EVERYTHING)
        monkeypatch.undo()
        position = read_state(tmp_path / "state.npz")[1].position
        assert position == Position().after(so_far, steps_per_epoch=3)
    train(toy_dataset, tmp_path, EVERYTHING)

    assert read_log(tmp_path) == read_log(undisturbed)
    for one, two in zip(weights(tmp_path), weights(undisturbed), strict=True):
        np.testing.assert_array_equal(one, two)
    assert (tmp_path / "run.json").exists()


def test_other_data_are_refused(toy_dataset, encoded_toys, tmp_path, monkeypatch):
    kill_before(monkeypatch, 0)
    with pytest.raises(Killed):
        train(toy_dataset, tmp_path, TrainingOptions())
    flags = (tmp_path / "run.flags").read_text()
    (tmp_path / "run.flags").write_text(flags.replace(str(toy_dataset), str(encoded_toys)))
    with pytest.raises(CbedError, match="holds an unfinished run on other data"):
        train(encoded_toys, tmp_path, TrainingOptions())


def test_a_loss_that_is_no_number_names_the_samples(toy_dataset, tmp_path):
    options = TrainingOptions(
        ("space_group", "abc_angstrom"), batch_size=3, learning_rate=1e38, warmup=0, seed=5
    )
    with pytest.raises(CbedError, match="loss is no number .* step 2 of epoch 1: .*lower --learn"):
        train(toy_dataset, tmp_path, options)

    document = json.loads((tmp_path / "not-a-number.json").read_text())
    batches = load_dataset(toy_dataset, "train", 3, shuffle=True, seed=5, sample_ids=True)
    ids = [[name.decode() for name in labels["sample_id"].numpy()] for _, labels in batches]
    assert (document["sample_ids_before"], document["sample_ids"]) == (ids[0], ids[1])
    assert (document["epoch"], document["step"]) == (1, 2)
    assert set(document["losses"]) == {"loss", "space_group_loss", "abc_angstrom_loss"}
    assert not np.isfinite(float(document["losses"]["loss"]))
    values, progress = read_state(tmp_path / "state.npz")  # that before it
    assert progress.position == Position()
    assert all(np.isfinite(value).all() for value in values.values())


def test_an_update_that_breaks_the_weights_is_noticed_before_they_are_saved(toy_dataset, tmp_path):
    """The loss of an epoch of one step is that before its update."""
    options = TrainingOptions(batch_size=8, learning_rate=1e30, warmup=0)
    with pytest.raises(CbedError, match="val_loss is no number any more since step 1 of epoch 1"):
        train(toy_dataset, tmp_path, options)
    assert read_state(tmp_path / "state.npz")[1].position == Position()
    assert not list(tmp_path.glob("*.keras"))
    document = json.loads((tmp_path / "not-a-number.json").read_text())
    assert (len(document["sample_ids"]), document["sample_ids_before"]) == (8, [])
    assert np.isfinite(float(document["losses"]["loss"]))


@pytest.mark.parametrize("number", [1, 2])
def test_weights_that_are_no_numbers_are_in_no_state(toy_dataset, tmp_path, monkeypatch, number):
    """Neither within an epoch nor, where nothing is judged, at its end."""
    learn, calls = Steps.learn, itertools.count()

    def poison(self, *args, **kwargs):
        answer = learn(self, *args, **kwargs)
        if next(calls) == number:
            weight = self.fitted.trainable_variables[0]
            weight.assign(weight * np.nan)
        return answer

    monkeypatch.setattr(Steps, "learn", poison)
    options = TrainingOptions(batch_size=3, checkpoint_minutes=1e-9)
    with pytest.raises(CbedError, match=f"a weight is no number .* step {number + 1} of epoch 1"):
        train(toy_dataset, tmp_path, options)
    values, progress = read_state(tmp_path / "state.npz")
    assert progress.position == Position(0, number)
    assert all(np.isfinite(value).all() for value in values.values())
    assert not list(tmp_path.glob("*.keras"))


def test_patience_ends_a_training_that_learns_nothing(toy_dataset, tmp_path):
    options = TrainingOptions(epochs=9, batch_size=8, learning_rate=1e-30, patience=2)
    history = train(toy_dataset, tmp_path, options)
    assert len(history["val_loss"]) == 3
    assert json.loads((tmp_path / "run.json").read_text())["best_epoch"] == 1


def fill_disk(monkeypatch, is_full):
    write = checkpoints.write_state

    def write_if_there_is_room(path, values, progress):
        if is_full(progress):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, values, progress)

    monkeypatch.setattr(checkpoints, "write_state", write_if_there_is_room)


def test_a_disk_that_is_full_for_a_while_costs_a_warning(
    toy_dataset, tmp_path, monkeypatch, caplog
):
    fill_disk(monkeypatch, lambda progress: len(progress.rows) == 1)
    options = TrainingOptions(epochs=3, batch_size=8)
    train(toy_dataset, tmp_path, options)
    assert caplog.text.count("No space left on device") == 1
    assert len(read_log(tmp_path)) == 3


def test_a_disk_that_stays_full_is_an_error_and_the_run_can_be_completed(
    toy_dataset, tmp_path, monkeypatch
):
    fill_disk(monkeypatch, lambda progress: len(progress.rows) >= 2)
    options = TrainingOptions(epochs=3, batch_size=8)
    with pytest.raises(CbedError, match="the end of the training could not be saved"):
        train(toy_dataset, tmp_path, options)
    assert len(read_state(tmp_path / "state.npz")[1].rows) == 1
    monkeypatch.undo()
    train(toy_dataset, tmp_path, options)
    assert [row["epoch"] for row in read_log(tmp_path)] == ["1", "2", "3"]
    assert not (tmp_path / "state.npz").exists()


def test_an_epoch_whose_model_cannot_be_saved_is_not_over(toy_dataset, tmp_path, monkeypatch):
    """Or the run would be taken for finished, with the model of the epoch before it."""
    save, calls = checkpoints._write_whole, itertools.count()

    def write_if_there_is_room(path, write):
        if next(calls) >= 2:  # of the first epoch: last.keras and best.keras
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, write)

    monkeypatch.setattr(checkpoints, "_write_whole", write_if_there_is_room)
    # What learns nothing: the second epoch is no better, and the last one by patience.
    options = TrainingOptions(epochs=9, batch_size=8, learning_rate=1e-30, patience=1)
    with pytest.raises(CbedError, match="the end of the training could not be saved"):
        train(toy_dataset, tmp_path, options)
    assert len(read_state(tmp_path / "state.npz")[1].rows) == 1
    monkeypatch.undo()
    before = (tmp_path / "last.keras").stat().st_mtime_ns
    train(toy_dataset, tmp_path, options)
    assert (tmp_path / "last.keras").stat().st_mtime_ns > before
    assert len(read_log(tmp_path)) == 2


def test_patience_counts_from_an_epoch_whose_model_could_not_be_saved(
    toy_dataset, tmp_path, monkeypatch
):
    """Other machines know nothing of the chief's disk, and all have to stop together."""
    save, calls = checkpoints.Checkpoints.save_model, itertools.count()
    monkeypatch.setattr(
        checkpoints.Checkpoints,
        "save_model",
        lambda self, is_best: next(calls) > 0 and save(self, is_best),
    )
    options = TrainingOptions(epochs=9, batch_size=8, learning_rate=1e-30, patience=2)
    train(toy_dataset, tmp_path, options)
    assert len(read_log(tmp_path)) == 3
    assert json.loads((tmp_path / "run.json").read_text())["best_epoch"] == 2


def test_a_folder_that_is_full_from_the_beginning_is_refused_in_words(
    toy_dataset, tmp_path, monkeypatch
):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(training_intensities, "save", refuse)
    with pytest.raises(CbedError, match="the run folder .* cannot be written: .*No space left"):
        train(toy_dataset, tmp_path, TrainingOptions())
