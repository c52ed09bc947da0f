"""For each kind of target: the loss that teaches it.

A loss takes labels as `load_dataset` or an augmentation yields them, and the dict that a model's
`learning_form` answers, and returns a number for each sample. A label that is absent (a class below
0, not-a-number, no element) costs nothing and teaches nothing.

What a training does to make learning better (smoothed labels, adjusted logits) is done in training
only, so that losses of the dev split can be compared between recipes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from models.networks.heads import LOGARITHMS, PRESENCE, STD
from models.networks.marginals import coarser_logarithms
from models.networks.probabilities import SPACE_GROUP

Answers = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ClassLoss:
    """Cross entropy of class indices (batch,), or of shares (batch, classes) after mixup.

    Attributes:
      key: Of the target.
      is_marginal: The answer is a sum of space-group probabilities; adjustment is of those then.
      adjustment: What training adds to the logarithms, (classes,); see `class_priors`.
      smoothing: What training makes of each class, a row for each, (classes, classes); see
        `label_smoothing`.
    """

    key: str
    is_marginal: bool = False
    adjustment: np.ndarray | None = None
    smoothing: np.ndarray | None = None

    def __call__(self, labels: Any, answers: Answers, training: bool) -> Any:
        """Returns the loss of each sample, (batch,)."""
        logarithms = answers[(SPACE_GROUP if self.is_marginal else self.key) + LOGARITHMS]
        if training and self.adjustment is not None:
            logarithms = ops.log_softmax(logarithms + self.adjustment, axis=-1)
        if self.is_marginal:
            logarithms = coarser_logarithms(logarithms, self.key)
        classes = logarithms.shape[-1]
        # No class, -1, becomes a row of zeros: no share of any loss.
        mixed = are_shares(labels, logarithms)
        shares = labels if mixed else ops.one_hot(labels, classes, dtype=logarithms.dtype)
        if training and self.smoothing is not None:
            shares = ops.matmul(shares, self.smoothing)
        return -ops.sum(shares * logarithms, axis=-1)


@dataclasses.dataclass(frozen=True)
class FractionLoss:
    """Cross entropy of the fractions, and of the presence of each part.

    Of a hundred elements three are there: the mean over those and the mean over the others count
    alike, or to know nothing would be as good as to be right about nearly all.

    Attributes:
      key: Of the target.
    """

    key: str

    def __call__(self, labels: Any, answers: Answers, training: bool) -> Any:
        """Returns the loss of each sample, (batch,)."""
        of_fractions = -ops.sum(labels * answers[self.key + LOGARITHMS], axis=-1)
        presence = answers[self.key + PRESENCE]
        there = ops.cast(labels > 0, presence.dtype)
        missed = _mean(ops.softplus(-presence), there)
        invented = _mean(ops.softplus(presence), 1 - there)
        is_known = ops.max(there, axis=-1)
        return of_fractions + is_known * (missed + invented) / 2


@dataclasses.dataclass(frozen=True)
class QuantityLoss:
    """Huber loss of residuals in standard deviations: r^2 / 2 up to 1, |r| - 1/2 beyond.

    Linear far out, because one wrong cell of 60 angstrom should not outweigh a batch of good ones.

    Attributes:
      key: Of the target.
      std: Standard deviation over the training split, of each number or one for all of them.
    """

    key: str
    std: tuple[float, ...]

    def __call__(self, labels: Any, answers: Answers, training: bool) -> Any:
        """Returns the loss of each sample, (batch,)."""
        known = ops.isfinite(labels)
        residual = ops.where(known, labels, 0.0) - answers[self.key]
        residual = ops.abs(residual) / np.float32(self.std)
        loss = ops.where(residual <= 1, 0.5 * ops.square(residual), residual - 0.5)
        return _mean(loss, ops.cast(known, loss.dtype))


@dataclasses.dataclass(frozen=True)
class LikelihoodLoss:
    """Minus the logarithm of the likelihood under a normal distribution, in standard deviations.

    Whatever the errors are like, it is lowest for the true mean and the true standard deviation. In
    training each number weighs by the deviation that it is given, without which what is badly
    fitted is excused rather than learnt (Seitzer et al., 'On the pitfalls of heteroscedastic
    uncertainty estimation', ICLR 2022, beta of 1/2).

    Attributes:
      key: Of the target; the model answers `KEY_std` too.
      std: Standard deviation over the training split, of each number or one for all of them.
    """

    key: str
    std: tuple[float, ...]

    def __call__(self, labels: Any, answers: Answers, training: bool) -> Any:
        """Returns the loss of each sample, (batch,); 0 for an error of 0 known to one std."""
        known = ops.isfinite(labels)
        std = np.float32(self.std)
        deviation = answers[self.key + STD] / std
        error = ops.where(known, labels, 0.0) - answers[self.key]
        error = ops.where(known, error, 0.0) / std
        loss = ops.log(deviation) + 0.5 * ops.square(error / deviation)
        if training:
            loss = ops.stop_gradient(deviation) * loss
        return _mean(loss, ops.cast(known, loss.dtype))


def are_shares(labels: Any, answers: Any) -> bool:
    """Says whether labels of classes are shares (batch, classes), as mixup makes them."""
    return len(labels.shape) == len(answers.shape) and labels.shape[-1] == answers.shape[-1]


def _mean(values: Any, weights: Any) -> Any:
    """Returns the weighted mean of each row, 0 where nothing has a weight."""
    return ops.sum(values * weights, axis=-1) / ops.maximum(ops.sum(weights, axis=-1), 1)
