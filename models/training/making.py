"""Makes what a training trains: the model to save, the form of it that is fitted, the optimizer."""

import keras
import tensorflow as tf

from cbed_tf.dataset.manifest import Manifest
from models.learning.augmented import AugmentedModel
from models.learning.compiling import LossOptions, compile_model
from models.learning.learner import Learner
from models.learning.optimizer import ScheduledAdamW
from models.learning.options import TrainingOptions
from models.learning.precision import precision
from models.learning.schedules import Schedule
from models.networks.network import build_model
from pipelines import Augment, Augmentation, IntensityScaling, get_targets


def make_models(
    manifest: Manifest, options: TrainingOptions, updates: int
) -> tuple[keras.Model, Learner]:
    """Returns the model to save, for raw intensities, and the compiled form of it that is fitted.

    They share their weights. The first one is not compiled, so that its file holds no optimizer.

    Args:
      manifest: Of the training data.
      options: How to train.
      updates: Of the weights, in the whole training.
    """
    targets = get_targets(options.targets)
    with precision(options.mixed_precision):
        scaling = IntensityScaling(
            options.scaling, options.exponent, options.floor, name="intensity_scaling"
        )
        model = build_model(
            manifest.image_shape,
            targets,
            manifest.statistics,
            options.backbone,
            scaling,
            fusion=options.fusion,
            dropout=options.dropout,
            uncertainty=options.uncertainty,
            inputs=options.inputs,
            pretrained=options.pretrained,
            synchronized=tf.distribute.get_strategy().num_replicas_in_sync > 1,
        )
        encoding = manifest.encoding
        if any(options.augment.values()):
            augment = Augment(Augmentation(**options.augment), options.seed, name="augment")
            fitted = AugmentedModel(model, augment, encoding, name=f"{model.name}_augmented")
        else:
            fitted = Learner(model, encoding, name=f"{model.name}_learner")
        losses = LossOptions.of_training(options)
        compile_model(fitted, targets, manifest, make_optimizer(options, updates), losses)
    return model, fitted


def make_optimizer(options: TrainingOptions, updates: int) -> ScheduledAdamW:
    """Returns the optimizer of a training.

    Args:
      options: How to train.
      updates: Of the weights, in the whole training.
    """
    return ScheduledAdamW(
        Schedule(options.schedule, options.learning_rate, updates, options.warmup),
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm,
        ema=options.ema,
        has_accumulation=options.accumulate > 1,
        scales_loss=options.mixed_precision,
    )
