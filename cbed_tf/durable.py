"""Files that are there in full or not at all, whatever happens: a kill, a full disk, a power cut.

A file under its own name is complete: it is written beside its place under a hidden name, brought
to the disk, and only then renamed.
"""

import contextlib
import io
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file to be written; it gets its name when the block ends without error.

    Raises:
      OSError: It cannot be written in full; nothing is left behind.
    """
    temporary = temporary_path(path)
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.rename(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Writes a file at once."""
    with new_file(path) as stream:
        stream.write(content)


def write_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Writes arrays as .npz, uncompressed, so that one is read without the others."""
    # By way of memory: on a full disk np.savez leaves a zip file that complains when it is deleted.
    content = io.BytesIO()
    np.savez(content, **columns)
    write_atomically(path, content.getbuffer())


def temporary_path(path: Path) -> Path:
    """Returns where to write a file before it gets its name, hidden beside it.

    Another call gives another path, on this machine or any: a worker that was thought lost, and
    the one that does its task again, do not write into each other's file.
    """
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes were writing in a folder."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk, where file system and permissions allow it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
