"""EfficientNetV2-B0: the smallest of its family, 6 million weights."""

import functools

import keras

from models.networks.backbones.applications import Application

EFFICIENTNETV2 = Application(
    "efficientnetv2",
    functools.partial(keras.applications.EfficientNetV2B0, include_preprocessing=False),
    # Trained on photographs with mean 0 and deviation 1.
    scale=1 / 0.225,
    offset=-0.449 / 0.225,
)
