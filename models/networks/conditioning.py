"""What a network is told beside the patterns: known settings of the microscope, joined to features.

They join before the views are fused and the heads answer, so that all that follows can make use of
them. A number for each view joins that view, one of the sample joins all of them.
"""

from collections.abc import Mapping

import keras
from keras import layers

from cbed_tf.dataset.manifest import Statistics
from models.networks.heads import standardization
from pipelines.targets import TARGETS

# Behind its name: the layer that standardises an input, the first that it passes.
KNOWN = "_known"
_EMBEDDED_WIDTH = 32


def make_inputs(names: tuple[str, ...], views: int) -> dict[str, keras.KerasTensor]:
    """Returns a model's input for each known quantity, float32 (batch, size), in its unit."""
    return {
        name: keras.Input((TARGETS[name].size(views),), name=name, dtype="float32")
        for name in names
    }


def join_known(
    features: keras.KerasTensor,
    known: Mapping[str, keras.KerasTensor],
    statistics: Mapping[str, Statistics],
) -> keras.KerasTensor:
    """Returns features of the same shape that know what is known.

    Args:
      features: (batch, views, width), or (batch, width) where no view has features of its own.
      known: By name, in natural units, (batch, size).
      statistics: By name, over the training split.
    """
    if not known:
        return features
    parts = [features]
    for name, values in known.items():
        standardized = _standardize(name, values, statistics[name])
        if len(features.shape) == 3:
            standardized = _for_each_view(name, standardized, features.shape[1])
        embed = layers.Dense(_EMBEDDED_WIDTH, activation="relu", name=f"{name}_embedded")
        parts.append(embed(standardized))
    joined = layers.Concatenate(name="features_beside_known")(parts)
    return layers.Dense(features.shape[-1], activation="relu", name="told_features")(joined)


def _standardize(name: str, values: keras.KerasTensor, statistics: Statistics) -> keras.KerasTensor:
    mean, std = standardization(TARGETS[name], statistics)
    # A per-view quantity has one mean for all views.
    mean, std = (list(x) * (values.shape[1] // len(x)) for x in (mean, std))
    variance = [s * s for s in std]
    # Float16 knows no number between 190 and 190.125 keV.
    normalization = layers.Normalization(
        mean=mean, variance=variance, dtype="float32", name=f"{name}{KNOWN}"
    )
    return normalization(values)


def _for_each_view(name: str, values: keras.KerasTensor, views: int) -> keras.KerasTensor:
    """Returns (batch, views, size) of what is known of each view or of the sample."""
    if TARGETS[name].per_view:
        return layers.Reshape((views, 1), name=f"{name}_of_each_view")(values)
    return layers.RepeatVector(views, name=f"{name}_for_each_view")(values)
