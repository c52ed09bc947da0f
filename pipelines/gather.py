"""The reader for local shards: positioned reads of exactly the samples of a batch.

The index tells where every sample's pattern bytes start, so a graph over row numbers shuffles all
of them at the price of eight bytes each, and a batch is read straight into its own buffer, which
TensorFlow takes over without a copy. No record is parsed; checksums are the business of
`cbed verify`.
"""

import math
import mmap
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from cbed_tf.errors import CbedError
from cbed_tf.schema import IMAGE, IMAGE_DTYPE

# Descriptors are kept for so many shards; more are opened for each read. 1024 is a common limit.
_MAX_OPEN_SHARDS = 512
_MAX_IDLE_BUFFERS = 16
# The list's reference and that of sys.getrefcount's own argument.
_REFERENCES_WHEN_IDLE = 2


class BatchBuffers:
    """Hands out page-aligned batch buffers, again and again the same ones.

    Fresh memory is the hidden cost of reading: a new 96 MiB array halves the speed of reading into
    it, and reading to an address 16 bytes past a page boundary, where numpy arrays usually start,
    is 6 times slower than to an aligned one. Memory is free again when nobody but this object
    refers to it; every array over it does, and TensorFlow holds one for as long as a tensor lives.

    Args:
      dtype: Of the buffers.
    """

    def __init__(self, dtype: np.dtype = IMAGE_DTYPE) -> None:
        self._dtype = dtype
        self._lock = threading.Lock()
        # One-dimensional arrays: numpy has every view of them refer to these, not to one another.
        self._memories: list[np.ndarray] = []

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """Returns an uninitialised array over memory that is in nobody's use."""
        count = math.prod(shape)
        with self._lock:
            for position in range(len(self._memories)):
                if (
                    sys.getrefcount(self._memories[position]) == _REFERENCES_WHEN_IDLE
                    and self._memories[position].size == count
                ):
                    return self._memories[position].reshape(shape)
            pages = mmap.mmap(-1, count * self._dtype.itemsize)
            memory = np.frombuffer(pages, self._dtype, count)
            if len(self._memories) < _MAX_IDLE_BUFFERS:
                self._memories.append(memory)
            return memory.reshape(shape)


class ImageGatherer:
    """Reads the patterns of any rows of a split.

    Args:
      paths: The shards.
      shard: Number of each row's shard, (rows,).
      image_offset: Position of each row's pattern bytes in it, (rows,).
      image_shape: (views, height, width).
      dtype: Of a stored pixel.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        shard: np.ndarray,
        image_offset: np.ndarray,
        image_shape: tuple[int, int, int],
        dtype: np.dtype = IMAGE_DTYPE,
    ):
        self._paths = tuple(paths)
        self._shard = shard
        self._image_offset = image_offset
        self.image_shape = image_shape
        self.dtype = np.dtype(dtype)
        self._buffers = BatchBuffers(self.dtype)
        self._lock = threading.Lock()
        self._descriptors: dict[int, int] = {}

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Returns patterns as they are stored, (len(rows), views, height, width).

        Raises:
          CbedError: A shard cannot be read, or is shorter than the index says.
        """
        batch = self._buffers.take((len(rows), *self.image_shape))
        for image, row in zip(batch, rows, strict=True):
            shard, offset = int(self._shard[row]), int(self._image_offset[row])
            try:
                self._read(shard, offset, memoryview(image).cast("B"))
            except OSError as error:
                raise CbedError(f"{self._paths[shard]} cannot be read: {error}") from error
        return batch

    def _read(self, shard: int, offset: int, target: memoryview) -> None:
        descriptor, is_kept = self._open(shard)
        try:
            while target:
                count = os.preadv(descriptor, [target], offset)
                if count == 0:
                    raise OSError(f"it ends at byte {offset}, the index knows of more")
                target, offset = target[count:], offset + count
        finally:
            if not is_kept:
                os.close(descriptor)

    def _open(self, shard: int) -> tuple[int, bool]:
        with self._lock:
            if shard in self._descriptors:
                return self._descriptors[shard], True
            descriptor = os.open(self._paths[shard], os.O_RDONLY | os.O_CLOEXEC)
            is_kept = len(self._descriptors) < _MAX_OPEN_SHARDS
            if is_kept:
                self._descriptors[shard] = descriptor
            return descriptor, is_kept

    def __del__(self) -> None:
        for descriptor in getattr(self, "_descriptors", {}).values():
            os.close(descriptor)


def gather_dataset(
    gatherer: ImageGatherer,
    beside: dict[str, np.ndarray],
    labels: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    num_samples: int,
    batch_size: int,
    *,
    shuffle: bool,
    seed: int,
    drop_remainder: bool,
) -> tf.data.Dataset:
    """Returns (images, labels, weights) batches; one iteration visits every row once.

    Args:
      gatherer: Reads the patterns, which images have under 'cbed_stack'.
      beside: By field, what images have beside them; one row a sample.
      labels: By target, one row a sample.
      weights: By target, or empty.
      num_samples: Number of rows.
      batch_size: Samples a batch.
      shuffle: In a new order in each iteration, drawn from all orders.
      seed: Of the first order; the same seed gives the same sequence of orders.
      drop_remainder: Leave out a last, smaller batch.
    """
    parts = {"images": beside, "labels": labels, "weights": weights}
    columns = {(part, key): column for part in parts for key, column in parts[part].items()}

    def read(rows: np.ndarray) -> list[np.ndarray]:
        return [gatherer(rows), *(column[rows] for column in columns.values())]

    def make_element(rows: tf.Tensor) -> tuple:
        dtypes = [tf.as_dtype(array.dtype) for array in (gatherer, *columns.values())]
        patterns, *values = tf.numpy_function(read, [rows], dtypes, stateful=True)
        size = rows.shape[0]
        element = {part: {} for part in parts}
        element["images"][IMAGE] = tf.ensure_shape(patterns, (size, *gatherer.image_shape))
        for ((part, key), column), value in zip(columns.items(), values, strict=True):
            element[part][key] = tf.ensure_shape(value, (size, *column.shape[1:]))
        return tuple(element.values())

    rows = tf.data.Dataset.range(num_samples)
    if shuffle:
        rows = rows.shuffle(num_samples, seed=seed, reshuffle_each_iteration=True)
    return rows.batch(batch_size, drop_remainder=drop_remainder).map(make_element)
