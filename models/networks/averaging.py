"""Layers that make one answer of the views' answers, for fusions where every view gives its own."""

from typing import Any

import keras
from keras import layers, ops

from models.networks.fusion import mean_of_present
from models.networks.probabilities import LOG_OF_NOTHING


class _OverViews(layers.Layer):
    """Base: (batch, views, size) and presence, bool (batch, views), to (batch, size)."""

    def compute_output_shape(self, values_shape: tuple, *_: tuple) -> tuple:
        """Returns the shape without the views."""
        return (values_shape[0], *values_shape[2:])


@keras.saving.register_keras_serializable("cbed_tf")
class MeanOverViews(_OverViews):
    """Averages what the views answer."""

    def call(self, values: Any, present: Any) -> Any:
        """Returns the mean over the views that are present."""
        return mean_of_present(values, present)


@keras.saving.register_keras_serializable("cbed_tf")
class LogMeanOverViews(_OverViews):
    """Averages probabilities whose logarithms the views answer; returns the logarithm."""

    def call(self, logarithms: Any, present: Any) -> Any:
        """Returns log(mean(exp(x))) over the views that are present, safely."""
        seen = ops.where(present[..., None], logarithms, LOG_OF_NOTHING)
        count = ops.sum(ops.cast(present, logarithms.dtype), axis=1, keepdims=True)
        return ops.logsumexp(seen, axis=1) - ops.log(count)


@keras.saving.register_keras_serializable("cbed_tf")
class DeviationOverViews(_OverViews):
    """Standard deviation of the views' mean answer, from theirs and from how they differ.

    That of the mixture of their distributions: variance = mean(std^2 + answer^2) - mean(answer)^2.
    """

    def call(self, deviations: Any, answers: Any, present: Any) -> Any:
        """Returns the standard deviations, (batch, size)."""
        spread = answers - mean_of_present(answers, present)[:, None]
        variance = mean_of_present(ops.square(deviations) + ops.square(spread), present)
        return ops.sqrt(variance)
