"""Fusions of the views of a sample, by name: from each view's features to what heads answer from.

They treat all views alike, so an answer does not depend on their order, and they leave out views
that are missing, that is, all zeros. A further one is a function from features and presence to
`Fused`, and a line in `FUSIONS`. (`channels` is none of them: there, one encoder sees all views at
once, as `network.py` arranges.)
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

CHANNELS = "channels"
_WIDTH = 256
_HEADS = 4


@dataclasses.dataclass(frozen=True)
class Fused:
    """What heads answer from.

    Attributes:
      sample: (batch, width); or (batch, views, width) where every view is to give an answer by
        itself and the answers are averaged.
      views: (batch, views, width), for what is answered per view; None where no view has features
        of its own.
      present: Over which views answers are averaged, bool (batch, views); None: nothing is.
    """

    sample: keras.KerasTensor
    views: keras.KerasTensor | None = None
    present: keras.KerasTensor | None = None


@keras.saving.register_keras_serializable("cbed_tf")
class PresentViews(layers.Layer):
    """Says which views are there: (batch, views, height, width) -> bool (batch, views).

    A view of zeros is missing. A sample of nothing but those counts as whole, as something must be
    answered.
    """

    def call(self, images: Any) -> Any:
        """Returns whether anything is above 0."""
        present = ops.any(images > 0, axis=(2, 3))
        return ops.logical_or(present, ops.logical_not(ops.any(present, axis=1, keepdims=True)))

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        """Returns the shape and that it is bool."""
        return keras.KerasTensor(images.shape[:2], "bool")


@keras.saving.register_keras_serializable("cbed_tf")
class PoolViews(layers.Layer):
    """Mean and largest of each feature over the views that are present, one beside the other."""

    def call(self, views: Any, present: Any) -> Any:
        """Returns (batch, 2 * width) of features (batch, views, width)."""
        lowest = ops.min(views, axis=1, keepdims=True)
        largest = ops.max(ops.where(present[..., None], views, lowest), axis=1)
        return ops.concatenate([mean_of_present(views, present), largest], axis=-1)

    def compute_output_shape(self, views_shape: tuple, present_shape: tuple) -> tuple:
        """Returns the shape of the pooled features."""
        return (views_shape[0], 2 * views_shape[-1])


@keras.saving.register_keras_serializable("cbed_tf")
class AttendViews(layers.Layer):
    """Lets each view look at the others: one transformer block that knows no order of the views.

    What it says of the views follows them when they change places, and ignores missing ones.

    Args:
      width: Of the answer, (batch, views, width).
      heads: Of the attention; they share the width.
    """

    def __init__(self, width: int = _WIDTH, heads: int = _HEADS, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        same = {"dtype": self.dtype_policy}
        self.projection = layers.Dense(width, name="projection", **same)
        self.norm_first = layers.LayerNormalization(name="norm_first", **same)
        self.attention = layers.MultiHeadAttention(heads, width // heads, name="attention", **same)
        self.norm_second = layers.LayerNormalization(name="norm_second", **same)
        self.wide = layers.Dense(2 * width, "gelu", name="wide", **same)
        self.narrow = layers.Dense(width, name="narrow", **same)

    def build(self, views_shape: tuple, present_shape: tuple) -> None:
        """Makes the weights."""
        shape = (*views_shape[:-1], self.width)
        self.projection.build(views_shape)
        self.attention.build(shape, shape)
        for layer in (self.norm_first, self.norm_second, self.wide):
            layer.build(shape)
        self.narrow.build((*shape[:-1], 2 * self.width))

    def call(self, views: Any, present: Any) -> Any:
        """Returns (batch, views, width)."""
        x = self.projection(views)
        normed = self.norm_first(x)
        # A row for each view that looks, all with the same columns.
        seen = ops.logical_or(present[:, None, :], ops.zeros_like(present)[:, :, None])
        x = x + self.attention(normed, normed, attention_mask=seen)
        return x + self.narrow(self.wide(self.norm_second(x)))

    def compute_output_shape(self, views_shape: tuple, present_shape: tuple) -> tuple:
        """Returns the shape with the new width."""
        return (*views_shape[:-1], self.width)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "width": self.width, "heads": self.heads}


def mean_of_present(values: Any, present: Any) -> Any:
    """Returns the mean over axis 1, the views, of those that are present.

    Args:
      values: (batch, views, size).
      present: bool (batch, views), not all false.
    """
    weights = ops.cast(present, values.dtype)
    weights = weights / ops.sum(weights, axis=1, keepdims=True)
    return ops.sum(values * weights[..., None], axis=1)


def fuse_mean(views: keras.KerasTensor, present: keras.KerasTensor) -> Fused:
    """Mean and largest of each feature, then one hidden layer."""
    pooled = PoolViews(name="mean_and_largest")(views, present)
    fused = layers.Dense(_WIDTH, activation="relu", name="fused")(pooled)
    repeated = layers.RepeatVector(views.shape[1], name="fused_for_each_view")(fused)
    return Fused(fused, layers.Concatenate(name="view_beside_fused")([views, repeated]))


def fuse_attention(views: keras.KerasTensor, present: keras.KerasTensor) -> Fused:
    """The same, after the views have looked at each other."""
    return fuse_mean(AttendViews(name="views_attended")(views, present), present)


def fuse_softmax_mean(views: keras.KerasTensor, present: keras.KerasTensor) -> Fused:
    """Every view answers, and the answers (probabilities, not logits) are averaged."""
    return Fused(views, views, present)


FUSIONS: dict[str, Callable[[keras.KerasTensor, keras.KerasTensor], Fused]] = {
    "mean": fuse_mean,
    "attention": fuse_attention,
    "softmax_mean": fuse_softmax_mean,
}
