"""Events for TensorBoard, written by hand so that they keep step with the saved state.

What a training that is killed had not saved yet is not in them either: the resumed training writes
it, once.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from cbed_tf.dataset.record import frame

TRAIN = "train"
DEV = "dev"
_VERSION = "brain.Event:2"


class TensorBoardLog:
    """Collects events in memory until they are flushed, in a new file for each process.

    Args:
      folder: Of all of them; those of train and dev get a folder each, so that TensorBoard shows
        them in one diagram.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._paths = {split: folder / split / name for split in (TRAIN, DEV)}
        self._records = dict.fromkeys(self._paths, b"")

    def add_scalars(self, split: str, step: int, values: Mapping[str, float]) -> None:
        """Adds a point to the curve of each name."""
        Value = tf.compat.v1.Summary.Value
        points = [Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(split, step, points)

    def add_picture(self, split: str, step: int, name: str, png: bytes) -> None:
        """Adds a picture."""
        image = tf.compat.v1.Summary.Image(encoded_image_string=png, colorspace=3)
        self._add(split, step, [tf.compat.v1.Summary.Value(tag=name, image=image)])

    def flush(self) -> None:
        """Writes what has been collected.

        Raises:
          OSError: It cannot be written; it is kept for the next time.
        """
        for split, path in self._paths.items():
            if self._records[split]:
                path.parent.mkdir(parents=True, exist_ok=True)
                _append(path, self._records[split])
                self._records[split] = b""

    def _add(self, split: str, step: int, values: list) -> None:
        if not self._records[split] and not self._paths[split].exists():
            self._records[split] = _framed(file_version=_VERSION)
        self._records[split] += _framed(step=step, summary=tf.compat.v1.Summary(value=values))


def _framed(**fields: object) -> bytes:
    event = tf.compat.v1.Event(wall_time=time.time(), **fields)
    return b"".join(frame(event.SerializeToString(), memoryview(b""))[0])


def _append(path: Path, content: bytes) -> None:
    # A buffer would keep what did not fit, and write it when it is closed, behind nothing.
    with path.open("ab", buffering=0) as stream:
        size, rest = stream.tell(), memoryview(content)
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError:
            os.truncate(path, size)  # readers stop for ever at half a record
            raise
