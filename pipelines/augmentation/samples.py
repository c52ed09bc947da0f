"""Augmentations of whole samples: the order of the views, and mixtures of two samples.

Both change labels with the images.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from cbed_tf.schema import FIELD, VIEWS
from pipelines.augmentation.layer import AugmentLayer, Labels, check_strength, uniform
from pipelines.targets import CLASSES, TARGETS


@keras.saving.register_keras_serializable("cbed_tf")
class PermuteViews(AugmentLayer):
    """Shows the views of a sample in another order, and per-view labels (d-spacings) with them.

    Which zone axis was recorded first says nothing about the crystal. A network that treats all
    views alike, as `models.build_model` does, has no use for it.

    Args:
      probability: Of a sample to be reordered; the new order may be the old one.
      seed: The same seed repeats the same orders.
    """

    def __init__(self, probability: float = 1.0, seed: int | None = None, **kwargs: Any):
        check_strength("probability", probability, 0, 1)
        super().__init__(seed, **kwargs)
        self.probability = probability

    def change(
        self, images: Any, labels: Labels, weights: Labels, seed: Any
    ) -> tuple[Any, Labels, Labels]:
        """Reorders the views, and every label that has a number for each."""
        batch, views = ops.shape(images)[:2]
        chosen = uniform(seed, 0, (batch, 1)) < self.probability
        order = ops.where(
            chosen, ops.argsort(uniform(seed, 1, (batch, views)), axis=1), ops.arange(views)
        )
        reordered = {
            key: tf.gather(label, order, batch_dims=1) if _is_per_view(key) else label
            for key, label in labels.items()
        }
        return tf.gather(images, order, batch_dims=1), reordered, weights

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "probability": self.probability}


@keras.saving.register_keras_serializable("cbed_tf")
class MixUp(AugmentLayer):
    """Adds a share of another sample of the batch to each sample, and mixes their labels.

    A beam on a boundary sees two crystals at once; and a network that must tell how much of which
    it sees is less sure where it has no reason to be (Zhang et al., mixup, ICLR 2018, whose
    Beta(1, 1) is a share of up to 0.5). For scaled images: a tenth of the intensity would still
    show at 56 % in the fourth root, and the label would not say what is seen.

    Labels of classes become probabilities (batch, classes): their loss is linear in the label, so
    it is exactly the mixture of the two losses. Between two energies or d-spacings lies one that
    neither crystal has, and of which elements are there a mixture says nothing of their shares; so
    a quantity or a composition is that of one of the two, drawn by their shares, and on average
    over draws that is the mixture of the two losses again. Weights are mixed such that this holds
    for weighted losses. What is no target stays.

    Args:
      share: Greatest share of the other sample, up to 0.5.
      seed: The same seed repeats the same mixtures.
    """

    def __init__(self, share: float = 0.5, seed: int | None = None, **kwargs: Any):
        check_strength("share", share, 0, 0.5)
        super().__init__(seed, **kwargs)
        self.share = share

    def change(
        self, images: Any, labels: Labels, weights: Labels, seed: Any
    ) -> tuple[Any, Labels, Labels]:
        """Mixes each sample with another one, or by chance with itself."""
        batch = ops.shape(images)[0]
        other = ops.argsort(uniform(seed, 0, (batch,)))
        share = self.share * uniform(seed, 1, (batch,))
        drawn = uniform(seed, 2, (batch,)) < share
        mixed_labels, mixed_weights = {}, dict(weights)
        for key, label in labels.items():
            mixed_labels[key], weight = _mix_label(
                key, label, weights.get(key), other, share, drawn
            )
            if weight is not None:
                mixed_weights[key] = weight
        return _mix(images, other, share), mixed_labels, mixed_weights

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "share": self.share}


def _mix_label(
    key: str, label: Any, weight: Any, other: Any, share: Any, drawn: Any
) -> tuple[Any, Any]:
    """Returns a label and its weight (None without weights), mixed."""
    target = TARGETS.get(key)
    if target is None:
        return label, weight
    if target.kind != CLASSES:
        chosen = ops.where(drawn, other, ops.arange(ops.shape(other)[0]))
        return ops.take(label, chosen, axis=0), _taken(weight, chosen)
    label = ops.one_hot(label, len(target.class_names), dtype="float32")
    if weight is None:
        return _mix(label, other, share), None
    # Of two weighted losses: the labels by shares of weight, and the sum of these as weight.
    others = share * ops.take(weight, other)
    total = (1 - share) * weight + others
    return _mix(label, other, others / ops.where(total > 0, total, 1.0)), total


def _mix(values: Any, other: Any, share: Any) -> Any:
    """Returns (1 - share) * value + share * other value, with shares (batch,)."""
    share = ops.reshape(share, (-1, *[1] * (len(values.shape) - 1)))
    return values + (ops.take(values, other, axis=0) - values) * share


def _taken(weight: Any, chosen: Any) -> Any:
    return None if weight is None else ops.take(weight, chosen)


def _is_per_view(key: str) -> bool:
    source = TARGETS[key].source if key in TARGETS else key
    return source in FIELD and VIEWS in FIELD[source].shape
