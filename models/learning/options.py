"""The settings of a training: a dataclass whose fields are the flags of `cbed train`.

Importing this costs no TensorFlow, so that `cbed train --help` is quick; checking does.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from cbed_tf.errors import CbedError
from models.learning.option_fields import as_text, check_fields, option

FUSIONS = ("mean", "attention", "softmax_mean", "channels")
LOSS_WEIGHTINGS = ("fixed", "learned")
CLASS_WEIGHTS = ("none", "balanced")
SCHEDULES = ("cosine", "one_cycle", "constant")
READERS = ("gather", "stream")
AUTO_READER = "auto"
STRATEGIES = ("one", "mirrored", "multi_worker")


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How to train; a field's name is its flag's name, its help says what it does.

    Raises:
      CbedError: A value is out of range, or settings contradict each other; says which.
    """

    # What is learned
    targets: tuple[str, ...] = option(
        ("space_group",),
        "What to learn: any of space_group, crystal_system, point_group, energy_keV, "
        "d_hkls_angstrom, abc_angstrom, angles_degree, composition, with commas between.",
    )
    inputs: tuple[str, ...] = option(
        (),
        "What the model is told beside the patterns, where the microscope's settings are known: "
        "any of energy_keV, d_hkls_angstrom, with a comma between; none of them a target.",
    )

    # The network
    backbone: str = option(
        "small",
        "Encoder of a pattern: polar (knows rotations and symmetries, quick), small (for first "
        "looks), resnet50, efficientnetv2 or convnext.",
    )
    pretrained: str = option(
        "", "File of ImageNet weights for the encoder, from keras.applications; none: from scratch."
    )
    fusion: str = option(
        "mean",
        "How the views of a sample become one: mean, attention (both in any order of views), "
        "softmax_mean (the views' answers averaged) or channels (one encoder for all, in order).",
        choices=FUSIONS,
    )
    dropout: float = option(
        0.0, "Share of a sample's features that a step leaves out.", least=0, below=1
    )
    uncertainty: bool = option(
        False, "Predict a standard deviation beside every number, learned by its likelihood."
    )
    scaling: str = option("power", "First layer, on raw intensities: power, log or none.")
    exponent: float = option(0.25, "Exponent of --scaling=power; 0.25 is the fourth root.", above=0)
    floor: float = option(
        math.exp(-17), "Smallest intensity for --scaling=log; lower ones are raised to it.", above=0
    )

    # The loss
    target_weights: Mapping[str, float] = option(
        {}, "What to multiply losses by, like space_group:2,energy_keV:0.5; 1 for the others."
    )
    loss_weighting: str = option(
        "fixed",
        "fixed, or learned: targets that are noisier weigh less, by an uncertainty for each.",
        choices=LOSS_WEIGHTINGS,
    )
    class_weights: str = option(
        "none",
        "balanced lets a rare class weigh as much in the loss as a frequent one.",
        choices=CLASS_WEIGHTS,
    )
    label_smoothing: float = option(
        0.0,
        "Share of a space group's label that goes to others: first those of its point group, then "
        "of its crystal system, then the rest.",
        least=0,
        below=1,
    )
    logit_adjustment: float = option(
        0.0,
        "1 makes up for frequent classes inside the loss, so that rare ones are answered as "
        "willingly; 0 does not.",
        least=0,
        most=2,
    )

    # The steps
    epochs: int = option(30, "Passes over the training split.", above=0)
    batch_size: int = option(32, "Samples a step, over all devices.", above=0)
    accumulate: int = option(
        1, "Steps whose gradients are averaged before the weights change.", least=1
    )
    learning_rate: float = option(1e-3, "Peak learning rate of the optimizer, AdamW.", above=0)
    weight_decay: float = option(1e-4, "Weight decay of the optimizer, AdamW.", least=0)
    schedule: str = option(
        "cosine",
        "Learning rate: cosine (a rise, then down to 0), one_cycle (up to the greatest and down, "
        "momentum the other way) or constant.",
        choices=SCHEDULES,
    )
    warmup: float = option(
        0.05,
        "Share of the steps in which the learning rate rises; of one_cycle more, like 0.3.",
        least=0,
        below=1,
    )
    clip_norm: float = option(0.0, "Greatest norm of all gradients together; 0: any.", least=0)
    ema: float = option(
        0.0,
        "Momentum of the moving average of the weights, which is what is judged and saved, like "
        "0.99, and less in the first steps; 0 for the weights themselves.",
        least=0,
        below=1,
    )
    patience: int = option(
        0, "Stop after so many epochs without a lower dev loss; 0: never.", least=0
    )

    # The data
    augment: Mapping[str, float] = option(
        {},
        "How to change training samples at random: usual (all but mixup), or any of rotation, "
        "mirror, shift, ellipticity, magnification, permutation, noise, erasing, mixup, with "
        "commas between; each perhaps with its strength, like rotation:15,noise:1e5. cbed preview "
        "shows what it does.",
    )
    reader: str = option(
        AUTO_READER,
        "How shards are read: gather for local files, stream for URLs; auto chooses.",
        choices=(*READERS, AUTO_READER),
    )
    balance: float = option(
        0.0,
        "0 draws space groups as often as they occur, 1 all equally often, 0.5 in between.",
        least=0,
        most=1,
    )
    shuffle_block: int = option(
        0,
        "Keep so many samples together that are neighbours on the disk, for disks that hate random "
        "reads; 0 shuffles truly.",
        least=0,
    )

    # The machine
    strategy: str = option(
        "one",
        "Devices: one, mirrored (all GPUs of this machine) or multi_worker (several machines, as "
        "TF_CONFIG or SLURM says).",
        choices=STRATEGIES,
    )
    mixed_precision: bool = option(False, "Compute in float16 where that is safe; for GPUs.")
    deterministic: bool = option(
        True, "Choose operations that give the same bits in every run on the same machine."
    )
    seed: int = option(
        0, "Random seed of first weights, order and augmentation.", least=0, below=2**32
    )
    checkpoint_minutes: float = option(
        10.0, "How often a run saves all that it needs to go on after a crash.", above=0
    )

    def __post_init__(self) -> None:
        check_fields(self)
        self._check_names()

    def _check_names(self) -> None:
        # Here, not above: these import TensorFlow.
        from models.networks.backbones import check_backbone
        from pipelines.augmentation.augment import Augmentation
        from pipelines.scaling import METHODS
        from pipelines.targets import CLASSES, QUANTITY, get_inputs, get_targets

        check_backbone(self.backbone, bool(self.pretrained))
        _check_choice("scaling", self.scaling, METHODS)
        Augmentation.parse([f"{name}:{strength}" for name, strength in self.augment.items()])
        targets = get_targets(self.targets)
        for key, weight in self.target_weights.items():
            if key not in self.targets:
                raise CbedError(f"target_weights has {key!r}, which is not among the targets")
            if not 0 <= weight < math.inf:
                raise CbedError(f"target_weights of {key} is {weight}, should be at least 0")
        if self.uncertainty and not any(target.kind == QUANTITY for target in targets):
            raise CbedError(
                f"uncertainty is wanted, but none of the targets {', '.join(self.targets)} is a "
                f"quantity"
            )
        self._check_weighting([target.kind != QUANTITY for target in targets])
        get_inputs(self.inputs, self.targets)
        self._check_class_losses([target.key for target in targets if target.kind == CLASSES])
        self._check_scaling()
        self._check_order()

    def _check_weighting(self, are_others: Sequence[bool]) -> None:
        """Refuses to learn weights where there are none; takes whether targets are no numbers."""
        if self.loss_weighting != "learned":
            return
        if len(are_others) < 2:
            raise CbedError(
                f"loss_weighting is 'learned', but {self.targets[0]} is the only target"
            )
        if self.uncertainty and not any(are_others):
            raise CbedError(
                f"loss_weighting is 'learned', but with --uncertainty the losses of "
                f"{', '.join(self.targets)} say by themselves how noisy these are"
            )

    def _check_scaling(self) -> None:
        for name, scaling in (("exponent", "power"), ("floor", "log")):
            value = getattr(self, name)
            if value != getattr(TrainingOptions, name) and self.scaling != scaling:
                raise CbedError(
                    f"{name} is {value}, but scaling is {self.scaling!r}: it is for {scaling!r}"
                )

    def _check_order(self) -> None:
        if self.balance and self.shuffle_block:
            raise CbedError(
                f"balance is {self.balance} and shuffle_block {self.shuffle_block}: a balanced "
                "epoch jumps, choose one"
            )
        for name in ("balance", "shuffle_block"):
            if self.reader == "stream" and getattr(self, name):
                raise CbedError(
                    f"{name} is {getattr(self, name)}, but reader is 'stream': it needs 'gather', "
                    "which can read any sample"
                )

    def _check_class_losses(self, keys: Sequence[str]) -> None:
        if self.label_smoothing and "space_group" not in keys:
            raise CbedError(
                f"label_smoothing is {self.label_smoothing}, but space_group is not among the "
                f"targets {', '.join(self.targets)}"
            )
        for name, default in (("class_weights", "none"), ("logit_adjustment", 0)):
            value = getattr(self, name)
            if value != default and not keys:
                raise CbedError(
                    f"{name} is {value!r}, but none of the targets {', '.join(self.targets)} has "
                    f"classes"
                )
        for name in ("logit_adjustment", "balance"):
            # The two of these go together: what is drawn more evenly is adjusted less.
            if self.class_weights != "none" and getattr(self, name):
                raise CbedError(
                    f"{name} is {getattr(self, name)} and class_weights {self.class_weights!r}: "
                    "both make up for frequent classes, choose one"
                )

    def as_flags(self) -> list[str]:
        """Returns every field as '--name=value'; the command's `options_from_flags` leads back."""
        return [
            f"--{field.name}={as_text(getattr(self, field.name))}"
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
    from pipelines.augmentation.augment import Augmentation  # TensorFlow

    return Augmentation.parse(words).strengths()


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise CbedError(f"{name} is {value!r}, should be one of {', '.join(choices)}")
