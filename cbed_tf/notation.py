"""Writes formulas, zone axes and space groups the way crystallographers print them.

Subscripts, overbars and italics, for a web page and for a figure; a terminal gets plain text.
"""

import dataclasses
import functools
import html
import math
import re
from collections.abc import Iterable

from cbed_tf import crystal

# Of a Hermann-Mauguin symbol: rotoinversion -3, screw axis 63, a letter, anything else.
_SYMBOL_PART = re.compile(
    r"-(?P<over>\d)|(?P<axis>\d)(?P<sub>\d)|(?P<italic>[A-Za-z])|(?P<plain>.)"
)
_THIN_SPACE = "\N{THIN SPACE}"

_HTML = {
    "": "{}",
    "sub": "<sub>{}</sub>",
    "over": '<span style="text-decoration:overline">{}</span>',
    "italic": "<i>{}</i>",
}
_MATHTEXT = {
    "": "{}",
    "sub": "$_{{{}}}$",
    "over": r"$\overline{{{}}}$",
    "italic": r"$\mathit{{{}}}$",
}


@dataclasses.dataclass(frozen=True)
class Notation:
    """A short text with typography.

    Attributes:
      plain: For a terminal; what `str()` gives.
      runs: Pieces of (text, style), style '' or 'sub', 'over', 'italic'.
    """

    plain: str
    runs: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.plain

    def html(self) -> str:
        """Returns the text with HTML markup, everything else escaped."""
        return "".join(_HTML[style].format(html.escape(text)) for text, style in self.runs)

    def mathtext(self) -> str:
        """Returns the text for matplotlib."""
        return "".join(
            _MATHTEXT[style].format(text.replace("$", r"\$")) for text, style in self.runs
        )


def formula_notation(formula: str) -> Notation:
    """Returns 'K12 Fe4 O16' with its counts as subscripts, and without counts of 1.

    Text that is no formula comes back as it is: a rejected sample can hold anything.
    """
    try:
        counts = crystal.parse_formula(formula)
    except ValueError:
        return Notation(formula, ((formula, ""),))
    runs: list[tuple[str, str]] = []
    for symbol, count in counts.items():
        runs.append((symbol, ""))
        if count > 1:
            runs.append((str(count), "sub"))
    return Notation(formula, tuple(runs))


def zone_axis_notation(indices: Iterable[float]) -> Notation:
    """Returns [1 -1 0] with an overbar for the sign."""
    whole = [int(index) for index in indices]
    runs: list[tuple[str, str]] = [("[", "")]
    for position, index in enumerate(whole):
        runs.append((_THIN_SPACE if position else "", ""))
        runs.append((str(abs(index)), "over" if index < 0 else ""))
    return Notation(f"[{' '.join(map(str, whole))}]", (*runs, ("]", "")))


def space_group_notation(space_group: int) -> Notation:
    """Returns the Hermann-Mauguin symbol, 'P 63/m m c' with 3 as subscript for 194."""
    symbol = crystal.space_group_symbol(space_group)
    runs: list[tuple[str, str]] = []
    for part in _SYMBOL_PART.finditer(symbol):
        style, text = part.lastgroup or "plain", part[0]
        if style == "sub":
            runs += [(part["axis"], ""), (part["sub"], "sub")]
        elif style == "over":
            runs.append((part["over"], "over"))
        else:
            runs.append((text.replace(" ", _THIN_SPACE), "italic" if style == "italic" else ""))
    return Notation(symbol, tuple(runs))


@functools.lru_cache(maxsize=1 << 16)
def reduced_formula(formula: str) -> str:
    """Returns the composition alone, 'B6 Ca1' for 'Ca2 B12': the same for all cells of a compound.

    Raises:
      ValueError: `formula` is none.
    """
    counts = crystal.parse_formula(formula)
    divisor = math.gcd(*counts.values())
    return " ".join(f"{symbol}{counts[symbol] // divisor}" for symbol in sorted(counts))
