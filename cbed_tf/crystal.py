"""What crystallography and electron optics say about a sample; space groups and cells by gemmi.

Owns derived quantities (wavelength, d-spacing, crystal system, point group, atomic fractions).
Whether a sample agrees with them is the business of `checks.py`.
"""

import functools
import math
import re
import types
from collections.abc import Mapping, Sequence

import gemmi
import numpy as np

NUM_SPACE_GROUPS = 230
NUM_ELEMENTS = 118

_PLANCK_J_S = 6.62607015e-34
_ELECTRON_MASS_KG = 9.1093837015e-31
_ELEMENTARY_CHARGE_C = 1.602176634e-19
_LIGHT_SPEED_M_S = 299792458.0

_ATOMS = re.compile(r"([A-Z][a-z]?)(\d*)\s*")


def electron_wavelength_angstrom(energy_kev: float) -> float:
    """Returns the relativistic de Broglie wavelength of an electron, in angstrom.

    Args:
      energy_kev: Kinetic energy in keV, above 0.

    Source: lambda = h / sqrt(2 m E (1 + E / 2mc^2)) with the CODATA 2018 constants.
    """
    energy_j = energy_kev * 1e3 * _ELEMENTARY_CHARGE_C
    rest_energy_j = _ELECTRON_MASS_KG * _LIGHT_SPEED_M_S**2
    momentum = math.sqrt(2 * _ELECTRON_MASS_KG * energy_j * (1 + energy_j / (2 * rest_energy_j)))
    return _PLANCK_J_S / momentum * 1e10


def d_spacings_angstrom(
    abc_angstrom: Sequence[float], angles_degree: Sequence[float], planes: np.ndarray
) -> np.ndarray:
    """Returns the d-spacing of each lattice plane, in angstrom.

    Args:
      abc_angstrom: Lattice lengths a, b, c.
      angles_degree: Lattice angles alpha, beta, gamma.
      planes: Integer Miller indices, (planes, 3), one plane a row.

    Raises:
      ValueError: The lengths and angles span no cell.
    """
    cell = gemmi.UnitCell(*map(float, abc_angstrom), *map(float, angles_degree))
    if not cell.volume > 0:  # not-a-number for impossible angles
        raise ValueError(
            f"no cell has lengths {list(abc_angstrom)} and angles {list(angles_degree)}"
        )
    return np.array([cell.calculate_d(plane) for plane in np.asarray(planes, int).tolist()])


@functools.cache
def space_group_symbol(space_group: int) -> str:
    """Returns the Hermann-Mauguin symbol of a space group, 'P n m a' for 62."""
    return _space_group(space_group).hm


@functools.cache
def crystal_system(space_group: int) -> str:
    """Returns the crystal system of a space group, 'orthorhombic' for 62."""
    return _space_group(space_group).crystal_system_str()


@functools.cache
def point_group(space_group: int) -> str:
    """Returns the Hermann-Mauguin symbol of a space group's point group, 'mmm' for 62."""
    return _space_group(space_group).point_group_hm()


@functools.cache
def mirrored_space_group(space_group: int) -> int:
    """Returns the space group of the mirror image of a crystal, 154 (P 32 2 1) for 152 (P 31 2 1).

    Only the 11 enantiomorphic pairs change: their screws turn the other way in a mirror. The mirror
    image of any other crystal, even of another chiral one, has the number of the crystal itself.
    """
    group = _space_group(space_group)
    if not group.is_enantiomorphic():
        return space_group
    operations = group.operations()
    operations.change_basis_forward(group.change_of_hand_op())
    return gemmi.find_spacegroup_by_ops(operations).number


def _space_group(number: int) -> gemmi.SpaceGroup:
    if not 1 <= number <= NUM_SPACE_GROUPS:
        raise ValueError(f"space group {number} is outside 1..{NUM_SPACE_GROUPS}")
    return gemmi.find_spacegroup_by_number(number)


def _in_order(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


ALL_SPACE_GROUPS = range(1, NUM_SPACE_GROUPS + 1)
# In the order in which the space groups first reach them: triclinic .. cubic, '1' .. 'm-3m'.
CRYSTAL_SYSTEMS = _in_order([crystal_system(number) for number in ALL_SPACE_GROUPS])
POINT_GROUPS = _in_order([point_group(number) for number in ALL_SPACE_GROUPS])
ELEMENT_SYMBOLS = tuple(gemmi.Element(number).name for number in range(1, NUM_ELEMENTS + 1))


@functools.lru_cache(maxsize=1 << 16)
def parse_formula(formula: str) -> Mapping[str, int]:
    """Returns the atoms of a formula such as 'K12 Fe4 O16', element symbol to count.

    Raises:
      ValueError: An unknown element, a count of 0, or text that is no formula.
    """
    counts: dict[str, int] = {}
    position = 0
    while position < len(formula):
        match = _ATOMS.match(formula, position)
        if match is None:
            raise ValueError(f"formula {formula!r} cannot be read from {formula[position:]!r} on")
        symbol, count = match[1], int(match[2] or 1)
        if gemmi.Element(symbol).atomic_number == 0:
            raise ValueError(f"formula {formula!r} has an unknown element {symbol!r}")
        if count == 0:
            raise ValueError(f"formula {formula!r} has no atom of {symbol!r}")
        counts[symbol] = counts.get(symbol, 0) + count
        position = match.end()
    if not counts:
        raise ValueError("the formula is empty")
    return types.MappingProxyType(counts)


@functools.lru_cache(maxsize=1 << 16)
def _fraction_pairs(formula: str) -> tuple[tuple[int, float], ...]:
    counts = parse_formula(formula)
    total = sum(counts.values())
    return tuple(
        (gemmi.Element(symbol).atomic_number - 1, count / total) for symbol, count in counts.items()
    )


def atomic_fractions(formulas: Sequence[str]) -> np.ndarray:
    """Returns the share of each element among a formula's atoms, float32 (formulas, 118).

    Column Z - 1 belongs to atomic number Z; every row sums to 1.
    """
    fractions = np.zeros((len(formulas), NUM_ELEMENTS), np.float32)
    for row, formula in enumerate(formulas):
        for column, fraction in _fraction_pairs(formula):
            fractions[row, column] = fraction
    return fractions
