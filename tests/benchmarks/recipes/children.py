"""Runs a command in a process of its own, and says what it cost."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[2]
# A training that is asked to stop saves its state first.
_END_SECONDS = 120.0
_POLL_SECONDS = 0.05


class ChildError(Exception):
    """A process failed; the message is the last that it said."""


class Child:
    """A Python process whose output goes to a file.

    Args:
      words: What follows `python`.
      log: File that its output is added to.

    Attributes:
      code: How it ended, as subprocess says it; None while it runs.
      seconds: That it ran.
      peak_bytes: Of memory that was resident at once, its children's not added.
    """

    def __init__(self, words, log):
        self.log = log
        self.code, self.seconds, self.peak_bytes = None, 0.0, 0
        self._start = time.monotonic()
        with open(log, "ab") as output:
            # In a session of its own: Ctrl-C comes through us, and once.
            self._process = subprocess.Popen(
                [sys.executable, *words],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, limit_seconds=float("inf"), watch=lambda: False):
        """Waits for its end, for so many seconds, or until `watch` returns true."""
        until = time.monotonic() + limit_seconds
        while not self._is_over() and time.monotonic() < until and not watch():
            time.sleep(_POLL_SECONDS)

    def end(self):
        """Asks it to end, if it has not ended, and sees to it that it does."""
        if not self._is_over():
            os.kill(self._process.pid, signal.SIGTERM)
            self.wait(_END_SECONDS)
            self.kill()

    def kill(self):
        """Ends it at once, if it has not ended."""
        while not self._is_over():
            os.kill(self._process.pid, signal.SIGKILL)
            time.sleep(_POLL_SECONDS)

    def _is_over(self):
        if self.code is None:
            # Not `poll`, which forgets what the process has used.
            number, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if number:
                self.code = self._process.returncode = os.waitstatus_to_exitcode(status)
                self.seconds = time.monotonic() - self._start
                self.peak_bytes = usage.ru_maxrss * 1024
        return self.code is not None


def run(words, log, allowed=(0,)):
    """Runs to the end; returns the child.

    Raises:
      ChildError: It ended with another code than the allowed ones.
    """
    child = Child(words, log)
    try:
        child.wait()
    finally:
        child.end()
    check(child, allowed)
    return child


def check(child, allowed=(0,)):
    if child.code not in allowed:
        how = f"signal {-child.code}" if child.code < 0 else f"exit code {child.code}"
        raise ChildError(f"{last_line(child.log)} ({how}; all of it is in {child.log})")


def last_line(path):
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in Path(path).read_text(errors="replace").splitlines()]
        return next(filter(None, reversed(lines)), "it said nothing")
    return "it said nothing"


def _environment():
    paths = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
