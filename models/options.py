"""The settings of a training, and their form as a flagfile: one field a flag, both directions.

Importing this costs no TensorFlow, so that `cbed train --help` is quick; checking does.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cbed_tf.errors import CbedError

CLASS_WEIGHTS = ("none", "balanced")
SCHEDULES = ("cosine", "constant")
READERS = ("gather", "stream")
AUTO_READER = "auto"


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How to train; a field's name is its flag's name.

    Attributes:
      targets: Keys in `pipelines.TARGETS`, at least one.
      target_weights: What to multiply a target's loss by; 1 for those not named.
      backbone: Name in `models.backbones.BACKBONES`.
      scaling: Method of `pipelines.IntensityScaling`; `exponent` and `floor` are its arguments.
      augment: Strengths of `pipelines.Augmentation` by name, 0 for those not named.
      epochs: Passes over the training split.
      batch_size: Samples a step.
      learning_rate: Of AdamW, at its greatest.
      weight_decay: Of AdamW.
      schedule: 'cosine' (up to learning_rate over the first twentieth of the steps, then down to 0)
        or 'constant'.
      class_weights: 'balanced' lets every class count alike in the loss, however rare it is.
      mixed_precision: Compute in float16 where that is safe; pays on GPUs only.
      deterministic: Choose ops that give the same bits in every run.
      seed: Of weights and shuffling.
      reader: Of `pipelines.load_dataset`, as are `balance` and `shuffle_block`.
      balance: 0 (space groups as frequent as they are) to 1 (all alike).
      shuffle_block: Samples that stay neighbours, for disks that hate random reads; 0 for none.

    Raises:
      CbedError: A value is out of range; says which, and the range.
    """

    targets: tuple[str, ...] = ("space_group",)
    target_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    backbone: str = "small"
    scaling: str = "power"
    exponent: float = 0.25
    floor: float = math.exp(-17)
    augment: Mapping[str, float] = dataclasses.field(default_factory=dict)
    epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    class_weights: str = "none"
    mixed_precision: bool = False
    deterministic: bool = True
    seed: int = 0
    reader: str = AUTO_READER
    balance: float = 0.0
    shuffle_block: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "exponent", "floor"):
            _check_range(name, getattr(self, name), above=0)
        _check_range("weight_decay", self.weight_decay, least=0)
        _check_range("seed", self.seed, least=0, below=2**32)
        _check_range("balance", self.balance, least=0, most=1)
        _check_range("shuffle_block", self.shuffle_block, least=0)
        _check_choice("class_weights", self.class_weights, CLASS_WEIGHTS)
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("reader", self.reader, (*READERS, AUTO_READER))
        self._check_names()

    def _check_names(self) -> None:
        # Here, not above: these import TensorFlow.
        from models.backbones import BACKBONES
        from pipelines.augmentation import Augmentation
        from pipelines.scaling import METHODS
        from pipelines.targets import CLASSES, get_targets

        _check_choice("backbone", self.backbone, tuple(BACKBONES))
        _check_choice("scaling", self.scaling, METHODS)
        Augmentation.parse([f"{name}:{strength}" for name, strength in self.augment.items()])
        targets = get_targets(self.targets)
        for key, weight in self.target_weights.items():
            if key not in self.targets:
                raise CbedError(f"target_weights has {key!r}, which is not among the targets")
            _check_range(f"target_weights of {key}", weight, least=0)
        if self.class_weights != "none" and not any(t.kind == CLASSES for t in targets):
            raise CbedError(
                f"class_weights is {self.class_weights!r}, but none of the targets "
                f"{', '.join(self.targets)} has classes"
            )

    def as_flags(self) -> list[str]:
        """Returns every field as '--name=value'; `options_from_flags` is the way back."""
        return [
            f"--{field.name}={_as_text(getattr(self, field.name))}"
            for field in dataclasses.fields(self)
        ]


def parse_target_weights(words: Sequence[str]) -> dict[str, float]:
    """Reads 'space_group:1' words.

    Raises:
      CbedError: A word has another form.
    """
    weights = {}
    for word in words:
        key, _, number = word.partition(":")
        try:
            weights[key] = float(number)
        except ValueError as error:
            raise CbedError(
                f"target_weights has {word!r}, should be like 'space_group:0.5'"
            ) from error
    return weights


def parse_augment(words: Sequence[str]) -> dict[str, float]:
    """Reads words like 'usual', 'rotation' or 'noise:1e5' into strengths by name.

    Raises:
      CbedError: A word has another form, or a strength is out of range.
    """
    if not words:
        return {}
    from pipelines.augmentation import Augmentation  # TensorFlow

    return Augmentation.parse(words).strengths()


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{weight!r}" for key, weight in value.items())
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise CbedError(f"{name} is {value!r}, should be one of {', '.join(choices)}")


def _check_range(
    name: str,
    value: float,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> None:
    # Refuses not-a-number too.
    if not (value > above and value >= least and value < below and value <= most):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (
                ("above", above),
                ("at least", least),
                ("below", below),
                ("at most", most),
            )
            if math.isfinite(bound)
        ]
        raise CbedError(f"{name} is {value}, should be {' and '.join(bounds) or 'finite'}")
