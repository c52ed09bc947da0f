"""The reader that takes shards as they come: interleaved, shuffled through a buffer, parsed.

For shards that cannot be read at any position, and for comparison. Records are checked against
their checksums by TensorFlow as they are read.
"""

from collections.abc import Sequence

import tensorflow as tf

from cbed_tf.encoding import Encoding
from cbed_tf.schema import IMAGE
from pipelines.labels import LabelMaker
from pipelines.parsing import parse_batch

# Shards read side by side; more cost memory and bring nothing on one disk.
_CYCLE_LENGTH = 4


def stream_dataset(
    paths: Sequence[str],
    label_maker: LabelMaker,
    batch_size: int,
    *,
    shuffle: bool,
    shuffle_buffer: int,
    seed: int,
    drop_remainder: bool,
    image_shape: tuple[int, int, int],
    encoding: Encoding,
) -> tf.data.Dataset:
    """Returns (images, labels, weights) batches; one iteration visits every record once.

    Images have the patterns under 'cbed_stack', and beside them what their encoding needs.

    Args:
      paths: The shards; in this order if not shuffled.
      label_maker: Makes labels and weights.
      batch_size: Samples a batch.
      shuffle: Shards in a new order in each iteration, samples through a buffer.
      shuffle_buffer: Samples in that buffer.
      seed: Of the order; the same seed gives the same sequence of orders.
      drop_remainder: Leave out a last, smaller batch.
      image_shape: (views, height, width).
      encoding: Of the patterns.
    """

    def make_element(serialized: tf.Tensor) -> tuple:
        columns = parse_batch(serialized, image_shape, encoding, label_maker.sources)
        labels, weights = label_maker.from_tensors(columns)
        images = {name: columns[name] for name in (IMAGE, *(f.name for f in encoding.beside))}
        return images, labels, weights

    shards = tf.data.Dataset.from_tensor_slices(list(paths))
    if shuffle:
        shards = shards.shuffle(len(paths), seed=seed, reshuffle_each_iteration=True)
        records = shards.interleave(
            tf.data.TFRecordDataset,
            cycle_length=min(_CYCLE_LENGTH, len(paths)),
            num_parallel_calls=min(_CYCLE_LENGTH, len(paths)),
            deterministic=True,
        )
        records = records.shuffle(shuffle_buffer, seed=seed, reshuffle_each_iteration=True)
    else:
        records = shards.flat_map(tf.data.TFRecordDataset)
    return records.batch(batch_size, drop_remainder=drop_remainder).map(make_element)
