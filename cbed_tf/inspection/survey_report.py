"""Tells what a survey found, as a document: in words, tables and charts."""

from collections.abc import Iterator, Sequence

from cbed_tf import crystal, figures
from cbed_tf.figures import Panels
from cbed_tf.inspection import charts
from cbed_tf.inspection.document import Block, Cell, Gallery, Heading, Paragraph, Picture, Table
from cbed_tf.inspection.survey import Overlap, Survey
from cbed_tf.notation import formula_notation, space_group_notation
from cbed_tf.schema import IMAGE

_FLOAT16_MAX = 65504
_MAX_ROWS_ON_TERMINAL = 20
_MAX_ROWS_ON_PAGE = 1000


def survey_blocks(
    survey: Survey, title: str, examples: Sequence[Panels] | None = None
) -> list[Block]:
    """Returns the report on an archive.

    Args:
      survey: What was found.
      title: The archive's name.
      examples: Samples for the gallery of a web page, which then gets charts and full lists too;
        None for a terminal.
    """
    on_page = examples is not None
    limit = _MAX_ROWS_ON_PAGE if on_page else _MAX_ROWS_ON_TERMINAL
    blocks = [Heading(title, 1), Paragraph(_outline(survey))]
    blocks += [Paragraph(text, warning) for text, warning in verdicts(survey)]
    blocks += _splits(survey)
    if survey.samples:
        blocks += _space_groups(survey, on_page)
        blocks += _energies(survey, on_page)
    blocks += _leaks(survey, limit)
    blocks += _rejected(survey, limit)
    if examples:
        blocks += _gallery(examples)
    return blocks


def verdicts(survey: Survey) -> Iterator[tuple[str, bool]]:
    """Yields what matters most about an archive, and whether it is a warning."""
    if survey.rejected:
        what = "sample or file" if len(survey.rejected) == 1 else "samples or files"
        yield f"{len(survey.rejected):,} {what} would be rejected.", True
    else:
        yield "Every sample is sound: none would be rejected.", False
    if survey.leaks:
        what = "material occurs" if len(survey.leaks) == 1 else "materials occur"
        yield (
            f"{len(survey.leaks):,} {what} in more than one split: a score on such splits is a "
            "leak, not a result.",
            True,
        )


def _outline(survey: Survey) -> str:
    views, height, width = survey.image_shape
    size = f"{survey.bytes / 2**20:,.1f} MiB"
    text = (
        f"{survey.files:,} files, {size}: {survey.samples:,} sound samples of "
        f"{survey.materials:,} materials, each {views} patterns of {height} x {width} pixels."
    )
    if survey.through_hdf5:
        which = "all" if survey.through_hdf5 == survey.samples else f"{survey.through_hdf5:,}"
        text += (
            f" The patterns of {which} samples are chunked or compressed: they are read through "
            "the HDF5 library, which is slower than reading patterns that lie in one piece."
        )
    return text


def _splits(survey: Survey) -> list[Block]:
    rows = []
    for name, split in survey.splits.items():
        counts = (split.files, split.samples, split.materials, len(split.space_groups))
        ranges = (*(split.intensity or ()), *(split.pattern_sum or ()))
        shown = [f"{number:.3g}" for number in ranges] or ["–"] * 4
        rows.append(
            (name, *(f"{count:,}" for count in counts), _energy_range(split.energies_keV), *shown)
        )
    header = ("split", "files", "samples", "materials", "space groups", "energies (keV)")
    intensities = ("smallest pixel", "largest pixel", "smallest sum", "largest sum")
    note = "Pixels are raw intensities; a sum is the total intensity of one pattern."
    largest = max(
        (split.intensity[1] for split in survey.splits.values() if split.intensity), default=0
    )
    if largest > _FLOAT16_MAX:
        note += f" The largest pixel does not fit into float16, which ends at {_FLOAT16_MAX}."
    return [Heading("Splits"), Table((*header, *intensities), tuple(rows)), Paragraph(note)]


def _energy_range(energies_keV: dict[float, int]) -> str:
    if not energies_keV:
        return "–"
    lowest, highest = min(energies_keV), max(energies_keV)
    return f"{lowest:g}" if lowest == highest else f"{lowest:g} to {highest:g}"


def _space_groups(survey: Survey, on_page: bool) -> list[Block]:
    totals = survey.space_groups()
    systems = [crystal.crystal_system(number) for number in totals]
    by_system = Table(
        ("crystal system", "space groups", "samples", "share"),
        tuple(
            (system, str(systems.count(system)), f"{count:,}", _share(count, survey.samples))
            for system, count in survey.crystal_systems().items()
        ),
    )
    largest = max(totals, key=totals.__getitem__)
    words = (
        f"{len(totals)} of {crystal.NUM_SPACE_GROUPS} space groups occur. Always answering the "
        f"most frequent one, {largest} ({crystal.space_group_symbol(largest)}), would be right for "
        f"{_share(totals[largest], survey.samples)} of the samples."
    )
    blocks: list[Block] = [Heading("Space groups"), Paragraph(words)]
    if on_page:
        chart = charts.as_svg(charts.class_figure(totals))
        every = _space_group_table(survey, list(totals), "Samples of every space group")
        return [*blocks, Picture(chart, "svg+xml", "samples of each space group"), by_system, every]
    most = sorted(totals, key=lambda number: (-totals[number], number))[:_MAX_ROWS_ON_TERMINAL]
    blocks += [by_system, _space_group_table(survey, most)]
    if len(most) < len(totals):
        blocks.append(Paragraph(f"… and {len(totals) - len(most)} more, less frequent ones"))
    return blocks


