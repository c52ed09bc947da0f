"""Physics against published numbers and hand-worked values."""

import numpy as np
import pytest

from cbed_tf import crystal

# The sample that the archive's documentation prints (DOI 10.13139/OLCF/1510313): an independent
# answer for the rule that direction k is column k.
ABC = (4.6456035, 7.54737513, 7.59231027)
ANGLES = (75.75270737, 91.58467769, 89.08634999)
Z_DIRS_AS_PRINTED = np.array([[1, 1, 0], [1, -1, 1], [-1, 1, 3]])
D_HKLS = ("3.34336566", "3.22673953", "2.51930512")
SEMI_ANGLES = (0.00276776, 0.0028678, 0.00367309)


def test_columns_give_the_published_d_spacings_to_all_printed_digits():
    computed = crystal.d_spacings_angstrom(ABC, ANGLES, Z_DIRS_AS_PRINTED.T)

    assert tuple(f"{d:.8f}" for d in computed) == D_HKLS


def test_rows_do_not():
    computed = crystal.d_spacings_angstrom(ABC, ANGLES, Z_DIRS_AS_PRINTED)

    np.testing.assert_allclose(computed, [3.962, 3.227, 2.238], atol=5e-4)


def test_semi_angles_belong_to_a_quarter_of_the_wavelength_at_100_kev():
    quarter = crystal.electron_wavelength_angstrom(100.0) / 4

    np.testing.assert_allclose(np.multiply(SEMI_ANGLES, np.float64(D_HKLS)), quarter, rtol=1e-5)


@pytest.mark.parametrize(
    ("energy_kev", "wavelength_angstrom"),
    [(100, 0.0370144), (200, 0.0250793), (300, 0.0196875)],  # Williams and Carter, table 1.2
)
def test_wavelengths_of_the_textbook(energy_kev, wavelength_angstrom):
    assert crystal.electron_wavelength_angstrom(energy_kev) == pytest.approx(
        wavelength_angstrom, rel=1e-5
    )


def test_impossible_angles_are_refused():
    with pytest.raises(ValueError, match="no cell has lengths"):
        crystal.d_spacings_angstrom((4, 4, 4), (170, 170, 170), np.array([[1, 0, 0]]))


def test_space_group_62_is_known():
    assert crystal.space_group_symbol(62) == "P n m a"
    assert crystal.crystal_system(62) == "orthorhombic"
    assert crystal.point_group(62) == "mmm"


@pytest.mark.parametrize("number", [0, 231, -1])
def test_other_numbers_are_no_space_group(number):
    with pytest.raises(ValueError, match="outside 1..230"):
        crystal.crystal_system(number)


def test_there_are_seven_crystal_systems_and_32_point_groups():
    assert crystal.CRYSTAL_SYSTEMS == (
        "triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic",
    )  # fmt: skip
    assert len(crystal.POINT_GROUPS) == len(set(crystal.POINT_GROUPS)) == 32


@pytest.mark.parametrize(
    ("formula", "atoms"),
    [
        ("K12 Fe4 O16", {"K": 12, "Fe": 4, "O": 16}),
        ("Fe8 O14 F2", {"Fe": 8, "O": 14, "F": 2}),
        ("NaCl", {"Na": 1, "Cl": 1}),
        ("C2 H4 C1", {"C": 3, "H": 4}),
    ],
)
def test_formulas_are_read(formula, atoms):
    assert crystal.parse_formula(formula) == atoms


@pytest.mark.parametrize("formula", ["", "Xx2 O4", "Fe0 O1", "fe2", "Fe2,O3", "12"])
def test_what_is_no_formula_is_refused(formula):
    with pytest.raises(ValueError, match="formula"):
        crystal.parse_formula(formula)


def test_atomic_fractions_lie_in_the_column_of_the_atomic_number():
    fractions = crystal.atomic_fractions(["Al2 O3", "Fe1"])

    assert fractions.shape == (2, 118)
    assert fractions[0, 13 - 1] == pytest.approx(0.4)
    assert fractions[0, 8 - 1] == pytest.approx(0.6)
    assert fractions[1, 26 - 1] == 1
    np.testing.assert_allclose(fractions.sum(axis=1), 1)


# International Tables for Crystallography A, the 11 pairs of enantiomorphic space-group types.
PAIRS = [
    (76, 78), (91, 95), (92, 96), (144, 145), (151, 153), (152, 154),
    (169, 170), (171, 172), (178, 179), (180, 181), (212, 213),
]  # fmt: skip


def test_a_mirror_exchanges_the_enantiomorphic_pairs_and_nothing_else():
    images = {n: crystal.mirrored_space_group(n) for n in crystal.ALL_SPACE_GROUPS}

    changed = {(n, image) for n, image in images.items() if n != image}
    assert changed == {pair for a, b in PAIRS for pair in ((a, b), (b, a))}


def test_a_mirror_changes_neither_crystal_system_nor_point_group():
    for n in crystal.ALL_SPACE_GROUPS:
        image = crystal.mirrored_space_group(n)
        assert crystal.crystal_system(image) == crystal.crystal_system(n)
        assert crystal.point_group(image) == crystal.point_group(n)
