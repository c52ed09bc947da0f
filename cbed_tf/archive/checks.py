"""Decides whether a sample can be trusted, and says why not.

Three kinds of check: of one sample's attributes against form and physics, of its patterns, and of
all samples of a material against each other. Knows nothing of files.
"""

import functools
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from cbed_tf import crystal
from cbed_tf.errors import SampleError
from cbed_tf.schema import ATTRIBUTES, FIELD, IMAGE

# The archive states d-spacings to 9 digits and semi-angles to 6, computed with slightly other
# constants (5e-6 away); taking directions by row instead of by column is off by percents.
RELATIVE_TOLERANCE = 1e-4
# Semi-angles were computed once, at 100 keV, whatever energy the patterns were simulated for.
SEMI_ANGLE_TIMES_D = crystal.electron_wavelength_angstrom(100.0) / 4
# Beyond every electron microscope, but not beyond a damaged number or one in volts.
_ENERGY_RANGE_KEV = (0.1, 10_000.0)
# Far beyond every formula; one endless text would make the column of all samples as wide.
_LONGEST_TEXT = 1000
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_LARGEST_EXACT_FLOAT32 = 2**24
_TEXTS = tuple(field.name for field in ATTRIBUTES if field.dtype == "bytes")
# What all samples of one material share; only the energy may differ.
_OF_THE_MATERIAL = ("space_group", "formula", "abc_angstrom", "angles_degree", "z_dirs", "y_dirs")


def check_attributes(attributes: Mapping[str, Any], views: int) -> None:
    """Checks one sample's attributes, as read by `hdf5.ArchiveFile.attributes`.

    Raises:
      SampleError: One of them is malformed or contradicts the physics; says value and expectation.
    """
    for name in _TEXTS:
        _check_text(name, attributes[name])
    numbers = {
        name: _check_numbers(name, attributes[name], shape) for name, shape in _number_shapes(views)
    }
    if not 1 <= attributes["space_group"] <= crystal.NUM_SPACE_GROUPS:
        raise SampleError(
            f"space_group is {attributes['space_group']}, should be 1 to {crystal.NUM_SPACE_GROUPS}"
        )
    for name in ("energy_keV", "semi_angles_rad", "d_hkls_angstrom", "abc_angstrom"):
        if min(numbers[name]) <= 0:
            raise SampleError(f"{name} is {_shown(attributes[name])}, should be above 0")
    lowest, highest = _ENERGY_RANGE_KEV
    if not lowest <= attributes["energy_keV"] <= highest:
        raise SampleError(
            f"energy_keV is {attributes['energy_keV']:g}, should be {lowest:g} to {highest:g}"
        )
    try:
        crystal.parse_formula(attributes["formula"])
    except ValueError as error:
        raise SampleError(str(error)) from error
    _check_physics(attributes, numbers)


def check_stack(stack: np.ndarray) -> tuple[float, float]:
    """Checks the patterns of one sample, float32 (views, height, width).

    Returns:
      The smallest and the largest intensity.

    Raises:
      SampleError: A pixel is not a number, infinite or negative; names the first and counts them.
    """
    # Two reductions that propagate NaN, 0.1 ms each for 3 MiB; masks would cost ten times that.
    smallest, largest = float(stack.min()), float(stack.max())
    if smallest >= 0 and largest < np.inf:
        return smallest, largest
    for kind, is_bad in (
        ("not a number", np.isnan),
        ("infinite", np.isinf),
        ("negative", lambda pixels: pixels < 0),
    ):
        bad = is_bad(stack)
        if bad.any():
            view, row, column = (int(place[0]) for place in np.nonzero(bad))
            raise SampleError(
                f"{IMAGE} has {int(bad.sum())} pixel(s) that are {kind}, the first at "
                f"[{view}, {row}, {column}]: {stack[view, row, column]}"
            )
    raise AssertionError("unreachable: the reductions found a bad pixel, the masks none")


