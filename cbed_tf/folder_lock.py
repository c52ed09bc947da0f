"""Keeps a second process from writing into a folder."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from cbed_tf.errors import CbedError

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(folder: Path, work: str) -> Iterator[None]:
    """Holds a folder while the block runs; the lock dies with the process.

    Args:
      folder: There already.
      work: What is done in it, 'conversion', for the message.

    Raises:
      CbedError: Another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder, work)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, work: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CbedError(f"another {work} is writing {folder}; wait for it") from error
    except OSError as error:
        # NFS and Lustre know no such locks on folders, or none at all.
        if error.errno not in (errno.EBADF, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        _LOG.warning("%s cannot be locked: see to it that no other %s writes it", folder, work)
