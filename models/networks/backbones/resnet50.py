"""ResNet-50, as in the published trainings on this archive."""

import keras

from models.networks.backbones.applications import Application

# Trained on 0..255 less the mean of red, green and blue.
RESNET50 = Application("resnet50", keras.applications.ResNet50, scale=255.0, offset=-117.0)