def _space_group_table(survey: Survey, numbers: Sequence[int], summary: str = "") -> Table:
    totals = survey.space_groups()
    rows = tuple(
        (
            str(number),
            space_group_notation(number),
            crystal.crystal_system(number),
            *(f"{split.space_groups.get(number, 0):,}" for split in survey.splits.values()),
            f"{totals[number]:,}",
            _share(totals[number], survey.samples),
        )
        for number in numbers
    )
    header = ("space group", "symbol", "crystal system", *survey.splits, "samples", "share")
    return Table(header, rows, folded=bool(summary), summary=summary)


def _energies(survey: Survey, on_page: bool) -> list[Block]:
    by_split = {name: split.energies_keV for name, split in survey.splits.items()}
    blocks: list[Block] = [Heading("Beam energies")]
    if on_page:
        chart = charts.as_svg(charts.energy_figure(by_split))
        blocks.append(Picture(chart, "svg+xml", "samples of each beam energy"))
    energies = sorted({energy for counts in by_split.values() for energy in counts})
    rows = tuple(
        (
            f"{energy:g}",
            *(f"{counts.get(energy, 0):,}" for counts in by_split.values()),
            f"{sum(counts.get(energy, 0) for counts in by_split.values()):,}",
        )
        for energy in energies
    )
    header = ("energy (keV)", *by_split, "samples")
    summary = "Samples of every energy"
    return [*blocks, Table(header, rows, folded=on_page, summary=summary)]


def _leaks(survey: Survey, limit: int) -> list[Block]:
    if len(survey.splits) < 2:
        return []
    blocks: list[Block] = [Heading("Leaks between splits")]
    if survey.leaks:
        blocks.append(Paragraph("Materials in more than one split, and their samples in each:"))
        blocks += _overlap_table("material", survey.leaks, list(survey.splits), limit)
    else:
        blocks.append(Paragraph("No material occurs in more than one split."))
    if survey.shared_compositions:
        blocks.append(
            Paragraph(
                "The same composition under another material id is no leak by itself (another "
                "structure of the same compound, mostly), but makes the task easier:"
            )
        )
        blocks += _overlap_table(
            "composition", survey.shared_compositions, list(survey.splits), limit
        )
    return blocks


def _overlap_table(
    what: str, overlaps: Sequence[Overlap], splits: Sequence[str], limit: int
) -> list[Block]:
    rows = tuple(
        (
            formula_notation(overlap.name) if what == "composition" else overlap.name,
            *(f"{overlap.samples.get(split, 0):,}" for split in splits),
        )
        for overlap in overlaps[:limit]
    )
    # The whole archive has thousands of shared compositions, and other sections below them.
    folded = what == "composition" and len(rows) > _MAX_ROWS_ON_TERMINAL
    summary = f"{len(overlaps):,} compositions"
    return [Table((what, *splits), rows, folded, summary), *_rest(len(overlaps), limit)]


def _rejected(survey: Survey, limit: int) -> list[Block]:
    if not survey.rejected:
        return []
    kinds = survey.rejected_by_kind()
    by_kind = Table(
        ("rejected", "reason"),
        tuple((f"{len(of_kind):,}", kind) for kind, of_kind in kinds.items()),
    )
    of_each = max(1, limit // len(kinds))  # a frequent kind must not hide the others
    shown = [rejection for of_kind in kinds.values() for rejection in of_kind[:of_each]]
    rows = tuple((entry.file, entry.sample_id, entry.reason) for entry in shown)
    listed = Table(("file", "sample", "reason"), rows)
    return [Heading("Rejected samples"), by_kind, listed, *_rest(len(survey.rejected), len(shown))]


def _rest(count: int, shown: int) -> list[Block]:
    return [Paragraph(f"… and {count - shown:,} more")] if count > shown else []


def _gallery(examples: Sequence[Panels]) -> list[Block]:
    words = (
        f"Intensities of {IMAGE} to the power 1/4, each pattern scaled to its own maximum, under "
        "its zone axis."
    )
    pictures = tuple(
        Picture(
            figures.as_png(figures.panels_figure(example)),
            "png",
            f"patterns of {example.sample_id}",
            caption=_caption(example),
        )
        for example in examples
    )
    return [Heading("Patterns"), Paragraph(words), Gallery(pictures)]


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %"


def _caption(sample: Panels) -> tuple[Sequence[Cell], ...]:
    """Returns the lines below a sample's picture on a web page."""
    first: list[Cell] = [formula_notation(sample.formula)]
    if sample.space_group is not None:
        system = crystal.crystal_system(sample.space_group)
        symbol = space_group_notation(sample.space_group)
        first += ["  ·  ", symbol, f" (No. {sample.space_group})  ·  {system}"]
    if sample.energy_keV is not None:
        first.append(f"  ·  {sample.energy_keV:g} keV")
    return (first, (sample.sample_id,))
