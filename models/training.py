"""Trains a model on a data set and leaves a run folder that reproduces it (see `runs.py`)."""

import contextlib
import logging
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf

from cbed_tf import __version__
from cbed_tf.manifest import Manifest
from models import callbacks, figures, runs
from models.augmented import AugmentedModel
from models.compiling import LossOptions, compile_model
from models.learner import Learner
from models.network import build_model
from models.options import TrainingOptions
from pipelines import Augment, Augmentation, IntensityScaling, get_targets, load_dataset
from pipelines.remote import is_url, load_manifest
from pipelines.targets import CLASSES

_LOG = logging.getLogger(__name__)
_WARMUP_SHARE = 20


def train(
    data_dir: str | os.PathLike, run_dir: str | os.PathLike, options: TrainingOptions
) -> dict[str, list[float]]:
    """Trains a model, with the dev split as its judge where there is one.

    Args:
      data_dir: A data set of `cbed convert`: a folder, or a URL.
      run_dir: Folder of the new run.
      options: How to train.

    Returns:
      Losses and metrics by name, one number an epoch; what `log.csv` holds.

    Raises:
      CbedError: The data set has no training split, the folder already holds a run, or the loss
        became not a number.
    """
    manifest = load_manifest(data_dir)
    samples = manifest.split("train").samples
    _make_repeatable(options)
    train_data = _load(data_dir, "train", options)
    dev_data = _load(data_dir, "dev", options) if "dev" in manifest.splits else None
    steps = options.epochs * math.ceil(samples / options.batch_size)
    model, fitted = _make_models(manifest, options, steps)
    run_dir = runs.claim_run_dir(run_dir, _flag_lines(data_dir, run_dir, options))
    _LOG.info(
        "training %s (%s weights) on %d samples, on %s",
        model.name, f"{model.count_params():,}", samples, _device_name(),
    )  # fmt: skip
    checkpoints = callbacks.SaveCheckpoints(run_dir, "val_loss" if dev_data else "loss", model)
    history = keras.callbacks.History()
    reporters = [history, callbacks.StopOnNaN(), checkpoints]
    reporters += _reporters(run_dir, options, samples)
    try:
        fitted.fit(
            train_data,
            validation_data=dev_data,
            epochs=options.epochs,
            callbacks=reporters,
            verbose=1 if sys.stdout.isatty() else 0,
            shuffle=False,  # the data set shuffles
        )
    finally:  # an interrupted training has a curve too
        figures.save_training_curve(run_dir / runs.CURVE_NAME, history.history)
    _LOG.info(
        "lowest %s %.4g in epoch %d; models, log and curve are in %s",
        checkpoints.monitor, checkpoints.best, checkpoints.best_epoch, run_dir,
    )  # fmt: skip
    return history.history


def _make_repeatable(options: TrainingOptions) -> None:
    keras.utils.set_random_seed(options.seed)
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()


def _load(data_dir: str | os.PathLike, split: str, options: TrainingOptions) -> tf.data.Dataset:
    training = split == "train"
    return load_dataset(
        data_dir,
        split,
        options.batch_size,
        targets=options.targets,
        shuffle=training,
        seed=options.seed,
        reader=options.reader,
        balance=options.balance if training else 0.0,
        shuffle_block=options.shuffle_block if training else 0,
        class_weights=_class_weights(options) if training else None,
    )


def _class_weights(options: TrainingOptions) -> dict[str, str] | None:
    if options.class_weights == "none":
        return None
    targets = get_targets(options.targets)
    return {t.key: options.class_weights for t in targets if t.kind == CLASSES}


def _make_models(
    manifest: Manifest, options: TrainingOptions, steps: int
) -> tuple[keras.Model, keras.Model]:
    """Returns the model to save, for raw intensities, and the form of it that is fitted."""
    targets = get_targets(options.targets)
    with _precision(options.mixed_precision):
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
            pretrained=options.pretrained,
        )
        encoding = manifest.encoding
        if any(options.augment.values()):
            augment = Augment(Augmentation(**options.augment), options.seed, name="augment")
            fitted = AugmentedModel(model, augment, encoding, name=f"{model.name}_augmented")
        else:
            fitted = Learner(model, encoding, name=f"{model.name}_learner")
        optimizer = _make_optimizer(options, steps)
        losses = LossOptions.of_training(options)
        compile_model(fitted, targets, manifest, optimizer, losses)
    return model, fitted


@contextlib.contextmanager
def _precision(mixed: bool) -> Iterator[None]:
    """Sets keras's policy for the layers made inside, which keep it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if mixed else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _make_optimizer(options: TrainingOptions, steps: int) -> keras.optimizers.Optimizer:
    rate = options.learning_rate
    if options.schedule == "cosine":
        # Adam's first steps, ignorant of the gradients' size, would take the quantities far off.
        warmup = steps // _WARMUP_SHARE
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10, steps - warmup, warmup_target=rate, warmup_steps=warmup
        )
    return keras.optimizers.AdamW(rate, weight_decay=options.weight_decay)


def _reporters(
    run_dir: Path, options: TrainingOptions, samples: int
) -> list[keras.callbacks.Callback]:
    return [
        callbacks.WriteLog(run_dir / runs.LOG_NAME),
        keras.callbacks.TensorBoard(run_dir / runs.TENSORBOARD_NAME, write_graph=False),
        *([] if sys.stdout.isatty() else [callbacks.ReportEpochs(options.epochs, samples)]),
    ]


def _flag_lines(
    data_dir: str | os.PathLike, run_dir: str | os.PathLike, options: TrainingOptions
) -> list[str]:
    return [
        "# Repeat with: cbed train --flagfile=THIS_FILE --run_dir=ANOTHER_FOLDER",
        f"# cbed-tf {__version__}, tensorflow {tf.__version__}, keras {keras.__version__}, "
        f"on {_device_name()}",
        f"--data_dir={data_dir if is_url(data_dir) else os.path.abspath(data_dir)}",
        f"--run_dir={os.path.abspath(run_dir)}",
        *options.as_flags(),
    ]


def _device_name() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{os.cpu_count()} CPU cores"
    details = tf.config.experimental.get_device_details(gpus[0])
    return f"{len(gpus)} x {details.get('device_name', 'GPU')}"
