"""The multi-view, multi-output network: raw intensities in, one answer for each target out.

    images (views, height, width) -> scaling -> encoder, shared by the views -> features of a view
        -> mean and largest over the views -> fused -> heads

The answers do not depend on the order of the views, except those that are given per view, which
follow it. Encoders are in `backbones.py`, heads in `heads.py`.

A model is saved, exported and asked with raw intensities, whatever it was trained on. 16-bit
patterns reach the same weights through a second front, `front_for`.
"""

from collections.abc import Mapping, Sequence

import keras
from keras import layers

from cbed_tf.encoding import Encoding
from cbed_tf.manifest import Statistics
from cbed_tf.schema import IMAGE
from models.backbones import build_backbone
from models.heads import add_head
from models.views import FoldViews, UnfoldViews
from pipelines.scaling import IntensityScaling
from pipelines.targets import Target

_FUSED_WIDTH = 256


def build_model(
    image_shape: tuple[int, int, int],
    targets: Sequence[Target],
    statistics: Mapping[str, Statistics],
    backbone: str = "small",
    scaling: IntensityScaling | None = None,
) -> keras.Model:
    """Returns an untrained model that answers raw intensities, (batch, views, height, width).

    Its output is a dict by target key: probabilities (batch, classes) or fractions (batch,
    elements) that sum to 1, or quantities (batch, size) in their units; float32 whatever the
    precision policy.

    Args:
      image_shape: (views, height, width), of a sample.
      targets: What to answer, from `pipelines.get_targets`.
      statistics: By key, for every quantity among the targets; `Manifest.statistics` has them.
      backbone: Name in `backbones.BACKBONES`.
      scaling: First layer; the fourth root by default.

    Raises:
      CbedError: The backbone is unknown or cannot take such images.
    """
    views, height, width = image_shape
    images = keras.Input((views, height, width), name=IMAGE, dtype="float32")
    scaled = (scaling or IntensityScaling(name="intensity_scaling"))(images)
    patterns = FoldViews(name="fold_views")(scaled)
    encoded = build_backbone(backbone, height, width)(patterns)
    per_view = UnfoldViews(views, name="unfold_views")(encoded)
    fused = _fuse(per_view)
    beside_fused = layers.Concatenate(name="view_beside_fused")(
        [per_view, layers.RepeatVector(views, name="fused_for_each_view")(fused)]
    )
    answers = {
        target.key: add_head(
            beside_fused if target.per_view else fused, target, views, statistics.get(target.key)
        )
        for target in targets
    }
    return keras.Model(images, answers, name=f"cbed_{backbone}")


def front_for(model: keras.Model, encoding: Encoding) -> keras.Model:
    """Returns a model with the same weights that takes images as `load_dataset` yields them.

    Args:
      model: From `build_model`, trained or not.
      encoding: Of the data set's patterns; with raw ones the answer is `model` itself.
    """
    if not encoding.beside:
        return model
    image_shape = model.input_shape[1:]
    images = {IMAGE: keras.Input(image_shape, name=IMAGE, dtype=encoding.dtype.name)}
    for field in encoding.beside:
        shape = field.shape_for(image_shape[0])
        images[field.name] = keras.Input(shape, name=field.name, dtype=field.dtype)
    scaling = next(layer for layer in model.layers if isinstance(layer, IntensityScaling))
    body = keras.Model(scaling.output, model.output, name=f"{model.name}_body")
    return keras.Model(images, body(scaling(images)), name=f"{model.name}_{encoding.name}")


def _fuse(per_view: keras.KerasTensor) -> keras.KerasTensor:
    """(batch, views, features) -> (batch, fused features)."""
    mean = layers.GlobalAveragePooling1D(name="mean_of_views")(per_view)
    largest = layers.GlobalMaxPooling1D(name="largest_of_views")(per_view)
    both = layers.Concatenate(name="mean_and_largest")([mean, largest])
    return layers.Dense(_FUSED_WIDTH, activation="relu", name="fused")(both)
