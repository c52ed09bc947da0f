"""Layers that carry the views of a sample through an encoder of single patterns, and back.

The views become part of the batch, so that one encoder sees all patterns of a batch at once.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("cbed_tf")
class FoldViews(keras.layers.Layer):
    """(batch, views, height, width) -> (batch * views, height, width, 1)."""

    def call(self, images: Any) -> Any:
        """Returns the patterns one after the other, with a channel axis."""
        return ops.reshape(images, (-1, *images.shape[2:], 1))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape of the patterns; their number is unknown."""
        return (None, *input_shape[2:], 1)


@keras.saving.register_keras_serializable("cbed_tf")
class UnfoldViews(keras.layers.Layer):
    """(batch * views, features) -> (batch, views, features).

    Args:
      views: Number of patterns of a sample.
    """

    def __init__(self, views: int, **kwargs: Any):
        if views < 1:
            raise ValueError(f"views is {views}, should be at least 1")
        super().__init__(**kwargs)
        self.views = views

    def call(self, features: Any) -> Any:
        """Returns the features with the views on an axis of their own."""
        return ops.reshape(features, (-1, self.views, features.shape[-1]))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape with the views on an axis of their own."""
        return (None, self.views, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "views": self.views}
