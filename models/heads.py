"""For each kind of target: the head that answers it, the loss that teaches it, its metrics.

Quantities are standardised (mean 0, deviation 1 over train) inside head and loss, so that targets
of any unit weigh alike, and users see angstrom, degree and keV everywhere.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import layers, ops

from cbed_tf.manifest import Statistics
from pipelines.targets import CLASSES, FRACTIONS, QUANTITY, Target

# Float16 would turn a probability of 1e-8 into 0, and knows no number between 190 and 190.125 keV.
_DTYPE = "float32"
_TOP5_FROM_CLASSES = 10


@keras.saving.register_keras_serializable("cbed_tf")
class Destandardize(layers.Layer):
    """Turns standardised answers (batch, size) into natural units: answer * std + mean.

    Args:
      mean: Of each number, or one for all of them, over the training split.
      std: Standard deviation likewise.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any):
        super().__init__(**kwargs)
        self.mean = tuple(mean)
        self.std = tuple(std)

    def call(self, standardized: Any) -> Any:
        """Returns the answers in natural units."""
        std = ops.convert_to_tensor(self.std, standardized.dtype)
        return standardized * std + ops.convert_to_tensor(self.mean, standardized.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "mean": self.mean, "std": self.std}


@keras.saving.register_keras_serializable("cbed_tf")
class StandardizedHuber(keras.losses.Loss):
    """Huber loss of residuals in standard deviations: r^2 / 2 up to 1, |r| - 1/2 beyond.

    Linear far out, because one wrong cell of 60 angstrom should not outweigh a batch of good ones.

    Args:
      std: Standard deviation over the training split, of each number or one for all of them.
    """

    def __init__(self, std: Sequence[float], name: str = "standardized_huber", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.std = tuple(std)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, (batch,)."""
        std = ops.convert_to_tensor(self.std, y_pred.dtype)
        residual = ops.abs(ops.cast(y_true, y_pred.dtype) - y_pred) / std
        loss = ops.where(residual <= 1, 0.5 * ops.square(residual), residual - 0.5)
        return ops.mean(loss, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "std": self.std}


@keras.saving.register_keras_serializable("cbed_tf")
class ClassCrossEntropy(keras.losses.Loss):
    """Cross entropy of class indices (batch,), or of probabilities (batch, classes) after mixup."""

    def __init__(self, name: str = "cross_entropy", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each sample, (batch,)."""
        if _are_probabilities(y_true, y_pred):
            return keras.losses.categorical_crossentropy(y_true, y_pred)
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)


@keras.saving.register_keras_serializable("cbed_tf")
class Top1(keras.metrics.SparseCategoricalAccuracy):
    """Share of samples whose most probable class is right; of a mixture, that of the larger share.

    Args: as of `keras.metrics.SparseCategoricalAccuracy`.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        super().update_state(_indices(y_true, y_pred), y_pred, sample_weight)


@keras.saving.register_keras_serializable("cbed_tf")
class TopK(keras.metrics.SparseTopKCategoricalAccuracy):
    """Share of samples whose class is among the k most probable, likewise.

    Args: as of `keras.metrics.SparseTopKCategoricalAccuracy`.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        super().update_state(_indices(y_true, y_pred), y_pred, sample_weight)


def add_head(
    features: keras.KerasTensor, target: Target, views: int, statistics: Statistics | None
) -> keras.KerasTensor:
    """Returns the answer to a target from features.

    Args:
      features: (batch, width), or (batch, views, width) for a target that is answered per view.
      target: What to answer; its key names the last layer and so the output.
      views: Number of patterns of a sample.
      statistics: Over the training split; needed for quantities.
    """
    if target.kind != QUANTITY:
        size = target.size(views)
        logits = layers.Dense(size, name=f"{target.key}_logits", dtype=_DTYPE)(features)
        return layers.Activation("softmax", name=target.key, dtype=_DTYPE)(logits)
    mean, std = standardization(target, statistics)
    size = 1 if target.per_view else target.size(views)
    answer = layers.Dense(size, name=f"{target.key}_standardized", dtype=_DTYPE)(features)
    if target.per_view:
        answer = layers.Flatten(name=f"{target.key}_by_view", dtype=_DTYPE)(answer)
    return Destandardize(mean, std, name=target.key, dtype=_DTYPE)(answer)


def make_loss(target: Target, statistics: Statistics | None) -> keras.losses.Loss:
    """Returns the loss that teaches a target, one number a sample."""
    if target.kind == CLASSES:
        return ClassCrossEntropy()
    if target.kind == FRACTIONS:
        return keras.losses.CategoricalCrossentropy(name="cross_entropy")
    return StandardizedHuber(standardization(target, statistics)[1])


def make_metrics(target: Target, prefix: str = "") -> list[keras.metrics.Metric]:
    """Returns new metrics of a target: top1 and top5 of classes, mae (in its unit) of the rest."""
    if target.kind != CLASSES:
        return [keras.metrics.MeanAbsoluteError(name=f"{prefix}mae")]
    metrics = [Top1(name=f"{prefix}top1")]
    if len(target.class_names) >= _TOP5_FROM_CLASSES:
        metrics.append(TopK(5, name=f"{prefix}top5"))
    return metrics


def headline_names(logged: Iterable[str]) -> list[str]:
    """Returns the loss and the first metric of each target, from all names that keras logs.

    Those of the dev split have the same names behind `val_`, and are left out.
    """
    training = [name for name in logged if not name.startswith("val_")]
    return [
        *(name for name in training if name == "loss"),
        *(name for name in training if name.endswith(("_top1", "_mae"))),
    ]


def standardization(
    target: Target, statistics: Statistics
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and standard deviation that a quantity is standardised with.

    A label that is constant over train has deviation 0 and is divided by 1. Per-view quantities
    share one mean and deviation, because views have no order.
    """
    mean, std = statistics.mean, statistics.std
    if target.per_view:
        pooled = sum(mean) / len(mean)
        square = sum(m * m + s * s for m, s in zip(mean, std, strict=True)) / len(mean)
        mean, std = (pooled,), (math.sqrt(max(square - pooled * pooled, 0.0)),)
    return mean, tuple(s if s > 0 else 1.0 for s in std)


def _are_probabilities(labels: Any, answers: Any) -> bool:
    return len(labels.shape) == len(answers.shape) and labels.shape[-1] == answers.shape[-1]


def _indices(labels: Any, answers: Any) -> Any:
    return ops.argmax(labels, axis=-1) if _are_probabilities(labels, answers) else labels
