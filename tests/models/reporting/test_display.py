import io
import sys

import pytest

from models.reporting import display
from models.reporting.display import Display
from models.saving.pace import Pace

MEANS = {
    "space_group_top1": 0.5,
    "space_group_loss": 3.25,
    "loss": 4.5,
    "val_loss": 5.0,
    "val_space_group_top1": 0.25,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(display, "monotonic", lambda: now[0])
    return now


def test_pace_is_that_of_all_steps_together():
    pace = Pace()
    assert str(pace) == "0 samples/s, 0 % waiting for data"
    pace.add(32, seconds=2.0, waited=0.5)
    pace.add(8, seconds=2.0, waited=0.3)
    assert (pace.samples_per_second, pace.waiting_share) == (10.0, 0.2)
    assert str(pace) == "10 samples/s, 20 % waiting for data"


def test_without_a_terminal_there_is_a_line_an_epoch_and_one_a_minute(clock, caplog):
    caplog.set_level("INFO", logger="models")
    shown = Display(epochs=9, samples=200)
    pace = Pace(100, seconds=2.0)
    shown.begin(3, 0)
    shown.step(50, 4.6, pace)
    clock[0] += 61
    shown.step(100, 4.56789, pace)
    clock[0] += 30
    shown.step(150, 4.5, pace)
    shown.end(MEANS, pace)
    assert caplog.messages == [
        "50 % of epoch 3: loss 4.568 (50 samples/s, 0 % waiting for data)",
        "epoch 3 of 9: loss 4.5 (dev 5), space_group_top1 0.5 (dev 0.25) "
        "(50 samples/s, 0 % waiting for data)",
    ]


def test_on_a_terminal_a_bar_shows_loss_pace_and_waiting(monkeypatch, clock, caplog):
    caplog.set_level("INFO", logger="models")
    monkeypatch.setattr(sys, "stderr", Terminal())
    shown = Display(epochs=9, samples=200)
    shown.begin(3, 50)
    shown._bar.mininterval = 0
    shown.step(150, 4.6, Pace(100, seconds=2.0, waited=1.0))
    assert shown._bar.n == 150
    shown.end(MEANS, Pace())
    drawn = sys.stderr.getvalue()
    assert "epoch 3 of 9" in drawn
    assert "150/200" in drawn
    assert "loss 4.6, 50 % waiting for data" in drawn
    assert caplog.messages[0].startswith("epoch 3 of 9: loss 4.5 (dev 5)")
