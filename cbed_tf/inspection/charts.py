"""Draws how an archive's samples are distributed; writes no files.

Matplotlib is imported when something is drawn, as in `figures.py`.
"""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from cbed_tf import crystal
from cbed_tf.notation import space_group_notation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Paul Tol's bright scheme: told apart by colour-blind readers too.
SYSTEM_COLOURS = dict(
    zip(
        crystal.CRYSTAL_SYSTEMS,
        ("#bbbbbb", "#66ccee", "#4477aa", "#aa3377", "#ccbb44", "#228833", "#ee6677"),
        strict=True,
    )
)
SPLIT_COLOURS = {"train": "#33475b", "dev": "#7d9bb8", "test": "#c9d6e2"}
# More would not fit side by side with their symbols.
_MAX_NAMED_CLASSES = 40


def class_figure(space_groups: Mapping[int, int]) -> "Figure":
    """Draws how many samples each space group has, coloured by crystal system.

    Args:
      space_groups: Number of samples by international number; at least one.
    """
    from matplotlib.patches import Patch

    numbers = sorted(space_groups)
    named = len(numbers) <= _MAX_NAMED_CLASSES
    places = list(range(len(numbers))) if named else numbers
    colours = [SYSTEM_COLOURS[crystal.crystal_system(number)] for number in numbers]
    figure, axes = _chart(1100, 380)
    axes.bar(places, [space_groups[number] for number in numbers], color=colours, width=0.8)
    if named:
        axes.set_xticks(
            places, [_class_name(number) for number in numbers], rotation=40, ha="right"
        )
        axes.set_xlim(-0.7, max(len(numbers), 8) - 0.3)
    else:
        axes.set(xlim=(0, crystal.NUM_SPACE_GROUPS + 1), xlabel="space group")
    if max(space_groups.values()) > 30 * min(space_groups.values()):
        # A class of one sample is a bar too: the axis starts below it.
        axes.set(yscale="log", ylim=(0.5 * min(space_groups.values()), None))
    else:
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("samples")
    present = dict.fromkeys(crystal.crystal_system(number) for number in numbers)
    handles = [Patch(color=SYSTEM_COLOURS[system], label=system) for system in present]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    return figure


def energy_figure(energies_keV: Mapping[str, Mapping[float, int]]) -> "Figure":
    """Draws how many samples each beam energy has, the splits stacked.

    Args:
      energies_keV: By split, the number of samples by energy.
    """
    energies = sorted({energy for counts in energies_keV.values() for energy in counts})
    figure, axes = _chart(1100, 280)
    below = np.zeros(len(energies))
    for split, counts in energies_keV.items():
        heights = np.array([counts.get(energy, 0) for energy in energies])
        axes.bar(range(len(energies)), heights, 0.6, below, color=SPLIT_COLOURS[split], label=split)
        below += heights
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xticks(range(len(energies)), [f"{energy:g}" for energy in energies])
    axes.set_xlim(-0.7, max(len(energies), 6) - 0.3)
    axes.set(xlabel="beam energy (keV)", ylabel="samples")
    figure.legend(loc="outside upper center", ncols=len(energies_keV), frameon=False)
    return figure


def as_svg(figure: "Figure") -> bytes:
    """Returns the file of a line drawing, the same bytes for the same figure."""
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "cbed"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _class_name(space_group: int) -> str:
    return f"{space_group_notation(space_group).mathtext()}  {space_group}"


def _chart(width: int, height: int) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure((width / 100, height / 100), 100, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.grid(True, color="#e4e4e4")
    axes.set_axisbelow(True)
    return figure, axes
