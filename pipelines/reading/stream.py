"""The reader that takes shards as they come: interleaved, shuffled through a buffer, parsed.

For shards that cannot be read at any position, such as those behind a URL, and for comparison.
Records are checked against their checksums by TensorFlow as they are read.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from cbed_tf.dataset.encoding import Encoding
from cbed_tf.errors import CbedError
from cbed_tf.schema import IMAGE
from pipelines.labels import LabelMaker
from pipelines.reading.memory import keep_freed_memory
from pipelines.reading.order import BatchPlan
from pipelines.reading.parsing import parse_batch
from pipelines.targets import TARGETS

# Batches parsed side by side.
_PARSE_CALLS = 2


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """How `stream` reads.

    Attributes:
      shuffle_buffer: Samples in the buffer that shuffles them.
      cycle_length: Shards read side by side.
      block_length: Records taken from one of them before the next one's turn.
      deterministic: Wait for a slow shard, for the sake of an order that repeats.
    """

    shuffle_buffer: int
    cycle_length: int = 4
    block_length: int = 1
    deterministic: bool = True

    def __post_init__(self) -> None:
        for name in ("shuffle_buffer", "cycle_length", "block_length"):
            if getattr(self, name) < 1:
                raise CbedError(f"{name} is {getattr(self, name)}, should be at least 1")


class ShardOrder:
    """In which order a host takes shards, and which part of each, in any epoch.

    Hosts cut the sequence of all records into pieces of equal length, so that a shard is read by
    one of them, or by two where it is cut.

    Args:
      samples: In each shard.
      batches: What `BatchPlan` makes of them.
      shuffle: A new order in each epoch.
      seed: Of these orders.
    """

    def __init__(self, samples: Sequence[int], batches: BatchPlan, *, shuffle: bool, seed: int):
        self._samples = np.array(samples, np.int64)
        self._batches = batches
        self._shuffle = shuffle
        self._seed = seed

    def pieces(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns numbers of shards in order, records to skip in each, and to take; int64."""
        shards = np.arange(len(self._samples))
        if self._shuffle:
            np.random.Generator(np.random.Philox(key=[self._seed, epoch])).shuffle(shards)
        stops = np.cumsum(self._samples[shards])
        starts = stops - self._samples[shards]
        first = self._batches.first_sample
        begins = np.clip(starts, first, first + self._batches.samples)
        ends = np.clip(stops, first, first + self._batches.samples)
        here = ends > begins
        return shards[here], (begins - starts)[here], (ends - begins)[here]

    def buffer_seed(self, epoch: int) -> np.int64:
        """Returns the seed of the shuffle buffer."""
        random = np.random.Generator(np.random.Philox(key=[self._seed + 2**32, epoch]))
        return random.integers(2**62)


def stream_dataset(
    epochs: tf.data.Dataset,
    paths: Sequence[str],
    order: ShardOrder,
    batches: BatchPlan,
    options: StreamOptions | None,
    make_element: Callable[[tf.Tensor], tuple],
    read_bytes: int | None = None,
) -> tf.data.Dataset:
    """Returns what `make_element` makes of batches of serialized records.

    Args:
      epochs: What to visit, from `epochs_from`.
      paths: The shards.
      order: Of the shards.
      batches: Where batches start and stop.
      options: How to shuffle; None for the records in their order.
      make_element: See `element_maker`.
      read_bytes: How much of a shard to ask for at a time; None leaves it to TensorFlow.
    """
    keep_freed_memory()
    bounds = tf.constant(batches.bounds, tf.int64)

    def batches_of_epoch(epoch: tf.Tensor, first_step: tf.Tensor) -> tf.data.Dataset:
        records = _records(epoch, paths, order, options, read_bytes)
        # What comes before the first step is read, though not parsed: a shuffle buffer has no other
        # way back to its state.
        return _in_batches(records.skip(bounds[first_step]), first_step, batches)

    return epochs.flat_map(batches_of_epoch).map(
        make_element,
        num_parallel_calls=_PARSE_CALLS,
        deterministic=options is None or options.deterministic,
    )


def _records(
    epoch: tf.Tensor,
    paths: Sequence[str],
    order: ShardOrder,
    options: StreamOptions | None,
    read_bytes: int | None,
) -> tf.data.Dataset:
    """Returns the serialized records of a host's part of an epoch, in their order."""
    numbers = tf.numpy_function(order.pieces, [epoch], (tf.int64,) * 3, stateful=False)
    shards, skip, take = (tf.ensure_shape(column, (None,)) for column in numbers)
    pieces = tf.data.Dataset.from_tensor_slices((tf.gather(list(paths), shards), skip, take))

    def read(path: tf.Tensor, skip: tf.Tensor, take: tf.Tensor) -> tf.data.Dataset:
        return tf.data.TFRecordDataset(path, buffer_size=read_bytes).skip(skip).take(take)

    if options is None:
        return pieces.flat_map(read)
    cycle_length = min(options.cycle_length, len(paths))
    records = pieces.interleave(
        read,
        cycle_length=cycle_length,
        block_length=options.block_length,
        num_parallel_calls=cycle_length,
        deterministic=options.deterministic,
    )
    # Of this graph only; else the order would depend on the seed of the whole program, too. (With 0
    # TensorFlow would compare the other seed, a tensor, with it.)
    tf.random.set_seed(1)
    seed = tf.numpy_function(order.buffer_seed, [epoch], tf.int64, stateful=False)
    return records.shuffle(options.shuffle_buffer, seed=seed, reshuffle_each_iteration=False)


def _in_batches(
    records: tf.data.Dataset, first_step: tf.Tensor, batches: BatchPlan
) -> tf.data.Dataset:
    size = batches.batch_size
    whole = records.batch(size, drop_remainder=batches.static_size is not None)
    if batches.steps < 2 or batches.bounds[-2] == size * (batches.steps - 1):
        return whole
    # Another host has one sample more: the last of this host's batches gets one of the last but
    # one, see BatchPlan.
    last_but_one = batches.steps - 2

    def split(number: tf.Tensor, batch: tf.Tensor) -> tf.data.Dataset:
        here = tf.where(number == last_but_one, size - 1, size)
        return tf.data.Dataset.from_tensor_slices(batch).batch(tf.cast(here, tf.int64))

    return whole.enumerate(first_step).flat_map(split)


def element_maker(
    label_maker: LabelMaker,
    image_shape: tuple[int, int, int],
    encoding: Encoding,
    more: Sequence[str] = (),
    inputs: Sequence[str] = (),
) -> Callable[[tf.Tensor], tuple]:
    """Returns what makes (images, labels, weights) of a batch of serialized records.

    Images have the patterns under 'cbed_stack', and beside them what their encoding needs, and the
    known inputs.

    Args:
      label_maker: Makes labels and weights.
      image_shape: (views, height, width).
      encoding: Of the patterns.
      more: Fields that labels have beside them, as they are in the records.
      inputs: Names of known inputs.
    """

    def make_element(serialized: tf.Tensor) -> tuple:
        fields = [*label_maker.sources, *more, *inputs]
        columns = parse_batch(serialized, image_shape, encoding, fields)
        labels, weights = label_maker.from_tensors(columns)
        labels.update({name: columns[name] for name in more})
        images = {name: columns[name] for name in (IMAGE, *(f.name for f in encoding.beside))}
        images.update({name: TARGETS[name].encode_tensor(columns[name]) for name in inputs})
        return images, labels, weights

    return make_element
