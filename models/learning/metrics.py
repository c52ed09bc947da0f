"""What is reported of each target while a model learns, and under which names.

A label that is absent (no class, not a number, no element) counts neither for nor against.
"""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from models.learning.losses import are_shares
from pipelines.targets import CLASSES, FRACTIONS, Target

_TOP5_FROM_CLASSES = 10


class Top1(keras.metrics.SparseCategoricalAccuracy):
    """Share of samples whose most probable class is right; of a mixture, that of the larger share.

    Args: as of `keras.metrics.SparseCategoricalAccuracy`.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        super().update_state(*_counted(y_true, y_pred, sample_weight))


class TopK(keras.metrics.SparseTopKCategoricalAccuracy):
    """Share of samples whose class is among the k most probable, likewise.

    Args: as of `keras.metrics.SparseTopKCategoricalAccuracy`.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        super().update_state(*_counted(y_true, y_pred, sample_weight))


class AbsoluteError(keras.metrics.Mean):
    """Mean absolute difference of all numbers, in their unit.

    Args:
      are_fractions: Whether a row of zeros is an absent label.
      **kwargs: As of `keras.metrics.Mean`.
    """

    def __init__(self, are_fractions: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self._are_fractions = are_fractions

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch; weights are of samples."""
        known = ops.isfinite(y_true)
        if self._are_fractions:
            known = ops.logical_and(known, ops.any(y_true > 0, axis=-1, keepdims=True))
        error = ops.abs(ops.where(known, y_true, 0.0) - y_pred)
        weights = ops.cast(known, error.dtype)
        if sample_weight is not None:
            weights = weights * ops.cast(sample_weight, error.dtype)[:, None]
        super().update_state(error, weights)


def make_metrics(target: Target) -> list[keras.metrics.Metric]:
    """Returns new metrics of a target: top1 and top5 of classes, mae (in its unit) of the rest."""
    if target.kind != CLASSES:
        return [AbsoluteError(target.kind == FRACTIONS, name=f"{target.key}_mae")]
    metrics = [Top1(name=f"{target.key}_top1")]
    if len(target.class_names) >= _TOP5_FROM_CLASSES:
        metrics.append(TopK(5, name=f"{target.key}_top5"))
    return metrics


def headline_names(logged: Iterable[str]) -> list[str]:
    """Returns the loss and the first metric of each target, from all names that are logged.

    Those of the dev split have the same names behind `val_`, and are left out.
    """
    training = [name for name in logged if not name.startswith("val_")]
    return [
        *(name for name in training if name == "loss"),
        *(name for name in training if name.endswith(("_top1", "_mae"))),
    ]


def _counted(labels: Any, answers: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Returns class indices, answers, and weights that are 0 where there is no label."""
    if are_shares(labels, answers):
        known = ops.any(labels > 0, axis=-1)
        labels = ops.argmax(labels, axis=-1)
    else:
        known = labels >= 0
        labels = ops.where(known, labels, 0)
    known = ops.cast(known, "float32")
    return labels, answers, known if weights is None else known * ops.cast(weights, "float32")