def find_overlaps(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Finds extents of one file that share a part of it, as a damaged address makes them do.

    Args:
      starts: First byte of each extent.
      stops: The byte after its last.

    Returns:
      Positions of all that overlap another one. Identical extents, two names of one thing, do not.
    """
    extents, extent_of = np.unique(np.stack([starts, stops], axis=1), axis=0, return_inverse=True)
    starts, stops = extents.T
    overlaps = np.zeros(len(extents), bool)
    overlaps[1:] |= starts[1:] < np.maximum.accumulate(stops)[:-1]
    overlaps[:-1] |= starts[1:] < stops[:-1]
    return np.flatnonzero(overlaps[extent_of.reshape(-1)])


def find_contradictions(columns: Mapping[str, np.ndarray]) -> dict[int, str]:
    """Finds samples that disagree with the other samples of their material.

    Args:
      columns: Index columns of many samples, by field name.

    Returns:
      Row of each sample that cannot be trusted -> reason. Where most samples of a material agree,
      the others are named; where there is no majority, all of them are.
    """
    materials, first_row, material_of_row = np.unique(
        columns["material"], return_index=True, return_inverse=True
    )
    by_material = np.argsort(material_of_row, kind="stable")
    bounds = np.searchsorted(material_of_row[by_material], np.arange(len(materials) + 1))
    reasons: dict[int, str] = {}
    for name in _OF_THE_MATERIAL:
        # Nearly all agree to the last bit, which takes no vote: 0.1 s for a whole archive.
        values = columns[name].reshape(len(material_of_row), -1)
        differs = (values != values[first_row[material_of_row]]).any(axis=1)
        for number in np.unique(material_of_row[differs]):
            rows = by_material[bounds[number] : bounds[number + 1]].tolist()
            reasons.update(_outvoted(name, materials[number].decode(), rows, columns[name][rows]))
    return reasons


def _outvoted(name: str, material: str, rows: list[int], values: np.ndarray) -> dict[int, str]:
    # Compared to 6 digits: the same cell read from two texts may differ in the last ones.
    keys = [_rounded(value) for value in values]
    votes = Counter(keys)
    if len(votes) == 1:
        return {}
    winner, count = votes.most_common(1)[0]
    majority = count * 2 > len(rows)
    return {
        row: f"{name} is {_shown(value)}, other samples of material {material} have "
        + (f"{_shown(values[keys.index(winner)])}" if majority else "other values, no majority")
        for row, value, key in zip(rows, values, keys, strict=True)
        if not (majority and key == winner)
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, bytes | np.integer):
        return value
    return tuple(f"{number:.5e}" for number in np.asarray(value, np.float64).reshape(-1) + 0.0)


def _check_text(name: str, text: str) -> None:
    if not text:
        raise SampleError(f"{name} is empty")
    if len(text) > _LONGEST_TEXT:
        raise SampleError(f"{name} has {len(text)} characters, should have {_LONGEST_TEXT} at most")
    if not text.isprintable():
        raise SampleError(f"{name} is {text!r}, should be printable text")


@functools.cache
def _number_shapes(views: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    fields = (field for field in ATTRIBUTES if field.dtype == "float32")
    return tuple((field.name, field.shape_for(views)) for field in fields)


# A sample has a dozen vectors of 3 to 9 numbers: plain Python checks them in a third of the time
# that numpy needs to start, which over a whole archive is minutes.
def _check_numbers(name: str, value: Any, shape: tuple[int, ...]) -> list[float]:
    numbers = np.asarray(value)
    if numbers.shape != shape:
        raise SampleError(f"{name} has shape {numbers.shape}, should be {shape}")
    flat = numbers.reshape(-1).tolist()
    # Not-a-number fails both. Records hold float32, where a larger double is infinite. The sum, a
    # third of the price, is at least as large as every number.
    if not sum(map(abs, flat)) <= _LARGEST_FLOAT32 and not all(
        abs(number) <= _LARGEST_FLOAT32 for number in flat
    ):
        raise SampleError(f"{name} is {_shown(numbers)}, should be finite in float32")
    return flat


def _check_physics(attributes: Mapping[str, Any], numbers: Mapping[str, list[float]]) -> None:
    z_dirs = attributes["z_dirs"]
    if not all(map(any, z_dirs.tolist())):
        raise SampleError(f"z_dirs has a zone axis [0 0 0]: {_shown(z_dirs)}")
    if max(map(abs, numbers["z_dirs"])) > _LARGEST_EXACT_FLOAT32:
        raise SampleError(f"z_dirs is {_shown(z_dirs)}, should be small integers")
    try:
        expected = crystal.d_spacings_angstrom(
            numbers["abc_angstrom"], numbers["angles_degree"], z_dirs
        )
    except ValueError as error:
        raise SampleError(str(error)) from error
    _check_close("d_hkls_angstrom", attributes["d_hkls_angstrom"], expected, "cell and z_dirs")
    expected = SEMI_ANGLE_TIMES_D / attributes["d_hkls_angstrom"]
    _check_close(
        "semi_angles_rad", attributes["semi_angles_rad"], expected, "lambda(100 keV) / (4 d)"
    )


def _check_close(name: str, values: np.ndarray, expected: np.ndarray, source: str) -> None:
    for value, right in zip(values.tolist(), expected.tolist(), strict=True):
        if not math.isclose(value, right, rel_tol=RELATIVE_TOLERANCE):
            raise SampleError(
                f"{name} is {_shown(values)}, but {source} give {_shown(expected)} "
                f"{FIELD[name].unit}"
            )


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return np.array2string(np.asarray(value), precision=9, separator=", ").replace("\n", "")
