"""Tells everything about one sample, as a document: attributes, physics, patterns."""

from typing import Any

import numpy as np

from cbed_tf import crystal, figures
from cbed_tf.archive import checks
from cbed_tf.errors import CbedError
from cbed_tf.figures import Panels
from cbed_tf.inspection.document import Block, Cell, Heading, Paragraph, Picture, Table
from cbed_tf.inspection.sample import Sample
from cbed_tf.notation import formula_notation, space_group_notation, zone_axis_notation
from cbed_tf.schema import ATTRIBUTES, IMAGE


def sample_blocks(sample: Sample, with_picture: bool = False) -> list[Block]:
    """Returns the report on a sample.

    Args:
      sample: What to tell of.
      with_picture: Whether to draw its patterns, if they can be read.
    """
    blocks: list[Block] = [Heading(sample.sample_id, 1)]
    if sample.reason:
        blocks.append(Paragraph(f"this sample would be rejected: {sample.reason}", warning=True))
    else:
        blocks.append(Paragraph("Sound: form, physics and pixels pass every check."))
    if with_picture and sample.stack is not None:
        picture = figures.as_png(figures.pattern_figure(as_panels(sample)))
        blocks.append(Picture(picture, "png", f"patterns of {sample.sample_id}"))
    if sample.attributes is not None:
        blocks += [Heading("Attributes"), _attribute_table(sample)]
        blocks += _physics(sample.attributes)
    return [*blocks, Heading("Patterns"), *_patterns(sample)]


def as_panels(sample: Sample) -> Panels:
    """Returns what a figure needs of a sample.

    Raises:
      CbedError: Its patterns cannot be read.
    """
    if sample.stack is None:
        raise CbedError(f"{sample.sample_id} has no patterns to draw: {sample.reason}")
    known = sample.attributes or {}
    space_group = known.get("space_group")
    directions = known.get("z_dirs")
    return Panels(
        stack=sample.stack,
        sample_id=sample.sample_id,
        formula=known.get("formula", ""),
        space_group=space_group if _is_space_group(space_group) else None,
        energy_keV=known["energy_keV"] if isinstance(known.get("energy_keV"), float) else None,
        z_dirs=directions if directions is not None and directions.ndim == 2 else None,
    )


def _is_space_group(number: int | None) -> bool:
    return number is not None and 1 <= number <= crystal.NUM_SPACE_GROUPS


def _attribute_table(sample: Sample) -> Table:
    rows = []
    for field in ATTRIBUTES:
        value = sample.attributes[field.name]
        rows.append((field.name, _shown(field.name, value), field.unit, field.meaning))
    if _is_space_group(number := sample.attributes["space_group"]):
        derived = f"{crystal.crystal_system(number)}, point group {crystal.point_group(number)}"
        rows.insert(1, ("", space_group_notation(number), "", derived))
    return Table(("attribute", "value", "unit", "meaning"), tuple(rows))


def _shown(name: str, value: Any) -> Cell:
    if name == "formula":
        return formula_notation(value)
    if isinstance(value, str | int):
        return str(value)
    numbers = np.asarray(value)
    if numbers.ndim < 2:
        return "  ".join(f"{number:.9g}" for number in numbers.reshape(-1))
    return "  ".join("[" + " ".join(f"{number:.4g}" for number in row) + "]" for row in numbers)


def _physics(attributes: dict[str, Any]) -> list[Block]:
    """Compares each view with what cell and electron wavelength say; nothing if they cannot."""
    z_dirs, d_hkls = attributes["z_dirs"], np.asarray(attributes["d_hkls_angstrom"])
    semi_angles = np.asarray(attributes["semi_angles_rad"])
    if not d_hkls.shape == semi_angles.shape == z_dirs.shape[:1]:
        return []
    try:
        expected = crystal.d_spacings_angstrom(
            attributes["abc_angstrom"], attributes["angles_degree"], z_dirs
        )
    except (ValueError, TypeError):
        return []
    products = semi_angles * d_hkls
    rows = tuple(
        (
            str(view),
            zone_axis_notation(z_dirs[view]),
            f"{d_hkls[view]:.6f}",
            f"{expected[view]:.6f}",
            _verdict(d_hkls[view], expected[view]),
            f"{1e3 * semi_angles[view]:.4f}",
            f"{products[view]:.7f}",
            _verdict(products[view], checks.SEMI_ANGLE_TIMES_D),
        )
        for view in range(len(z_dirs))
    )
    header = ("view", "zone axis", "d (angstrom)", "d of the cell", "", "semi-angle (mrad)")
    quarter = f"semi-angle x d should be lambda(100 keV) / 4 = {checks.SEMI_ANGLE_TIMES_D:.7f}"
    words = f"d should be the spacing that cell and zone axis give; {quarter} rad angstrom."
    return [
        Heading("Physics"),
        Table((*header, "semi-angle x d", " "), rows),
        Paragraph(words),
    ]


def _verdict(value: float, expected: float) -> str:
    deviation = value / expected - 1
    if abs(deviation) <= checks.RELATIVE_TOLERANCE:
        return "agrees"
    return f"DIFFERS by {100 * deviation:+.3g} %"


def _patterns(sample: Sample) -> list[Block]:
    if sample.place is None:
        return [Paragraph(f"{IMAGE} cannot be read.")]
    if sample.place.offset is None:
        where = "chunked, compressed or converted: read through the HDF5 library"
    else:
        where = f"in one piece at byte {sample.place.offset:,}"
    words = f"{IMAGE} has shape {sample.place.shape}, lies in {sample.file}, {where}."
    if sample.stack is None:
        return [Paragraph(words)]
    rows = tuple(
        (str(view), *(f"{number:.6g}" for number in (pattern.min(), pattern.max(), pattern.sum())))
        for view, pattern in enumerate(sample.stack.astype(np.float64))
    )
    return [Paragraph(words), Table(("view", "smallest pixel", "largest pixel", "sum"), rows)]
