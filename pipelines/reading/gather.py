"""The reader for local shards: positioned reads of exactly the samples of a batch.

The index tells where every sample's pattern bytes start, so a graph over batch numbers is all that
tf.data sees, and a batch is read straight into its own buffer, which TensorFlow takes over without
a copy. No record is parsed; checksums are the business of `cbed verify`.
"""

import dataclasses
import math
import mmap
import os
import sys
import threading
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from cbed_tf.errors import CbedError
from cbed_tf.schema import IMAGE, IMAGE_DTYPE
from pipelines.reading.order import SampleOrder

# Descriptors are kept for so many shards; more are opened for each read. 1024 is a common limit.
_MAX_OPEN_SHARDS = 512
_MAX_IDLE_BUFFERS = 16
# The list's reference and that of sys.getrefcount's own argument.
_REFERENCES_WHEN_IDLE = 2
# Page cache gives 5 to 8 GB/s, disks less than this. Only then it pays to announce what comes next:
# 5.4 ms a sample of 3 MiB became 2.3 to 2.9 on a virtual disk, while for samples that are in memory
# anyway an announcement costs 0.04 ms of 0.5.
_COLD_BYTES_PER_SECOND = 1.5e9


@dataclasses.dataclass(frozen=True)
class _Memory:
    """Memory for a batch, and a view of each sample's part for the system call to fill.

    The views refer to the pages, not to the array, whose references tell whether it is in use.
    """

    array: np.ndarray
    images: tuple[memoryview, ...]


class BatchBuffers:
    """Hands out page-aligned batch buffers, again and again the same ones.

    Fresh memory is the hidden cost of reading: a new 96 MiB array halves the speed of reading into
    it, and reading to an address 16 bytes past a page boundary, where numpy arrays usually start,
    is 6 times slower than to an aligned one. Memory is free again when nobody but this object
    refers to it; every array over it does, and TensorFlow holds one for as long as a tensor lives.

    Args:
      image_shape: Of a sample.
      dtype: Of a stored pixel.
    """

    def __init__(self, image_shape: tuple[int, ...], dtype: np.dtype = IMAGE_DTYPE) -> None:
        self._image_shape = image_shape
        self._dtype = np.dtype(dtype)
        self._image_bytes = math.prod(image_shape) * self._dtype.itemsize
        self._lock = threading.Lock()
        self._memories: list[_Memory] = []

    def take(self, size: int) -> tuple[np.ndarray, tuple[memoryview, ...]]:
        """Returns an uninitialised array over memory that is in nobody's use.

        Args:
          size: Samples in the batch.

        Returns:
          The array, (size, *image_shape), and for each sample a view of its bytes.
        """
        with self._lock:
            for memory in self._memories:
                if len(memory.images) == size and self._is_idle(memory):
                    break
            else:
                memory = self._allocate(size)
                if len(self._memories) < _MAX_IDLE_BUFFERS:
                    self._memories.append(memory)
            return memory.array.reshape(size, *self._image_shape), memory.images

    def _is_idle(self, memory: _Memory) -> bool:
        return sys.getrefcount(memory.array) == _REFERENCES_WHEN_IDLE

    def _allocate(self, size: int) -> _Memory:
        pages = mmap.mmap(-1, size * self._image_bytes)
        step = self._image_bytes
        images = tuple(memoryview(pages)[k * step : (k + 1) * step] for k in range(size))
        # One-dimensional: numpy has every view refer to this array, not to one another.
        return _Memory(np.frombuffer(pages, self._dtype), images)


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
        paths: Sequence[str],
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
        self._image_bytes = math.prod(image_shape) * self.dtype.itemsize
        self._buffers = BatchBuffers(image_shape, self.dtype)
        self._lock = threading.Lock()
        self._descriptors: dict[int, int] = {}
        self.is_slow = False

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Returns patterns as they are stored, (len(rows), views, height, width).

        Raises:
          CbedError: A shard cannot be read, or is shorter than the index says.
        """
        batch, images = self._buffers.take(len(rows))
        start = time.perf_counter()
        shard = -1
        try:
            # Little Python a sample: 128 x 128 patterns are copied in 20 microseconds.
            for shard, offset, image in zip(*self._places(rows), images, strict=True):
                descriptor = self._descriptors.get(shard)
                if descriptor is None or os.preadv(descriptor, [image], offset) < len(image):
                    self._read(shard, offset, image)
        except OSError as error:
            raise CbedError(f"{self._paths[shard]} cannot be read: {error}") from error
        seconds = time.perf_counter() - start
        self.is_slow = batch.nbytes < seconds * _COLD_BYTES_PER_SECOND
        return batch

    def announce(self, rows: np.ndarray) -> None:
        """Has the kernel start to read rows that are wanted soon."""
        if not hasattr(os, "posix_fadvise"):
            return
        for shard, offset in zip(*self._places(rows), strict=True):
            descriptor = self._descriptors.get(shard)
            if descriptor is not None:
                size = self._image_bytes
                os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    def _places(self, rows: np.ndarray) -> tuple[list[int], list[int]]:
        return self._shard[rows].tolist(), self._image_offset[rows].tolist()

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
    batches: tf.data.Dataset,
    order: SampleOrder,
    gatherer: ImageGatherer,
    parts: dict[str, dict[str, np.ndarray]],
    threads: int,
) -> tf.data.Dataset:
    """Returns the elements of some batches: a tuple of dicts, one for each of `parts`.

    Args:
      batches: (epoch, step) of each.
      order: Says which rows these have.
      gatherer: Reads their patterns, which the first part has under 'cbed_stack'.
      parts: By part and name, columns of one row a sample; 'images' is the first part.
      threads: Batches read side by side.
    """
    columns = {(part, key): column for part in parts for key, column in parts[part].items()}

    def read(epoch: np.ndarray, step: np.ndarray) -> list[np.ndarray]:
        epoch, step = int(epoch), int(step)
        rows = order.batch(epoch, step)
        if gatherer.is_slow or order.is_blocked:
            gatherer.announce(order.wanted_soon(epoch, step))
        return [gatherer(rows), *(column[rows] for column in columns.values())]

    def make_element(epoch: tf.Tensor, step: tf.Tensor) -> tuple:
        dtypes = [tf.as_dtype(array.dtype) for array in (gatherer, *columns.values())]
        # A function of its arguments: were it called stateful, deterministic runs would read the
        # batches one after the other.
        patterns, *values = tf.numpy_function(read, [epoch, step], dtypes, stateful=False)
        size = order.batches.static_size
        element = {part: {} for part in parts}
        element["images"][IMAGE] = tf.ensure_shape(patterns, (size, *gatherer.image_shape))
        for ((part, key), column), value in zip(columns.items(), values, strict=True):
            element[part][key] = tf.ensure_shape(value, (size, *column.shape[1:]))
        return tuple(element.values())

    return batches.map(make_element, num_parallel_calls=threads, deterministic=True)
