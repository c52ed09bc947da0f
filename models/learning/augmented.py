"""Learning from augmented batches: changes images and labels on the device, in training alone."""

from typing import Any

import keras
import tensorflow as tf

from cbed_tf.dataset.encoding import Encoding
from models.learning.learner import Learner
from pipelines.augmentation.augment import Augment
from pipelines.augmentation.layer import child_seed


class AugmentedModel(Learner):
    """Fits a model to batches that are changed at random; evaluates and predicts as it does.

    What is saved, exported and asked is the model, which knows of no augmentation.

    Args:
      model: Takes raw intensities: from `build_model`, or anyone's own.
      augment: Changes batches of (images, labels) or (images, labels, weights), with dicts by
        target key.
      encoding: Of the data set's patterns, if they are not raw intensities.
    """

    def __init__(
        self,
        model: keras.Model,
        augment: Augment,
        encoding: Encoding | None = None,
        **kwargs: Any,
    ):
        super().__init__(model, encoding, **kwargs)
        self.augment = augment
        # XLA makes one pass of it: 20 to 27 ms for 32 x 3 x 128 x 128 on two CPU cores, not 90. The
        # rest of the step is no faster by XLA there, so it is compiled here, for this alone.
        self._change = tf.function(augment.augment, jit_compile=True)

    def train_step(self, batch: Any) -> Any:
        """Learns from a batch, changed by chance."""
        parts = tuple(part for part in batch if part is not None)  # train_on_batch has no weights
        seed = self.augment.generator.next()
        if self.distribute_strategy.num_replicas_in_sync > 1:
            device = tf.distribute.get_replica_context().replica_id_in_sync_group
            seed = self.seed_on(device, seed)
        return super().train_step(self._change(parts, seed))

    def seed_on(self, device: Any, seed: Any) -> Any:
        """Returns the seed of a step on one of the devices, by number; the same if it is the only.

        Devices count steps alike, so that one saved count is that of all; chances should differ.
        """
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return seed
        return child_seed(seed, device)
