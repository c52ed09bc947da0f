"""What a model is told beside the patterns: read from a sample's attributes, or given for all.

Only models that were trained with `--inputs` take any. `Known` says which, and finds their values.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cbed_tf.errors import CbedError, SampleError
from cbed_tf.schema import FIELD


@dataclasses.dataclass(frozen=True)
class Known:
    """The known inputs of a model.

    Attributes:
      sizes: How many numbers each has for a sample, by its name.
      given: Values that hold for all samples, in place of their attributes.

    Raises:
      CbedError: A value is given that the model does not take, or not in that number.
    """

    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    given: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self.given.items():
            if name not in self.sizes:
                takes = ", ".join(self.sizes) or "patterns only"
                raise CbedError(f"{name} is given as known, but the model takes {takes}")
            try:
                _check(name, np.asarray(values), self.sizes[name])
            except SampleError as error:
                raise CbedError(f"given as known: {error}") from error

    def find(self, read: Callable[[str], Any]) -> dict[str, np.ndarray]:
        """Returns a sample's known inputs, float32 (size,), by name.

        Args:
          read: Returns an attribute of the sample by its name, or None where it has none.

        Raises:
          SampleError: The sample lacks one, or has it malformed.
        """
        found = {}
        for name, size in self.sizes.items():
            value = self.given[name] if name in self.given else read(name)
            if value is None:
                raise SampleError(
                    f"the model needs {name}, which the sample has not; "
                    f"--known={name}:{_example(size)} gives it for all samples"
                )
            found[name] = _check(name, np.asarray(value, np.float64).reshape(-1), size)
        return found


def parse_known(words: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Reads 'energy_keV:200' and 'd_hkls_angstrom:2.1,1.9,1.3' words.

    Raises:
      CbedError: A word has another form, or a name comes twice.
    """
    known: dict[str, tuple[float, ...]] = {}
    for word in words:
        name, _, numbers = word.partition(":")
        try:
            values = tuple(float(number) for number in numbers.split(","))
        except ValueError as error:
            raise CbedError(f"known has {word!r}, should be like 'energy_keV:200'") from error
        if name in known:
            raise CbedError(f"known has {name} twice")
        known[name] = values
    return known


def _check(name: str, values: np.ndarray, size: int) -> np.ndarray:
    if values.shape != (size,):
        raise SampleError(f"{name} has {values.size} number(s), the model takes {size}")
    if not (np.isfinite(values) & (values > 0)).all():
        unit = FIELD[name].unit if name in FIELD else ""
        raise SampleError(f"{name} is {values.tolist()} {unit}, should be above 0")
    return values.astype(np.float32)


def _example(size: int) -> str:
    return ",".join(["NUMBER"] * size)
