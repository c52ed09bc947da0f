"""tf.data: shards -> shuffled, batched, labelled tensors on the device.

Builds on `cbed_tf` (what a sample is, where it lies) and is built upon by `models`.
"""

from pipelines.loading import load_dataset
from pipelines.scaling import IntensityScaling
from pipelines.targets import TARGETS, Target, get_targets

__all__ = ["TARGETS", "IntensityScaling", "Target", "get_targets", "load_dataset"]
