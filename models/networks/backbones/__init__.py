"""Encoders, by name: (patterns, height, width, channels) -> (patterns, features).

A further one is a module with a function from (height, width, channels) to such a keras.Model, and
a line in `BACKBONES`.
"""

import os
import random
from collections.abc import Callable

import keras
from keras import layers

from cbed_tf.errors import CbedError
from models.networks.backbones.applications import Application
from models.networks.backbones.convnext import CONVNEXT
from models.networks.backbones.efficientnetv2 import EFFICIENTNETV2
from models.networks.backbones.polar import polar
from models.networks.backbones.resnet50 import RESNET50
from models.networks.backbones.small import small

BACKBONES: dict[str, Callable[[int, int, int], keras.Model]] = {
    "small": small,
    "polar": polar,
    "resnet50": RESNET50,
    "efficientnetv2": EFFICIENTNETV2,
    "convnext": CONVNEXT,
}


def build_backbone(
    name: str,
    height: int,
    width: int,
    channels: int = 1,
    *,
    pretrained: str | os.PathLike | None = None,
    synchronized: bool = False,
) -> keras.Model:
    """Returns a new encoder for patterns of one size.

    Args:
      name: In `BACKBONES`.
      height: Of a pattern.
      width: Likewise.
      channels: Of a pattern; the views, where these are its channels.
      pretrained: File of ImageNet weights to start from, as keras.applications distributes them.
      synchronized: Normalise batches over all devices of tf.distribute, not each one its part.

    Raises:
      CbedError: There is no backbone of that name, it cannot take patterns as small as these, or
        it takes no such weights.
    """
    check_backbone(name, bool(pretrained))
    backbone = BACKBONES[name]
    if pretrained:
        encoder = backbone.pretrained(height, width, channels, pretrained)
    else:
        encoder = backbone(height, width, channels)
    return _synchronize(encoder) if synchronized else encoder


def check_backbone(name: str, is_pretrained: bool = False) -> None:
    """Refuses an unknown backbone, or one that no pretrained weights are known of.

    Raises:
      CbedError: It is.
    """
    if name not in BACKBONES:
        raise CbedError(f"backbone is {name!r}, should be one of {', '.join(BACKBONES)}")
    if is_pretrained and not isinstance(BACKBONES[name], Application):
        able = [key for key, backbone in BACKBONES.items() if isinstance(backbone, Application)]
        raise CbedError(
            f"pretrained: there are no pretrained weights for backbone {name!r}, only for "
            f"{', '.join(able)}"
        )


def _synchronize(encoder: keras.Model) -> keras.Model:
    """Returns the encoder with batch normalisation over all devices, weights included."""
    if not any(isinstance(x, layers.BatchNormalization) for x in encoder._flatten_layers()):
        return encoder

    def remake(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        if isinstance(layer, layers.BatchNormalization):
            config["synchronized"] = True
        return type(layer).from_config(config)

    # Keras draws the seeds of layers here: those that follow start alike on any number of devices.
    state = random.getstate()
    remade = keras.models.clone_model(encoder, clone_function=remake, recursive=True)
    random.setstate(state)
    remade.set_weights(encoder.get_weights())
    return remade
