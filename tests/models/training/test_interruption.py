import os
import signal
import threading

import pytest

from models.training import interruption
from models.training.interruption import Interruption


@pytest.fixture(autouse=True)
def _heeded():
    """Whatever the tests' parent ignores, these signals are heeded."""
    before = {n: signal.signal(n, signal.default_int_handler) for n in interruption._SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_wish_and_a_later_one_an_end(number, monkeypatch, caplog):
    now = [100.0]
    monkeypatch.setattr(interruption, "monotonic", lambda: now[0])
    caplog.set_level("INFO", logger="models")
    with Interruption() as wish:
        assert not wish.is_wanted
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # the same wish, by way of a parent
        assert wish.is_wanted
        now[0] += 5
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert caplog.messages == [f"{number.name}: saving, then stopping"]


def test_outside_all_is_as_before():
    with Interruption():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interruption() as wish:
        os.kill(os.getpid(), signal.SIGINT)
        assert not wish.is_wanted


def test_a_thread_may_train_too():
    wishes = []

    def train():
        with Interruption() as wish:
            wishes.append(wish.is_wanted)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert wishes == [False]
