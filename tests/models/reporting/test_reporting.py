import csv
import errno
import os

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models.reporting import reporting
from models.reporting.display import Display
from models.reporting.reporting import Reporting, epoch_row, history_of
from models.saving.pace import Pace
from models.saving.state import Progress

MEANS = {"loss": 4.5, "space_group_top1": 0.1 + 0.2, "val_loss": 5.0, "val_space_group_top1": 0.25}


@pytest.fixture
def told(tmp_path):
    return Reporting(tmp_path, Display(epochs=9, samples=200))


def progress_after(epochs):
    rows = [epoch_row(k + 1, MEANS, Pace(20, 2.0, 0.5), 0.125) for k in range(epochs)]
    return Progress(rows=rows, pace=Pace(20, 2.0, 0.5))


def events(run_dir, split):
    return EventAccumulator(str(run_dir / "tensorboard" / split)).Reload()


def test_the_log_has_all_digits_the_pace_and_the_rate(told, tmp_path):
    told.flush(progress_after(2))
    with (tmp_path / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[0]["space_group_top1"]) == 0.1 + 0.2
    pace = [float(rows[1][name]) for name in ("seconds", "samples_per_second", "waiting_share")]
    assert pace == [2.0, 10.0, 0.25]
    assert float(rows[1]["learning_rate"]) == 0.125
    told.flush(progress_after(1))  # of a training that goes on from an earlier state
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_history_has_what_was_learned_and_not_how_fast():
    assert history_of(progress_after(2)) == {name: [value] * 2 for name, value in MEANS.items()}
    assert history_of(Progress()) == {}


def test_an_epoch_shows_in_tensorboard(told, tmp_path):
    told.begin_epoch(2, 0)
    told.end_epoch(progress_after(2), MEANS, confusion=np.eye(7, dtype=np.int64))
    (point,) = events(tmp_path, "train").Scalars("loss")
    assert (point.step, point.value) == (2, 4.5)
    assert events(tmp_path, "train").Scalars("learning_rate")[0].value == 0.125
    assert events(tmp_path, "dev").Scalars("loss")[0].value == 5.0
    told.end_epoch(progress_after(3), MEANS, confusion=np.eye(7, dtype=np.int64))  # too soon
    (picture,) = events(tmp_path, "dev").Images("crystal_systems")
    assert picture.step == 2
    assert picture.encoded_image_string.startswith(b"\x89PNG")


def test_the_first_batch_shows_in_tensorboard(told, tmp_path, monkeypatch):
    monkeypatch.setattr(reporting, "picture_batch", lambda *args: b"picture of " + b"".join(args))
    told.first_batch(b"model", b"batch")
    told.flush(Progress())
    (image,) = events(tmp_path, "train").Images("first_batch")
    assert (image.step, image.encoded_image_string) == (0, b"picture of modelbatch")


def test_losses_by_step_are_those_since_the_point_before(told, tmp_path):
    told.begin_epoch(1, 0)
    told.step(20, 80, 4.0, Pace())
    told.step(30, 120, 3.5, Pace())  # no point
    told.step(40, 160, 3.0, Pace())  # 160 * 3 - 80 * 4 over 80 samples
    told.begin_epoch(2, 40)  # goes on within an epoch: what came before is not known
    told.step(60, 60, 2.0, Pace())
    told.step(80, 140, 1.5, Pace())  # 140 * 1.5 - 60 * 2 over 80
    told.flush(Progress())
    points = events(tmp_path, "train").Scalars("loss_by_step")
    assert [(p.step, p.value) for p in points] == [(20, 4.0), (40, 2.0), (80, 1.125)]


def test_a_full_disk_costs_the_log_and_not_the_training(told, tmp_path, monkeypatch, caplog):
    told.flush(progress_after(1))
    before = (tmp_path / "log.csv").read_bytes()

    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(reporting, "write_atomically", refuse)
    monkeypatch.setattr(reporting, "draw_curve", refuse)
    told.flush(progress_after(2))
    told.close(progress_after(2))
    assert (tmp_path / "log.csv").read_bytes() == before
    assert caplog.text.count("No space left on device") == 2


def test_the_curve_is_drawn_at_the_end(told, tmp_path):
    told.close(Progress())
    assert not (tmp_path / "training-curve.png").exists()
    told.close(progress_after(3))
    assert (tmp_path / "training-curve.png").stat().st_size > 1000
