"""One training step of a new model, by itself, to be timed."""

import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cbed_tf.errors import CbedError
from models.learning.compiling import compile_model
from models.learning.learner import Learner
from models.learning.precision import precision
from models.networks.network import build_model
from pipelines import get_targets
from pipelines.reading.remote import load_manifest


def make_train_step(
    data_dir: str | os.PathLike, backbone: str, mixed_precision: bool = False
) -> Callable[[Any, dict[str, tf.Tensor]], None]:
    """Returns forward, backward and optimizer of a model that learns space groups.

    Args:
      data_dir: Data set that the model fits.
      backbone: Name in `models.networks.backbones.BACKBONES`.
      mixed_precision: Compute in float16 where that is safe.

    Returns:
      A function of images and labels, as `load_dataset` yields them, that returns when the step is
      done. It raises CbedError if the batch does not fit into the device's memory.
    """
    manifest = load_manifest(data_dir)
    targets = get_targets(["space_group"])
    with precision(mixed_precision):
        model = build_model(manifest.image_shape, targets, manifest.statistics, backbone)
        fitted = Learner(model, manifest.encoding)
        compile_model(fitted, targets, manifest, keras.optimizers.AdamW())

    def step(images: Any, labels: dict[str, tf.Tensor]) -> None:
        try:
            fitted.train_on_batch(images, labels)  # fetches the loss, so it waits for the device
        except tf.errors.ResourceExhaustedError as error:
            raise CbedError(
                f"a training step of {backbone} does not fit into memory: a smaller batch_size may"
            ) from error

    return step
