"""For each kind of target: the layers that answer it.

Quantities are standardised (mean 0, deviation 1 over train) inside head and loss, so that targets
of any unit weigh alike, and users see angstrom, degree and keV everywhere.

Some losses need more than the answers; layers of these names have it, see `network.learning_form`:
`KEY_logarithms`, of probabilities or fractions, which do not vanish where those do, and
`KEY_presence`, of elements, before the sigmoid.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import layers, ops

from cbed_tf.dataset.manifest import Statistics
from models.networks.averaging import DeviationOverViews, LogMeanOverViews, MeanOverViews
from models.networks.fusion import Fused
from models.networks.marginals import CoarserClasses, is_marginal
from models.networks.probabilities import SPACE_GROUP
from pipelines.targets import CLASSES, QUANTITY, Target

LOGARITHMS = "_logarithms"
PRESENCE = "_presence"
# Behind the key of a quantity: its predicted standard deviation, an answer of its own.
STD = "_std"
# Float16 would turn a probability of 1e-8 into 0, and knows no number between 190 and 190.125 keV.
_DTYPE = "float32"


@keras.saving.register_keras_serializable("cbed_tf")
class Destandardize(layers.Layer):
    """Turns standardised answers (..., size) into natural units: answer * std + mean.

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
class PositiveDeviation(layers.Layer):
    """Turns any numbers (..., size) into standard deviations in natural units: at least the floor.

    Without one, a loss could be lowered without end by being ever more sure of a few samples.

    Args:
      std: Standard deviation of each number, or one for all, over the training split.
      floor: Smallest answer, as a share of it.
    """

    def __init__(self, std: Sequence[float], floor: float = 0.01, **kwargs: Any):
        super().__init__(**kwargs)
        self.std = tuple(std)
        self.floor = floor

    def call(self, numbers: Any) -> Any:
        """Returns (softplus(number) + floor) * std."""
        return (ops.softplus(numbers) + self.floor) * ops.convert_to_tensor(self.std, numbers.dtype)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "std": self.std, "floor": self.floor}


@keras.saving.register_keras_serializable("cbed_tf")
class GatedFractions(layers.Layer):
    """Logarithms of fractions that sum to 1, of which each is scaled by whether it is there at all.

    A fraction is in proportion to exp(amount) * sigmoid(presence), so what is surely absent has
    none, and what is there shares the rest.
    """

    def call(self, amounts: Any, presence: Any) -> Any:
        """Returns the logarithms, in the shape of the amounts.

        Args:
          amounts: (batch, parts), or (batch, views, parts).
          presence: (batch, parts), for all views.
        """
        if len(amounts.shape) > len(presence.shape):
            presence = presence[:, None]
        return ops.log_softmax(amounts + ops.log_sigmoid(presence), axis=-1)

    def compute_output_shape(self, amounts_shape: tuple, presence_shape: tuple) -> tuple:
        """Returns the input's shape."""
        return amounts_shape


def add_answers(
    fused: Fused,
    targets: Sequence[Target],
    views: int,
    statistics: Mapping[str, Statistics],
    uncertainty: bool = False,
) -> dict[str, keras.KerasTensor]:
    """Returns the answers to all targets by key, float32.

    Args:
      fused: Features of the samples and of their views.
      targets: What to answer; their keys name the last layers and so the outputs.
      views: Number of patterns of a sample.
      statistics: Over the training split, by key; needed for quantities.
      uncertainty: Answer `KEY_std` beside every quantity, its standard deviation.
    """
    keys = [target.key for target in targets]
    # What else follows from it needs its logarithms first.
    targets = sorted(targets, key=lambda target: target.key != SPACE_GROUP)
    answers, logarithms = {}, {}
    for target in targets:
        if target.kind == QUANTITY:
            answers |= _quantity(fused, target, views, statistics[target.key], uncertainty)
            continue
        if is_marginal(target.key, keys):
            coarser = CoarserClasses(target.key, name=f"{target.key}{LOGARITHMS}", dtype=_DTYPE)
            logarithms[target.key] = coarser(logarithms[SPACE_GROUP])
        else:
            logarithms[target.key] = _logarithms(fused, target)
        exponential = layers.Activation("exponential", name=target.key, dtype=_DTYPE)
        answers[target.key] = exponential(logarithms[target.key])
    by_target = [key + suffix for key in keys for suffix in ("", STD)]
    return {key: answers[key] for key in by_target if key in answers}


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


def _logarithms(fused: Fused, target: Target) -> keras.KerasTensor:
    """Returns the logarithms of probabilities or fractions, from a head of the target's own."""
    key, size = target.key, len(target.class_names)
    logits = _dense(fused.sample, size, f"{key}_logits")
    if target.kind == CLASSES:

        def normalize(name: str) -> keras.KerasTensor:
            return layers.Activation("log_softmax", name=name, dtype=_DTYPE)(logits)
    else:
        presence = _of_sample(
            fused, MeanOverViews, f"{key}{PRESENCE}", lambda name: _dense(fused.sample, size, name)
        )

        def normalize(name: str) -> keras.KerasTensor:
            return GatedFractions(name=name, dtype=_DTYPE)(logits, presence)

    return _of_sample(fused, LogMeanOverViews, f"{key}{LOGARITHMS}", normalize)


def _quantity(
    fused: Fused, target: Target, views: int, statistics: Statistics, uncertainty: bool
) -> dict[str, keras.KerasTensor]:
    key = target.key
    mean, std = standardization(target, statistics)
    standardized = _numbers(fused, target, views, f"{key}_standardized")
    is_averaged = fused.present is not None and not target.per_view
    names = [f"{name}_of_views" if is_averaged else name for name in (key, f"{key}{STD}")]
    answer = Destandardize(mean, std, name=names[0], dtype=_DTYPE)(standardized)
    answers = {key: answer}
    if is_averaged:
        answers[key] = MeanOverViews(name=key, dtype=_DTYPE)(answer, fused.present)
    if uncertainty:
        spread = _numbers(fused, target, views, f"{key}_spread")
        deviation = PositiveDeviation(std, name=names[1], dtype=_DTYPE)(spread)
        if is_averaged:
            average = DeviationOverViews(name=f"{key}{STD}", dtype=_DTYPE)
            deviation = average(deviation, answer, fused.present)
        answers[f"{key}{STD}"] = deviation
    return answers


def _numbers(fused: Fused, target: Target, views: int, name: str) -> keras.KerasTensor:
    """Returns a number for each one of a quantity, of each view where every view answers."""
    if target.per_view and fused.views is not None:
        numbers = _dense(fused.views, 1, name)
        return layers.Flatten(name=f"{name}_by_view", dtype=_DTYPE)(numbers)
    return _dense(fused.sample, target.size(views), name)


def _dense(features: keras.KerasTensor, size: int, name: str) -> keras.KerasTensor:
    return layers.Dense(size, name=name, dtype=_DTYPE)(features)


def _of_sample(
    fused: Fused,
    average: type[layers.Layer],
    name: str,
    make: Callable[[str], keras.KerasTensor],
) -> keras.KerasTensor:
    """Returns what `make` makes under a name, averaged where it is made for each view."""
    if fused.present is None:
        return make(name)
    return average(name=name, dtype=_DTYPE)(make(f"{name}_of_views"), fused.present)
