"""tf.data: shards -> shuffled, batched, labelled tensors on the device.

Builds on `cbed_tf` (what a sample is, where it lies) and is built upon by `models`.
"""

from pipelines.augmentation.augment import Augment, Augmentation, augment_dataset
from pipelines.reading.loading import load_dataset
from pipelines.reading.order import Position
from pipelines.scaling import IntensityScaling
from pipelines.targets import TARGETS, Target, get_targets

__all__ = [
    "TARGETS",
    "Augment",
    "Augmentation",
    "IntensityScaling",
    "Position",
    "Target",
    "augment_dataset",
    "get_targets",
    "load_dataset",
]
