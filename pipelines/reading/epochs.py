"""Which epochs an iteration over a dataset visits, and from which batch on.

Two ways: one epoch an iteration, another one each time, as `model.fit` wants it; or all epochs
without end from a position on, which is how a training goes on where it was interrupted.
"""

import itertools

import numpy as np
import tensorflow as tf

from pipelines.reading.order import Position

_NO_END = 2**62


def epochs_from(start: Position | None) -> tf.data.Dataset:
    """Returns the epochs of an iteration: (epoch, first step), int64 scalars.

    Args:
      start: The first batch of an endless iteration; None for one epoch an iteration: the n-th
        iteration over the dataset is epoch n.
    """
    if start is not None:
        first, step = (tf.constant(number, tf.int64) for number in (start.epoch, start.step))
        epochs = tf.data.Dataset.range(start.epoch, _NO_END)
        return epochs.map(lambda epoch: (epoch, tf.where(epoch == first, step, 0)))
    counter = itertools.count()

    def begin_epoch() -> np.int64:
        return np.int64(next(counter))

    def number(_: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch = tf.numpy_function(begin_epoch, [], tf.int64, stateful=True)
        return tf.ensure_shape(epoch, ()), tf.constant(0, tf.int64)

    return tf.data.Dataset.range(1).map(number)


def steps_of(epochs: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    """Returns the batches of epochs: (epoch, step), int64 scalars."""

    def of_epoch(epoch: tf.Tensor, first_step: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(first_step, steps).map(lambda step: (epoch, step))

    return epochs.flat_map(of_epoch)
