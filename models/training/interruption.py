"""Ctrl-C, and the signal by which a batch system says that time is up: a wish, not an end."""

import logging
import signal
import threading
from time import monotonic
from types import FrameType

_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# One wish may come twice: from a terminal and a parent, or from each thread of one that dies.
_SECONDS_OF_ONE_WISH = 1.0


class Interruption:
    """Notes the first such signal while it is entered; the second one interrupts at once.

    Attributes:
      is_wanted: Whether there was one.
    """

    def __init__(self) -> None:
        self.is_wanted = False
        self._first = 0.0
        self._handlers = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # others may set no handlers
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.is_wanted:
            if monotonic() - self._first > _SECONDS_OF_ONE_WISH:
                raise KeyboardInterrupt
            return
        self.is_wanted, self._first = True, monotonic()
        _LOG.info("%s: saving, then stopping", signal.Signals(number).name)
