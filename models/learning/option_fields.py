"""Settings that are flags too: default, help and allowed values, in one place for each.

From a field follow the flag (`define_flags`), the refusal of a wrong value (`check_fields`) and its
text in a flagfile (`as_text`), so that these cannot disagree.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from cbed_tf.errors import CbedError

_META = "option"


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of a setting beside its default.

    Attributes:
      help: One or two sentences for `--help`.
      choices: All that it can be, for text; empty if anything.
      above: A number is greater than this; likewise `least` (or equal), `below`, `most`.
    """

    help: str
    choices: tuple[str, ...] = ()
    above: float = -math.inf
    least: float = -math.inf
    below: float = math.inf
    most: float = math.inf

    def check(self, name: str, value: Any) -> None:
        """Refuses a value outside choices or range.

        Raises:
          CbedError: Says name, value and what would be right.
        """
        if self.choices and value not in self.choices:
            raise CbedError(f"{name} is {value!r}, should be one of {', '.join(self.choices)}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and not self._holds(value):
            raise CbedError(f"{name} is {value}, should be {self._range()}")

    def _holds(self, value: float) -> bool:
        # False for not-a-number too.
        return self.above < value < self.below and self.least <= value <= self.most

    def _range(self) -> str:
        words = {"above": self.above, "at least": self.least}
        words |= {"below": self.below, "at most": self.most}
        bounds = [f"{word} {bound:g}" for word, bound in words.items() if math.isfinite(bound)]
        return " and ".join(bounds) or "finite"


def option(default: Any, help: str, **limits: Any) -> Any:
    """Returns a dataclass field with an `Option`; a mapping as default is copied each time."""
    metadata = {_META: Option(help, **limits)}
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check_fields(settings: Any) -> None:
    """Refuses settings of which a field is outside its choices or range.

    Raises:
      CbedError: Says name, value and what would be right.
    """
    for field in dataclasses.fields(settings):
        field.metadata[_META].check(field.name, getattr(settings, field.name))


def define_flags(settings: type, flag_values: flags.FlagValues) -> None:
    """Defines a flag for each field; texts of several values are lists with commas between."""
    for field in dataclasses.fields(settings):
        about, default = field.metadata[_META], default_of(field)
        arguments = {"name": field.name, "help": about.help, "flag_values": flag_values}
        if about.choices:
            flags.DEFINE_enum(default=default, enum_values=about.choices, **arguments)
        elif isinstance(default, bool):
            flags.DEFINE_bool(default=default, **arguments)
        elif isinstance(default, int):
            flags.DEFINE_integer(default=default, **arguments)
        elif isinstance(default, float):
            flags.DEFINE_float(default=default, **arguments)
        elif isinstance(default, str):
            flags.DEFINE_string(default=default, **arguments)
        else:
            flags.DEFINE_list(default=list(default), **arguments)


def default_of(field: dataclasses.Field) -> Any:
    """Returns a field's default value."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def as_text(value: Any) -> str:
    """Returns a value as it stands behind the `=` of its flag."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{number!r}" for key, number in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    return (
        str(value) if isinstance(value, str) or not isinstance(value, Sequence) else ",".join(value)
    )
