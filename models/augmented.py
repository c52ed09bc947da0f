"""Learning from augmented batches: changes images and labels on the device, in training alone."""

from typing import Any

import keras

from cbed_tf.encoding import Encoding
from models.learner import Learner
from pipelines.augmentation import Augment


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

    def train_step(self, batch: Any) -> Any:
        """Learns from a batch, changed by chance."""
        parts = tuple(part for part in batch if part is not None)  # train_on_batch has no weights
        return super().train_step(self.augment(parts, training=True))
