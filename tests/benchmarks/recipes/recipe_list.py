"""The recipes that are compared, and what is left out of ours to see what it brings.

A recipe is a flagfile of `cbed train`, perhaps with flags that follow it.
"""

import dataclasses
from pathlib import Path

from cbed_tf.errors import CbedError
from models.learning.option_fields import as_text, default_of
from models.learning.options import TrainingOptions

EXPERIMENTS = Path(__file__).parents[3] / "models" / "experiments"

OURS = "polar"
PEERS = ("stemdl_small", "stemdl")
TITLES = {
    OURS: "cbed-tf, polar",
    "stemdl_small": "ORNL's choices, small encoder",
    "stemdl": "ORNL's recipe, ResNet-50",
}

# What is left out, for people, and the flags that leave it out, by a name for files. Those that
# change nothing, because the recipe does without anyway, are not trained.
WHOLE = "whole"
LEAVE_OUT = {
    "augment": ("augmentation", ("--augment=",)),
    "polar": ("the polar encoder", ("--backbone=small",)),
    "fusion": ("attention between views", ("--fusion=mean",)),
    "ema": ("the average of weights", ("--ema=0",)),
    "schedule": ("the falling learning rate", ("--schedule=constant",)),
    "clip": ("gradient clipping", ("--clip_norm=0",)),
    "dropout": ("dropout", ("--dropout=0",)),
    "smoothing": ("label smoothing", ("--label_smoothing=0",)),
    "balance": (
        "balancing of classes",
        ("--class_weights=none", "--balance=0", "--logit_adjustment=0"),
    ),
    "root": ("the fourth root (a logarithm instead)", ("--scaling=log",)),
    "learned": ("learned weights of the losses", ("--loss_weighting=fixed",)),
    "targets": (
        "all targets but the space group",
        ("--targets=space_group", "--target_weights=", "--loss_weighting=fixed"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train, whatever the data, the seed and the number of epochs.

    Attributes:
      name: For files and `--only`.
      title: For people.
      flagfile: Of `cbed train`.
      flags: That follow it.
    """

    name: str
    title: str
    flagfile: Path
    flags: tuple[str, ...] = ()

    def words(self):
        """Returns the flags that say this recipe to `cbed train`."""
        return [f"--flagfile={self.flagfile}", *self.flags]

    def settings(self):
        """Returns the value of every flag that is set, as text, by name."""
        lines = [line.strip() for line in self.flagfile.read_text().splitlines()]
        lines = [line for line in lines if line.startswith("--")]
        pairs = (line.removeprefix("--").partition("=") for line in (*lines, *self.flags))
        return {name: value if mark else "true" for name, mark, value in pairs}


def find_recipe(name):
    """Returns the recipe of a flagfile: its path, or its name in models/experiments.

    Raises:
      CbedError: There is no such file.
    """
    is_path = name.endswith(".flags")
    path = Path(name) if is_path else EXPERIMENTS / f"{name}.flags"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in EXPERIMENTS.glob("*.flags")))
        raise CbedError(f"there is no recipe {path}; models/experiments has {known}")
    return Recipe(path.stem, TITLES.get(path.stem, path.stem), path.resolve())


def leave_out(recipe, names=None):
    """Returns the whole recipe, and one without each ingredient that it has.

    Args:
      recipe: The whole.
      names: Of LEAVE_OUT; all by default.
    """
    variants = [dataclasses.replace(recipe, name=WHOLE, title="the whole recipe")]
    for name in names or LEAVE_OUT:
        title, flags = LEAVE_OUT[name]
        variant = dataclasses.replace(recipe, name=name, title=f"without {title}", flags=flags)
        if not same_settings(recipe, variant):
            variants.append(variant)
    return variants


def all_settings(recipe):
    """Returns the value of every flag, set or not, as text, by name."""
    defaults = {
        field.name: as_text(default_of(field)) for field in dataclasses.fields(TrainingOptions)
    }
    return {**defaults, **recipe.settings()}


def same_settings(first, second):
    """Returns whether two recipes train alike."""
    settings = [all_settings(recipe) for recipe in (first, second)]
    return all(
        same_value(settings[0].get(name, ""), settings[1].get(name, ""))
        for name in {**settings[0], **settings[1]}
    )


def same_value(first, second):
    try:
        return float(first) == float(second)
    except ValueError:
        return first == second
