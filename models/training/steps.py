"""The steps of a training: batches for every device, learning from one, judging by one.

One way for all strategies of tf.distribute, the default one with a single device included: with
Keras 3, `model.fit` works under no strategy of several machines.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.reporting.system_confusion import count_systems


class Feed:
    """Batches for the devices of this machine, each with a part of its own.

    Args:
      datasets: One for each of these devices, in their order.
      strategy: Of the devices.
    """

    def __init__(self, datasets: Sequence[tf.data.Dataset], strategy: tf.distribute.Strategy):
        self._iterators = [iter(dataset) for dataset in datasets]
        self._strategy = strategy

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        parts = [next(iterator) for iterator in self._iterators]
        if self._strategy.num_replicas_in_sync == 1:
            return parts[0]
        rest = iter(parts)
        return self._strategy.experimental_distribute_values_from_function(lambda _: next(rest))


class Steps:
    """Learns from batches and judges by them, on every device at once.

    Args:
      fitted: Compiled with a `ScheduledAdamW`, in the strategy's scope.
      strategy: Of the devices.
      element_spec: Of a device's batch to learn from; one to judge by has no weights.
    """

    def __init__(self, fitted: keras.Model, strategy: tf.distribute.Strategy, element_spec: Any):
        self.fitted = fitted
        self.strategy = strategy
        with strategy.scope():
            # Before the first step, as a restored state needs somewhere to go.
            fitted._symbolic_build(data_batch=element_spec)
            fitted.optimizer.build(fitted.trainable_variables)
        self._loss = next(metric for metric in fitted.metrics if metric.name == "loss")
        wishes = tf.TensorSpec((None,), tf.float32)
        self._learn = {
            hold: self._compile(self._learn_on_device, hold, element_spec, wishes)
            for hold in (False, True)
        }
        self._judge = self._compile(self._judge_on_device, False, element_spec[:2])

    def part(self, batch: Any) -> Any:
        """Returns the first device's part of a batch of the feed."""
        parts = self.strategy.experimental_local_results
        return tf.nest.map_structure(lambda value: parts(value)[0], batch)

    def learn(self, batch: Any, wishes: Sequence[float] = (), hold: bool = False) -> np.ndarray:
        """Learns from a batch of the feed.

        Args:
          batch: From a `Feed`.
          wishes: Numbers of this machine whose sums all machines are to know.
          hold: Keep the gradients for the next update.

        Returns:
          Behind the sums of the wishes, the mean loss since the metrics' reset, over all devices.
        """
        wishes = tf.constant(wishes, tf.float32, [len(wishes)])
        return self._learn[hold](batch, wishes).numpy()

    def judge(self, batch: Any) -> np.ndarray | None:
        """Adds a batch to the metrics, without learning.

        Returns:
          How often crystal systems (rows) were taken for others; None of a model that does not say.
        """
        counts = self._judge(batch)
        return None if counts is None else counts.numpy()

    def _compile(
        self, on_device: Callable[..., Any], hold: bool, *signature: Any
    ) -> Callable[..., Any]:
        """Returns a function of the same arguments that runs on every device and adds up."""

        def everywhere(*args: Any) -> Any:
            self.fitted.optimizer.accumulates = hold  # when this is traced
            results = self.strategy.run(on_device, args)
            return None if results is None else self.strategy.reduce("SUM", results, axis=None)

        if self.strategy.num_replicas_in_sync > 1:
            return tf.function(everywhere, reduce_retracing=True)
        # One graph for batches of any size.
        return tf.function(everywhere, signature, jit_compile=bool(self.fitted.jit_compile))

    def _learn_on_device(self, batch: Any, wishes: tf.Tensor) -> tf.Tensor:
        with self.fitted.optimizer.counts(_size(batch)):
            means = self.fitted.train_step(batch)
        share = means["loss"] / self.strategy.num_replicas_in_sync
        return tf.concat([wishes, [share]], axis=0)

    def _judge_on_device(self, batch: Any) -> tf.Tensor | None:
        # `test_step` by hand, as that one keeps the answers to itself.
        images, labels = batch
        answers = self.fitted(images, training=False)
        loss = self.fitted.compute_loss(images, labels, answers, training=False)
        replicas = self.strategy.num_replicas_in_sync  # by which keras has divided it
        self._loss.update_state(loss * replicas, sample_weight=_size(batch))
        self.fitted.compute_metrics(images, labels, answers)
        return count_systems(labels, answers)


def _size(batch: Any) -> tf.Tensor:
    return tf.shape(tf.nest.flatten(batch)[0])[0]
