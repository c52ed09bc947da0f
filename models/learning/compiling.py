"""Gives what is fitted its losses and metrics, target by target."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np

from cbed_tf.dataset.manifest import Manifest
from models.learning.class_priors import logit_adjustment, seen_counts
from models.learning.label_smoothing import smoothing_table
from models.learning.learner import Learner
from models.learning.losses import ClassLoss, FractionLoss, LikelihoodLoss, QuantityLoss
from models.learning.objective import Loss, Objective
from models.learning.options import TrainingOptions
from models.networks.heads import STD, standardization
from models.networks.marginals import is_marginal
from models.networks.probabilities import SPACE_GROUP
from pipelines import TARGETS, Target
from pipelines.labels import count_classes
from pipelines.targets import FRACTIONS, QUANTITY


@dataclasses.dataclass(frozen=True)
class LossOptions:
    """What goes into the loss beside the targets; see the fields of `TrainingOptions`."""

    target_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    loss_weighting: str = "fixed"
    label_smoothing: float = 0.0
    logit_adjustment: float = 0.0
    balance: float = 0.0

    @classmethod
    def of_training(cls, options: TrainingOptions) -> "LossOptions":
        """Returns those of a training."""
        names = (field.name for field in dataclasses.fields(cls))
        return cls(**{name: getattr(options, name) for name in names})


def compile_model(
    fitted: Learner,
    targets: Sequence[Target],
    manifest: Manifest,
    optimizer: keras.optimizers.Optimizer,
    options: LossOptions | None = None,
) -> None:
    """Gives a learner its objective, metrics and optimizer, ready for `fit`.

    Args:
      fitted: Of the `learning_form` of a model of `build_model`.
      targets: As in `build_model`.
      manifest: Of the training data; its statistics weigh the losses of quantities, its counts say
        how frequent a class is.
      optimizer: Of the caller's choice; one that has `scales_loss` is left alone in half precision,
        where keras wraps all others to scale the loss.
      options: Of the losses.
    """
    options = options or LossOptions()
    answers = fitted.model.output
    loss_of = {target.key: _make_loss(target, answers, manifest, options) for target in targets}
    weights = {key: float(options.target_weights.get(key, 1.0)) for key in loss_of}
    # A likelihood says by itself how noisy its target is, and may be negative.
    learned = [key for key, loss in loss_of.items() if not isinstance(loss, LikelihoodLoss)]
    if options.loss_weighting == "fixed":
        learned = []
    fitted.pursue(Objective(loss_of, weights, learned), tuple(targets))
    fitted.compile(optimizer, auto_scale_loss=not hasattr(optimizer, "scales_loss"))


def _make_loss(
    target: Target, answers: Collection[str], manifest: Manifest, options: LossOptions
) -> Loss:
    if target.kind == FRACTIONS:
        return FractionLoss(target.key)
    if target.kind == QUANTITY:
        std = standardization(target, manifest.statistics[target.key])[1]
        return (LikelihoodLoss if target.key + STD in answers else QuantityLoss)(target.key, std)
    follows = is_marginal(target.key, answers)
    smoothing = None
    if target.key == SPACE_GROUP and options.label_smoothing:
        smoothing = smoothing_table(options.label_smoothing, count_classes(target, manifest))
    return ClassLoss(
        target.key,
        follows,
        _adjustment(TARGETS[SPACE_GROUP] if follows else target, manifest, options),
        smoothing,
    )


def _adjustment(target: Target, manifest: Manifest, options: LossOptions) -> np.ndarray | None:
    if not options.logit_adjustment:
        return None
    counts = seen_counts(target, manifest, options.balance)
    return logit_adjustment(counts, options.logit_adjustment)
