"""Writing while a training runs: a disk that is full should not end it."""

import logging
from collections.abc import Callable
from pathlib import Path

_LOG = logging.getLogger(__name__)


def attempt(path: Path, write: Callable[[], object]) -> bool:
    """Writes a file that can be written later, too; returns whether it is written.

    Args:
      path: Of the file, for the warning.
      write: Raises OSError, and leaves what is there, if it cannot.
    """
    try:
        write()
    except OSError as error:
        before = "the one before is kept" if path.exists() else "there is none yet"
        _LOG.warning(
            "WARNING: %s cannot be written (%s); %s. The training goes on and will try again: see "
            "to it that there is room", path, error, before,
        )  # fmt: skip
        return False
    return True
