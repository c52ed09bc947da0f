"""Learning from augmented batches: changes images and labels on the device, in training alone."""

from typing import Any

import keras

from pipelines.augmentation import Augment


class AugmentedModel(keras.Model):
    """Fits a model to batches that are changed at random; evaluates and predicts as it does.

    It shares the model's weights and is not saved itself: what is saved, exported and asked is the
    model, which knows of no augmentation.

    Args:
      model: Takes raw intensities, from `models.build_model` or of anyone's own.
      augment: Changes batches of (images, labels) or (images, labels, weights), with dicts by
        target key.
      front: The same weights for images as the data set yields them, for evaluation; `model` if not
        given.
    """

    def __init__(
        self,
        model: keras.Model,
        augment: Augment,
        front: keras.Model | None = None,
        **kwargs: Any,
    ):
        # A float16 policy is for the model's layers; raw intensities would not survive it here.
        super().__init__(autocast=False, **kwargs)
        self.model = model
        self.front = front or model
        self.augment = augment

    def build(self, input_shape: Any) -> None:
        """Has nothing to build."""

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Returns the model's answers to raw intensities or to 16-bit patterns."""
        network = self.front if isinstance(images, dict) else self.model
        return network(images, training=training)

    def train_step(self, batch: Any) -> Any:
        """Learns from a batch, changed by chance."""
        parts = tuple(part for part in batch if part is not None)  # train_on_batch has no weights
        return super().train_step(self.augment(parts, training=True))
