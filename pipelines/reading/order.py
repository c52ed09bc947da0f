"""Which sample comes when: the order of a split in every epoch, for every host.

Knows row numbers only. An order is a function of its arguments, so a position (epoch, step) is all
that must be kept to go on in the middle of an epoch, and hosts need not talk to each other.
"""

import dataclasses
import functools
import threading

import numpy as np

from cbed_tf.errors import CbedError

# Samples of so many that lie in one or another block are shuffled among each other, with
# `shuffle_block`: 1.5 GiB of 3 MiB patterns, and as much again is announced to the disk.
WINDOW_SAMPLES = 512
# A batch is announced to the disk while so many others are still to be read before it.
_BATCHES_AHEAD = 2
_NO_ROWS = np.empty(0, np.int32)


@dataclasses.dataclass(frozen=True, order=True)
class Position:
    """A place in the endless sequence of batches: the next one is `step` of `epoch`.

    With the seed of the order it says everything; save it with the weights.
    """

    epoch: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        for name in ("epoch", "step"):
            if getattr(self, name) < 0:
                raise CbedError(f"{name} is {getattr(self, name)}, should be at least 0")

    def after(self, steps: int, steps_per_epoch: int) -> "Position":
        """Returns the position some steps later."""
        total = self.epoch * steps_per_epoch + self.step + steps
        return Position(*divmod(total, steps_per_epoch))


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The machines that share an epoch, and which of them this is."""

    number: int = 1
    index: int = 0

    def __post_init__(self) -> None:
        if self.number < 1:
            raise CbedError(f"num_hosts is {self.number}, should be at least 1")
        if not 0 <= self.index < self.number:
            raise CbedError(f"host_index is {self.index}, should be 0 to {self.number - 1}")


class BatchPlan:
    """Into which batches a host's part of an epoch falls.

    Every host has the same number of batches, none of them empty, or one would wait for the others
    for ever. Where the parts differ by a sample, last batches differ in size.

    Args:
      num_samples: In an epoch, over all hosts.
      batch_size: Samples a batch of one host.
      drop_remainder: Leave out samples at an epoch's end so that all batches are of this size.
      hosts: All of them, and this one.

    Attributes:
      static_size: Samples in every batch, None if they differ.
      part: This host's part of an epoch's sequence.
      samples: Its length.
      first_sample: Where it starts if the parts follow one another instead.
      steps: Number of batches.
      bounds: Where batches start and stop in the part, (steps + 1,).

    Raises:
      CbedError: There are too few samples for that.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        drop_remainder: bool = False,
        hosts: Hosts = Hosts(),
    ):
        if batch_size < 1:
            raise CbedError(f"batch_size is {batch_size}, should be at least 1")
        self.batch_size = batch_size
        self.static_size = batch_size if drop_remainder else None
        everywhere = batch_size * hosts.number
        used = num_samples // everywhere * everywhere if drop_remainder else num_samples
        # Host h takes samples h, h + hosts, h + 2 hosts, …: parts differ by one sample at most, and
        # a step sees the same samples on one host as on many, with as many samples in all.
        self.part = slice(hosts.index, used, hosts.number)
        self.samples = len(range(num_samples)[self.part])
        # Where parts are cut in one piece, as `stream` must, this one starts here.
        parts_before = (range(num_samples)[h : used : hosts.number] for h in range(hosts.index))
        self.first_sample = sum(map(len, parts_before))
        self.steps = -(-used // everywhere)
        self.bounds = np.minimum(np.arange(self.steps + 1) * batch_size, self.samples)
        if self.steps > 1 and self.bounds[-2] == self.samples:  # another host has one sample more
            self.bounds[-2] -= 1
        if self.steps and np.diff(self.bounds).min() < 1:
            raise CbedError(
                f"{num_samples} samples do not give {hosts.number} hosts {self.steps} batches "
                "each; drop_remainder=True leaves some out"
            )


class SampleOrder:
    """The rows that a host visits, epoch after epoch.

    Args:
      num_samples: Rows of the split.
      batches: What `BatchPlan` makes of them.
      shuffle: Draw a new order in each epoch, from all orders.
      seed: Of these orders, 0 to 2**32 - 1.
      shuffle_block: If not 0, so many rows that lie side by side on the disk stay together: blocks
        are shuffled, then the rows of `WINDOW_SAMPLES` in blocks. For disks that hate random reads.
      classes: A class for each row, to balance by.
      balance: Draw a sample of a class of n with a probability in proportion to n ** (1 - balance)
        for the whole class: 0 leaves the classes as frequent as they are, 1 makes all alike (a
        temperature of 1 / (1 - balance)). An epoch has as many samples as before; rare ones occur
        several times in it, of frequent ones another part each time.

    Raises:
      CbedError: A value is out of range.
    """

    def __init__(
        self,
        num_samples: int,
        batches: BatchPlan,
        *,
        shuffle: bool = False,
        seed: int = 0,
        shuffle_block: int = 0,
        classes: np.ndarray | None = None,
        balance: float = 0.0,
    ):
        if not 0 <= seed < 2**32:
            raise CbedError(f"seed is {seed}, should be 0 to {2**32 - 1}")
        if shuffle_block < 0:
            raise CbedError(f"shuffle_block is {shuffle_block}, should be at least 0")
        if not 0 <= balance <= 1:
            raise CbedError(f"balance is {balance}, should be 0 to 1")
        if (shuffle_block or balance) and not shuffle:
            raise CbedError("shuffle_block and balance need shuffle=True")
        if shuffle_block and balance:
            raise CbedError("shuffle_block and balance exclude each other: a balanced epoch jumps")
        self.num_samples = num_samples
        self.batches = batches
        self._shuffle = shuffle
        self._seed = seed
        self._block = shuffle_block
        self._classes = classes
        self._balance = balance
        self._lock = threading.Lock()
        self._window = max(2, WINDOW_SAMPLES // max(1, shuffle_block)) * shuffle_block
        # The epoch that is read and the one that is prefetched.
        self._epoch_rows = functools.lru_cache(2)(self._draw_epoch)

    def rows(self, epoch: int) -> np.ndarray:
        """Returns this host's rows of an epoch in their order, int32 or int64; do not change it."""
        with self._lock:  # 10^7 rows take a second to shuffle, and several threads read
            return self._epoch_rows(epoch)

    def batch(self, epoch: int, step: int) -> np.ndarray:
        """Returns the rows of one batch."""
        start, stop = self.batches.bounds[step : step + 2]
        return self.rows(epoch)[start:stop]

    @property
    def is_blocked(self) -> bool:
        """Whether rows that lie side by side stay together."""
        return self._block > 0

    def wanted_soon(self, epoch: int, step: int) -> np.ndarray:
        """Returns rows to announce to the disk while a batch is read, in the order of the disk.

        With `shuffle_block` they are those of the window behind the one that the batch begins, so
        that the disk reads it in one sweep; usually none.
        """
        if not self._block:
            ahead = step + _BATCHES_AHEAD
            return np.sort(self.batch(epoch, ahead)) if ahead < self.batches.steps else _NO_ROWS
        window = self._window // self.batches.part.step or 1
        start, stop = self.batches.bounds[step : step + 2] // window
        first = start + 2 if step else 0  # the batch before has announced what lies before that
        return np.sort(self.rows(epoch)[first * window : (stop + 2) * window])

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        # int32 while it will do: 40 MB for 10^7 samples.
        dtype = np.int32 if self.num_samples < 2**31 else np.int64
        rows = np.arange(self.num_samples, dtype=dtype)
        random = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        if self._balance:
            rows = _draw_balanced(rows, self._classes, self._balance, random)
        elif self._block:
            _shuffle_blocks(rows, self._block, self._window, random)
        elif self._shuffle:
            random.shuffle(rows)
        return rows[self.batches.part].copy()


def _shuffle_blocks(rows: np.ndarray, block: int, window: int, random: np.random.Generator) -> None:
    """Shuffles rows in place: blocks of neighbours, then all rows within a window of blocks."""
    blocks = np.split(rows.copy(), range(block, len(rows), block))
    rows[:] = np.concatenate([blocks[number] for number in random.permutation(len(blocks))])
    for start in range(0, len(rows), window):
        random.shuffle(rows[start : start + window])


def _draw_balanced(
    rows: np.ndarray, classes: np.ndarray, balance: float, random: np.random.Generator
) -> np.ndarray:
    """Draws as many rows as there are, those of a class equally often, give or take one."""
    names, class_of_row, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    shares = sizes ** (1 - balance)
    # Whole numbers that add up, without favour: cut the line of all shares at random, evenly.
    edges = np.concatenate([[0], np.cumsum(shares / shares.sum()) * len(rows)])
    edges[-1] = len(rows)
    counts = np.diff(np.ceil(edges - random.random()).astype(np.int64))
    random.shuffle(rows)
    by_class = rows[np.argsort(class_of_row[rows], kind="stable")]
    first, draw = np.cumsum(sizes) - sizes, np.cumsum(counts) - counts
    number = np.repeat(np.arange(len(names)), counts)
    drawn = by_class[first[number] + (np.arange(len(rows)) - draw[number]) % sizes[number]]
    random.shuffle(drawn)
    return drawn
