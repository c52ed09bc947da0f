"""What a model can be asked for, and how each label is encoded for it and decoded again.

One key names the record field, the dataset entry, the head, the loss, the metric prefix and the
prediction column. Space-group knowledge comes from `cbed_tf.crystal`, the network parts that answer
are in `models.networks.heads`.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from cbed_tf import crystal
from cbed_tf.errors import CbedError
from cbed_tf.schema import FIELD, VIEWS

CLASSES = "classes"
QUANTITY = "quantity"
FRACTIONS = "fractions"


@dataclasses.dataclass(frozen=True)
class Target:
    """One thing to predict.

    Attributes:
      key: Its name everywhere.
      kind: CLASSES (label int32 (batch,), one of `class_names`), QUANTITY (label float32
        (batch, size) in `unit`) or FRACTIONS (label float32 (batch, size), rows sum to 1). What a
        sample has no label for is -1, not-a-number, or a row of zeros.
      source: The record field that it is derived from.
      unit: Of a quantity.
      class_names: Names of the classes or of the fractions' parts, in the order of the encoding.
      per_view: Whether there is one number for each pattern (then `size` is the number of views).
    """

    key: str
    kind: str
    source: str
    unit: str = ""
    class_names: tuple[str, ...] = ()
    per_view: bool = False

    def size(self, views: int) -> int:
        """Returns how many numbers a model answers for one sample."""
        if self.class_names:
            return len(self.class_names)
        return int(np.prod(FIELD[self.source].shape_for(views)))

    def component_names(self, views: int) -> tuple[str, ...]:
        """Returns a name for each of the `size` numbers: classes, elements, or places."""
        if self.class_names:
            return self.class_names
        return _COMPONENTS.get(self.key) or tuple(str(k + 1) for k in range(self.size(views)))

    def encode(self, column: np.ndarray) -> np.ndarray:
        """Encodes an index column of the field `source` into labels, one row a sample."""
        if self.kind == CLASSES:
            known = (column >= 1) & (column <= crystal.NUM_SPACE_GROUPS)
            return _CLASS_OF_SPACE_GROUP[self.key][np.where(known, column, 0)]
        if self.kind == FRACTIONS:
            return _fractions(column)
        return np.asarray(column, np.float32).reshape(len(column), -1)

    def encode_tensor(self, column: tf.Tensor) -> tf.Tensor:
        """Encodes a batch of the field `source` inside a tf.data graph, equal to `encode`."""
        if self.kind == CLASSES:
            known = (column >= 1) & (column <= crystal.NUM_SPACE_GROUPS)
            return tf.gather(_CLASS_OF_SPACE_GROUP[self.key], tf.where(known, column, 0))
        if self.kind == FRACTIONS:
            labels = tf.numpy_function(self.encode, [column], tf.float32, stateful=False)
            return tf.ensure_shape(labels, (None, len(self.class_names)))
        return tf.reshape(column, (-1, math.prod(column.shape[1:])))

    def decode(self, answers: np.ndarray) -> list:
        """Turns a model's answers, (batch, size), into what people read.

        Returns:
          For each sample: the most probable class name, the list of numbers, or the element shares
          above 1 % as text ('O 0.571 Al 0.286 …', largest first).
        """
        if self.kind == CLASSES:
            return [self.class_names[index] for index in np.argmax(answers, axis=-1)]
        if self.kind == FRACTIONS:
            return [self._fractions_as_text(row) for row in answers]
        return np.asarray(answers).tolist()

    def _fractions_as_text(self, fractions: np.ndarray) -> str:
        largest_first = np.argsort(-fractions, kind="stable")
        return " ".join(
            f"{self.class_names[k]} {fractions[k]:.3f}"
            for k in largest_first
            if fractions[k] > 0.01
        )


def _fractions(formulas: np.ndarray) -> np.ndarray:
    """Returns atomic fractions; a row of zeros for an empty formula."""
    fractions = np.zeros((len(formulas), crystal.NUM_ELEMENTS), np.float32)
    known = np.flatnonzero(formulas != b"")
    fractions[known] = crystal.atomic_fractions([formulas[row].decode() for row in known])
    return fractions


def _class_table(name_of_space_group: Mapping[int, str], names: Sequence[str]) -> np.ndarray:
    """Returns class index by space group number; entry 0 is no space group and holds -1."""
    table = np.full(crystal.NUM_SPACE_GROUPS + 1, -1, np.int32)
    for number, name in name_of_space_group.items():
        table[number] = names.index(name)
    return table


_SPACE_GROUPS = tuple(str(number) for number in crystal.ALL_SPACE_GROUPS)
_CLASS_OF_SPACE_GROUP = {
    "space_group": _class_table({n: str(n) for n in crystal.ALL_SPACE_GROUPS}, _SPACE_GROUPS),
    "crystal_system": _class_table(
        {n: crystal.crystal_system(n) for n in crystal.ALL_SPACE_GROUPS}, crystal.CRYSTAL_SYSTEMS
    ),
    "point_group": _class_table(
        {n: crystal.point_group(n) for n in crystal.ALL_SPACE_GROUPS}, crystal.POINT_GROUPS
    ),
}
_COMPONENTS = {"abc_angstrom": ("a", "b", "c"), "angles_degree": ("alpha", "beta", "gamma")}


def _quantity(key: str) -> Target:
    field = FIELD[key]
    return Target(key, QUANTITY, key, field.unit, per_view=VIEWS in field.shape)


TARGETS: dict[str, Target] = {
    target.key: target
    for target in (
        Target("space_group", CLASSES, "space_group", class_names=_SPACE_GROUPS),
        Target("crystal_system", CLASSES, "space_group", class_names=crystal.CRYSTAL_SYSTEMS),
        Target("point_group", CLASSES, "space_group", class_names=crystal.POINT_GROUPS),
        _quantity("energy_keV"),
        _quantity("d_hkls_angstrom"),
        _quantity("abc_angstrom"),
        _quantity("angles_degree"),
        Target("composition", FRACTIONS, "formula", class_names=crystal.ELEMENT_SYMBOLS),
    )
}


def get_targets(keys: Iterable[str]) -> tuple[Target, ...]:
    """Returns targets by key.

    Raises:
      CbedError: A key is unknown or comes twice, or there is none.
    """
    keys = list(keys)
    unknown = [key for key in keys if key not in TARGETS]
    if unknown or not keys or len(set(keys)) < len(keys):
        raise CbedError(f"targets are {keys}, should be some of {', '.join(TARGETS)}, each once")
    return tuple(TARGETS[key] for key in keys)


# What a model can be told beside the patterns: settings that the microscope knows.
INPUTS = ("energy_keV", "d_hkls_angstrom")


def get_inputs(names: Iterable[str], targets: Iterable[str]) -> tuple[str, ...]:
    """Returns names of known inputs, checked.

    Raises:
      CbedError: One is unknown, comes twice, or is a target.
    """
    names = tuple(names)
    if set(names) - set(INPUTS) or len(set(names)) < len(names):
        raise CbedError(f"inputs are {list(names)}, should be some of {', '.join(INPUTS)}, once")
    both = [name for name in names if name in targets]
    if both:
        raise CbedError(
            f"inputs: {both[0]} is among the inputs and the targets: what is known is no target"
        )
    return names


def space_groups_of_class(key: str) -> np.ndarray:
    """Returns, for each space group in order, the class of target `key` that it belongs to."""
    return _CLASS_OF_SPACE_GROUP[key][1:]
