"""Typography of formulas, zone axes and space groups, on values written out by hand."""

import pytest

from cbed_tf.notation import (
    formula_notation,
    reduced_formula,
    space_group_notation,
    zone_axis_notation,
)

OVER = '<span style="text-decoration:overline">{}</span>'


def test_counts_of_a_formula_are_subscripts_and_ones_are_left_out():
    notation = formula_notation("Ca1 B6")

    assert str(notation) == "Ca1 B6"
    assert notation.html() == "CaB<sub>6</sub>"
    assert notation.mathtext() == "CaB$_{6}$"


def test_text_that_is_no_formula_is_shown_and_escaped():
    notation = formula_notation("$x <b>")

    assert notation.html() == "$x &lt;b&gt;"
    assert notation.mathtext() == r"\$x <b>"


def test_negative_indices_get_an_overbar():
    notation = zone_axis_notation([1, -10, 0])

    assert str(notation) == "[1 -10 0]"
    assert notation.html() == f"[1\u2009{OVER.format(10)}\u20090]"
    assert notation.mathtext() == "[1\u2009$\\overline{10}$\u20090]"


@pytest.mark.parametrize(
    ("number", "plain", "markup"),
    [
        (194, "P 63/m m c", "<i>P</i>\u20096<sub>3</sub>/<i>m</i>\u2009<i>m</i>\u2009<i>c</i>"),
        (216, "F -4 3 m", f"<i>F</i>\u2009{OVER.format(4)}\u20093\u2009<i>m</i>"),
    ],
)
def test_symbols_have_screw_axes_and_rotoinversions(number, plain, markup):
    notation = space_group_notation(number)

    assert str(notation) == plain
    assert notation.html() == markup


def test_cells_of_one_compound_have_one_reduced_formula():
    assert reduced_formula("Ca2 B12") == reduced_formula("B6 Ca1") == "B6 Ca1"
    assert reduced_formula("C8") == "C1"
