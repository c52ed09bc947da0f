"""ConvNeXt-Tiny: convolutions with the proportions of a transformer, 28 million weights."""

import functools

import keras

from models.networks.backbones.applications import Application

CONVNEXT = Application(
    "convnext",
    functools.partial(keras.applications.ConvNeXtTiny, include_preprocessing=False),
    # Trained on photographs with mean 0 and deviation 1.
    scale=1 / 0.225,
    offset=-0.449 / 0.225,
)
