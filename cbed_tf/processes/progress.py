"""Shows how far a long job is: a bar on a terminal, a log line now and then elsewhere."""

import logging
import sys
import time

from tqdm import tqdm

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts towards a total; use it as a context manager.

    Args:
      title: What is being done.
      total: Expected count, in `unit`.
      unit: 'B' for bytes (shown with prefixes), else the name of what is counted.
      done: Where the count starts, for work that an earlier run did.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0):
        self.title, self.total, self.unit, self.done = title, total, unit, done
        self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(
                desc=title, total=total, initial=done, unit=unit, unit_scale=unit == "B"
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif exc_info[0] is None:
            self._log()

    def advance(self, count: int) -> None:
        """Adds to the count."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._log()

    def _log(self) -> None:
        self._last_line = time.monotonic()
        share = 100 * self.done / max(self.total, 1)
        if self.unit == "B":
            done, total = format_bytes(self.done), format_bytes(self.total)
        else:
            done, total = str(self.done), f"{self.total} {self.unit}"
        _LOG.info("%s: %s of %s (%.0f %%)", self.title, done, total, share)


def format_bytes(count: int) -> str:
    """Returns a number of bytes for people, '1.21GB', by powers of 1024."""
    return tqdm.format_sizeof(count, "B", 1024)
