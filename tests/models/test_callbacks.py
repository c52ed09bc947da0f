import math

import pytest

from cbed_tf.errors import CbedError
from models import callbacks, runs


class Saver:
    """Stands for a model: saves its number, or breaks off in the middle."""

    def __init__(self):
        self.number = 0
        self.breaks = False

    def save(self, path):
        path.write_text(str(self.number))
        if self.breaks:
            raise KeyboardInterrupt


@pytest.fixture
def checkpoints(tmp_path):
    callback = callbacks.SaveCheckpoints(tmp_path, "val_loss")
    callback.set_model(Saver())
    return callback


def run_epochs(callback, losses):
    for epoch, loss in enumerate(losses):
        callback.model.number = epoch
        callback.on_epoch_end(epoch, {"loss": -epoch, "val_loss": loss})


def test_best_is_the_epoch_of_the_lowest_monitored_value(checkpoints, tmp_path):
    run_epochs(checkpoints, [3.0, 1.0, 2.0])
    assert runs.checkpoint_path(tmp_path, "best").read_text() == "1"
    assert runs.checkpoint_path(tmp_path, "last").read_text() == "2"
    assert (checkpoints.best, checkpoints.best_epoch) == (1.0, 2)


def test_interrupted_save_leaves_the_model_before_it(checkpoints, tmp_path):
    run_epochs(checkpoints, [3.0])
    checkpoints.model.breaks = True
    with pytest.raises(KeyboardInterrupt):
        checkpoints.on_epoch_end(1, {"val_loss": 1.0})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.keras", "last.keras"]
    assert runs.checkpoint_path(tmp_path, "last").read_text() == "0"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_loss_that_is_no_number_stops_the_training(loss):
    callback = callbacks.StopOnNaN()
    callback.on_train_batch_end(0, {"loss": 1e30})
    with pytest.raises(CbedError, match=f"loss is {loss} since batch 5 .*lower --learning_rate"):
        callback.on_train_batch_end(4, {"loss": loss})


def test_epoch_line_shows_train_beside_dev_and_the_rate_without_dev(monkeypatch, caplog):
    now = iter([100.0, 104.0])  # begin of epoch, begin of dev
    monkeypatch.setattr(callbacks, "monotonic", lambda: next(now))
    caplog.set_level("INFO", logger="models")
    callback = callbacks.ReportEpochs(epochs=9, samples=200)
    callback.on_epoch_begin(0)
    callback.on_test_begin()
    callback.on_epoch_end(
        0,
        {
            "space_group_top1": 0.5,
            "space_group_loss": 3.25,
            "loss": 4.5,
            "val_loss": 5.0,
            "val_space_group_top1": 0.25,
        },
    )
    assert caplog.messages == [
        "epoch 1 of 9: loss 4.5 (dev 5), space_group_top1 0.5 (dev 0.25) (50 samples/s)"
    ]
