import errno
import os

import keras
import numpy as np
import pytest

from models.learning.optimizer import ScheduledAdamW
from models.learning.schedules import Schedule
from models.saving import checkpoints, runs
from models.saving.checkpoints import Checkpoints, averaged_weights
from models.saving.state import Progress, read_state
from pipelines import Position


@pytest.fixture
def model():
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    made.compile(ScheduledAdamW(Schedule("constant", 0.1, 9), ema=0.5), "mse", run_eagerly=True)
    made.train_on_batch(np.ones((4, 2)), np.zeros((4, 3)))
    return made


@pytest.fixture
def saver(tmp_path, model):
    return Checkpoints(tmp_path, model, model, minutes=1)


def kernel(path):
    return keras.models.load_model(path, compile=False).get_weights()[0]


def refuse(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_best_model_stays_when_the_last_one_changes(saver, model, tmp_path):
    first = model.get_weights()[0]
    assert saver.save_model(is_best=True)
    model.layers[0].kernel.assign(first + 1)
    assert saver.save_model(is_best=False)
    np.testing.assert_array_equal(kernel(tmp_path / "best.keras"), first)
    np.testing.assert_array_equal(kernel(tmp_path / "last.keras"), first + 1)
    assert sorted(os.listdir(tmp_path)) == ["best.keras", "last.keras"]


def test_a_full_disk_keeps_the_state_before_it_and_says_so(saver, tmp_path, monkeypatch, caplog):
    assert saver.save_state(Progress(position=Position(1, 0)))
    monkeypatch.setattr(checkpoints, "write_state", refuse)
    assert not saver.save_state(Progress(position=Position(2, 0)))
    assert caplog.messages[0].startswith(f"WARNING: {tmp_path / 'state.npz'} cannot be written (")
    assert "No space left on device); the one before is kept. The" in caplog.messages[0]
    assert read_state(tmp_path / "state.npz")[1].position == Position(1, 0)
    monkeypatch.undo()
    assert saver.save_state(Progress(position=Position(3, 0)))
    assert read_state(tmp_path / "state.npz")[1].position == Position(3, 0)


@pytest.mark.parametrize("broken", ["save", "fsync"])
def test_a_full_disk_keeps_the_models_before_it(saver, model, tmp_path, monkeypatch, broken):
    assert saver.save_model(is_best=True)
    before = [(tmp_path / name).read_bytes() for name in ("best.keras", "last.keras")]
    monkeypatch.setattr(*((model, "save") if broken == "save" else (os, "fsync")), refuse)
    assert not saver.save_model(is_best=True)
    names = sorted(os.listdir(tmp_path))
    assert names == ["best.keras", "last.keras"]
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_other_machines_than_the_chief_write_nothing(model, tmp_path):
    saver = Checkpoints(tmp_path, model, model, minutes=1e-9, is_chief=False)
    assert saver.save_state(Progress())
    assert saver.save_model(is_best=True)
    assert not saver.is_due()
    assert not os.listdir(tmp_path)


def test_a_state_is_due_after_its_minutes(saver, monkeypatch):
    now = checkpoints.monotonic()
    monkeypatch.setattr(checkpoints, "monotonic", lambda: now + 59)
    assert not saver.is_due()
    monkeypatch.setattr(checkpoints, "monotonic", lambda: now + 61)
    assert saver.is_due()
    saver.save_state(Progress())
    assert not saver.is_due()


def test_what_is_judged_are_the_averages_and_what_goes_on_are_the_weights(model):
    raw = model.get_weights()
    with averaged_weights(model):
        for weight, average in zip(model.get_weights(), model.optimizer.averages, strict=True):
            np.testing.assert_array_equal(weight, average.numpy())
        assert (model.get_weights()[0] != raw[0]).any()
    for weight, before in zip(model.get_weights(), raw, strict=True):
        np.testing.assert_array_equal(weight, before)


def test_leftovers_of_a_killed_process_are_removed_by_the_next(tmp_path):
    (tmp_path / f".best.keras.0123{runs.TEMPORARY_SUFFIX}").touch()
    with runs.claim_run_dir(tmp_path, ["--seed=1"]):
        assert os.listdir(tmp_path) == ["run.flags"]
