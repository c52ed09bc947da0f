"""The multi-view, multi-output network: raw intensities in, one answer for each target out.

    images (views, height, width) -> scaling -> encoder, shared by the views -> features of a view
        -> joined with what is known -> fusion of the views -> heads

The answers do not depend on the order of the views, except those that are given per view, which
follow it. Fusion 'channels' gives that up: its encoder sees the views as the channels of one image.
Encoders are in `backbones/`, fusions in `fusion.py`, heads in `heads.py`, known inputs in
`conditioning.py`.

A model is saved, exported and asked with raw intensities, whatever it was trained on. 16-bit
patterns reach the same weights through a second front, `front_for`.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence

import keras
from keras import layers

from cbed_tf.dataset.encoding import Encoding
from cbed_tf.dataset.manifest import Statistics
from cbed_tf.errors import CbedError
from cbed_tf.schema import IMAGE, PATTERN_MAX
from models.networks.backbones import build_backbone
from models.networks.conditioning import KNOWN, join_known, make_inputs
from models.networks.fusion import CHANNELS, FUSIONS, Fused, PresentViews
from models.networks.heads import LOGARITHMS, PRESENCE, add_answers
from models.networks.views import FoldViews, UnfoldViews
from pipelines.scaling import IntensityScaling
from pipelines.targets import Target, get_inputs


def build_model(
    image_shape: tuple[int, int, int],
    targets: Sequence[Target],
    statistics: Mapping[str, Statistics],
    backbone: str = "small",
    scaling: IntensityScaling | None = None,
    *,
    fusion: str = "mean",
    dropout: float = 0.0,
    uncertainty: bool = False,
    inputs: Sequence[str] = (),
    pretrained: str | os.PathLike | None = None,
    synchronized: bool = False,
) -> keras.Model:
    """Returns an untrained model that answers raw intensities, (batch, views, height, width).

    With known `inputs` it takes a dict: the intensities as 'cbed_stack', and each of these, float32
    (batch, size), by its name.

    Its output is a dict by target key: probabilities (batch, classes) or fractions (batch,
    elements) that sum to 1, or quantities (batch, size) in their units, with `uncertainty` beside
    their standard deviations as `KEY_std`; float32 whatever the precision policy.

    Args:
      image_shape: (views, height, width), of a sample.
      targets: What to answer, from `pipelines.get_targets`.
      statistics: By key, for every quantity among the targets; `Manifest.statistics` has them.
      backbone: Name in `backbones.BACKBONES`.
      scaling: First layer; the fourth root by default.
      fusion: Name in `fusion.FUSIONS`, or 'channels'.
      dropout: Share of the fused features that a training step leaves out.
      uncertainty: Answer a standard deviation beside every quantity.
      inputs: What it is told beside the patterns, from `pipelines.targets.INPUTS`; `statistics` has
        to have these too.
      pretrained: File of ImageNet weights for the backbone; None for random ones.
      synchronized: Normalise batches over all devices of tf.distribute together.

    Raises:
      CbedError: The backbone or the fusion is unknown, or the backbone cannot take such images or
        weights, or an input is unknown or a target.
    """
    views = image_shape[0]
    known = make_inputs(get_inputs(inputs, [target.key for target in targets]), views)
    images = keras.Input(image_shape, name=IMAGE, dtype="float32")
    scaled = (scaling or IntensityScaling(name="intensity_scaling"))(images)
    build_encoder = functools.partial(
        build_backbone, backbone, pretrained=pretrained, synchronized=synchronized
    )
    join = functools.partial(join_known, known=known, statistics=statistics)
    fused = _fuse(scaled, fusion, build_encoder, join)
    answers = add_answers(_drop(fused, dropout), targets, views, statistics, uncertainty)
    model_inputs = {IMAGE: images, **known} if known else images
    return keras.Model(model_inputs, answers, name=f"cbed_{backbone}")


def known_inputs(model: keras.Model) -> tuple[str, ...]:
    """Returns what a model of `build_model`, or a front of it, is told beside the patterns."""
    names = model.input if isinstance(model.input, dict) else ()
    return tuple(name for name in names if name not in (IMAGE, PATTERN_MAX.name))


def front_for(model: keras.Model, encoding: Encoding) -> keras.Model:
    """Returns a model with the same weights that takes images as `load_dataset` yields them.

    Args:
      model: From `build_model`, trained or not.
      encoding: Of the data set's patterns; with raw ones the answer is `model` itself.
    """
    if not encoding.beside:
        return model
    names = known_inputs(model)
    scaling = next(layer for layer in model.layers if isinstance(layer, IntensityScaling))
    firsts = [model.get_layer(f"{name}{KNOWN}") for name in names]
    # From what the first layers answer: a model from some of another one's inputs and some tensors
    # within would spoil that one for saving (Keras 3.12).
    cut = [layer.output for layer in (scaling, *firsts)]
    body = keras.Model(cut, model.output, name=f"{model.name}_body")

    image_shape = scaling.input.shape[1:]
    images = {IMAGE: keras.Input(image_shape, name=IMAGE, dtype=encoding.dtype.name)}
    for field in encoding.beside:
        shape = field.shape_for(image_shape[0])
        images[field.name] = keras.Input(shape, name=field.name, dtype=field.dtype)
    told = make_inputs(names, image_shape[0])
    known = [first(told[name]) for name, first in zip(names, firsts, strict=True)]
    inputs = {**images, **told}
    return keras.Model(
        inputs, body([scaling(images), *known]), name=f"{model.name}_{encoding.name}"
    )


def learning_form(model: keras.Model) -> keras.Model:
    """Returns a model with the same weights that answers what losses need, too.

    Args:
      model: From `build_model`. Anyone's own comes back as it is, with nothing to add.
    """
    names = [x.name for x in model.layers if x.name.endswith((LOGARITHMS, PRESENCE))]
    if not names:
        return model
    more = {name: model.get_layer(name).output for name in names}
    return keras.Model(model.input, {**model.output, **more}, name=f"{model.name}_learning")


def _fuse(
    scaled: keras.KerasTensor,
    fusion: str,
    build_encoder: Callable[..., keras.Model],
    join: Callable[[keras.KerasTensor], keras.KerasTensor],
) -> Fused:
    """Encodes and fuses scaled images, (batch, views, height, width), and joins what is known."""
    views, height, width = scaled.shape[1:]
    if fusion == CHANNELS:
        stacked = layers.Permute((2, 3, 1), name="views_as_channels")(scaled)
        return Fused(join(build_encoder(height, width, views)(stacked)))
    if fusion not in FUSIONS:
        known = ", ".join((*FUSIONS, CHANNELS))
        raise CbedError(f"fusion is {fusion!r}, should be one of {known}")
    encoded = build_encoder(height, width)(FoldViews(name="fold_views")(scaled))
    per_view = UnfoldViews(views, name="unfold_views")(encoded)
    return FUSIONS[fusion](join(per_view), PresentViews(name="present_views")(scaled))


def _drop(fused: Fused, rate: float) -> Fused:
    if not rate:
        return fused
    sample = layers.Dropout(rate, name="dropout")(fused.sample)
    views = fused.views
    if views is not None:
        views = layers.Dropout(rate, name="dropout_of_views")(views)
    return Fused(sample, views, fused.present)
