"""What all augmentation layers share: when they act, what they take, where their chance comes from.

An augmentation is a function of a batch and a seed, without a state: `augment`. As a Keras layer it
acts in training only and draws a new seed at each call.
"""

import abc
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from cbed_tf.schema import IMAGE, PATTERN_MAX

Labels = dict[str, Any]
# Named, as XLA would choose another one than TensorFlow, and the same seed would mean another draw.
_GENERATOR = "philox"


class AugmentLayer(keras.layers.Layer, abc.ABC):
    """Base of the layers that change images at random, in training only.

    Takes images (batch, views, height, width) as a layer of a network does, or a whole batch as
    `load_dataset` yields it, (images, labels) or (images, labels, weights) with a dict by target
    key, and returns the same. An augmentation that changes what is true of a sample changes the
    labels with it, and the known inputs beside the images; of images alone it cannot. Images are
    float32 inside and of the policy's compute dtype outside.

    Args:
      seed: The same seed repeats the same changes, call by call.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any):
        # Labels are no business of a float16 policy, and raw intensities do not survive it.
        super().__init__(autocast=False, **kwargs)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Any) -> None:
        """Has nothing to build; says so for layers that hold others."""

    def call(self, batch: Any, training: bool | None = None) -> Any:
        """Returns the batch, changed at random if this is training."""
        if training:
            return self.augment(batch, self.generator.next())
        images, labels, weights = _parts(batch)
        images, known = _split_known(images)
        return _like(batch, _told(self._cast(self.unchanged(images)), known), labels, weights)

    def augment(self, batch: Any, seed: Any) -> Any:
        """Returns the batch changed by a seed, two integers; the same seed, the same changes."""
        images, labels, weights = _parts(batch)
        images, known = _split_known(images)
        # What is known of a sample changes as it would if it were a label, and none of it is one.
        labels = {**labels, **known}
        images, labels, weights = self.change(self.prepared(images), labels, weights, seed)
        known = {name: labels.pop(name) for name in known}
        return _like(batch, _told(self._cast(images), known), labels, weights)

    @abc.abstractmethod
    def change(
        self, images: Any, labels: Labels, weights: Labels, seed: Any
    ) -> tuple[Any, Labels, Labels]:
        """Returns float32 images, labels and weights, changed; a layer's own work."""

    def prepared(self, images: Any) -> Any:
        """Returns the images that `change` works on."""
        return ops.cast(images, "float32")

    def unchanged(self, images: Any) -> Any:
        """Returns the images as they are where there is no training."""
        return images

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "seed": self.seed}

    def _cast(self, images: Any) -> Any:
        return ops.cast(images, self.compute_dtype)


def uniform(seed: Any, draw: int, shape: tuple) -> Any:
    """Returns uniform random numbers in [0, 1), float32.

    Args:
      seed: Two integers.
      draw: Tells apart the draws of one seed.
      shape: Of the result; extents may be tensors.
    """
    return tf.random.stateless_uniform(shape, child_seed(seed, draw), alg=_GENERATOR)


def child_seed(seed: Any, number: int) -> Any:
    """Returns one of the independent seeds that a seed stands for."""
    return tf.random.experimental.stateless_fold_in(seed, number, alg=_GENERATOR)


def check_strength(name: str, value: float, least: float, most: float) -> None:
    """Raises ValueError for a strength outside its range."""
    if not least <= value <= most:  # refuses not-a-number too
        raise ValueError(f"{name} is {value}, should be from {least:g} to {most:g}")


def _parts(batch: Any) -> tuple[Any, Labels, Labels]:
    if not isinstance(batch, tuple | list):
        return batch, {}, {}
    images, labels, weights = (*batch, {}, {})[:3]
    if not isinstance(labels, dict) or not isinstance(weights, dict):
        raise ValueError(
            "labels and weights should be dicts by target key, as load_dataset yields them; "
            "augment a batch before picking from its labels"
        )
    return images, dict(labels), dict(weights)


def _split_known(images: Any) -> tuple[Any, Labels]:
    """Returns raw patterns, or 16-bit ones as a dict, and the known inputs beside them."""
    if not isinstance(images, dict):
        return images, {}
    stored = (IMAGE, PATTERN_MAX.name)
    known = {name: value for name, value in images.items() if name not in stored}
    if PATTERN_MAX.name not in images:
        return images[IMAGE], known
    return {name: images[name] for name in stored}, known


def _told(images: Any, known: Labels) -> Any:
    return {IMAGE: images, **known} if known else images


def _like(batch: Any, images: Any, labels: Labels, weights: Labels) -> Any:
    if not isinstance(batch, tuple | list):
        return images
    return (images, labels, weights)[: len(batch)]
