"""All scores of a target as tables: class by class, element by element, number by number."""

from collections.abc import Mapping, Sequence
from typing import Any

from cbed_tf import crystal
from cbed_tf.inspection.document import Cell, Table
from cbed_tf.notation import space_group_notation
from models.evaluation.number_scoring import NORMAL_COVERAGE
from models.evaluation.tables import number, span, title, unit
from models.networks.probabilities import COARSER

# More rows than this are shown only when asked for.
_OPEN_ROWS = 20
_BY_COMPONENT = ("mae_by_component", "median_by_component", "rmse_by_component")


def part_table(scores: Mapping[str, Any], coarser: str, other: str = "") -> Table:
    """Returns how the samples of each crystal system, or of each point group, fare.

    Args:
      scores: Document of the space groups' scores.
      coarser: 'crystal_system' or 'point_group'.
      other: Name of the other run in a comparison.
    """
    rows = tuple(
        (
            part,
            f"{entry['samples']:,}",
            f"{entry['materials']:,}",
            number("recall", entry["recall"]["model"]),
            number("top1", entry["top1"]["model"]),
            span("top1", entry["top1"].get("interval")),
            *([number("top1", entry["top1"]["other"])] if other else []),
        )
        for part, entry in scores[f"per_{coarser}"].items()
    )
    name = title(coarser)
    header = (name, "samples", "materials", f"{name} right", "space group right", "95 % interval")
    more = (f"of {other}",) if other else ()
    folded = coarser != COARSER[0]
    return Table((*header, *more), rows, folded, f"Each of {len(rows)} point groups")


def class_table(scores: Mapping[str, Any]) -> Table:
    """Returns how well each space group is recognised, and what it is mistaken for."""
    rows = tuple(
        (
            name,
            space_group_notation(int(name)),
            crystal.crystal_system(int(name)),
            f"{entry['samples']:,}",
            f"{entry['materials']:,}",
            *(number(share, entry[share]) for share in ("precision", "recall", "f1")),
            ", ".join(f"{other} ({count:,})" for other, count in entry["mistaken_for"].items()),
        )
        for name, entry in scores["per_class"].items()
    )
    header = ("space group", "symbol", "crystal system", "samples", "materials")
    scored = ("precision", "recall", "F1", "mistaken for (samples)")
    summary = f"Each of {len(rows)} space groups"
    return Table((*header, *scored), rows, len(rows) > _OPEN_ROWS, summary)


def quantity_table(scores: Mapping[str, Any], components: Sequence[str]) -> Table:
    """Returns the errors of a quantity, beside those of always answering train's mean.

    Args:
      scores: Document of its scores.
      components: What its numbers are called.
    """
    names = ("mae", "median_absolute_error", "rmse")
    lines = {"together" if len(components) > 1 else "": [scores[name] for name in names]}
    if len(components) > 1:
        by_component = [scores[name] for name in _BY_COMPONENT]
        for name, component in zip(components, by_component[0], strict=True):
            lines[name] = [part[component] for part in by_component]
    rows = tuple(
        (
            line,
            number("mae", mae["model"]),
            span("mae", mae.get("interval")),
            number("mae", mae["baseline"]),
            *(number("mae", x[of]) for x in (median, rmse) for of in ("model", "baseline")),
        )
        for line, (mae, median, rmse) in lines.items()
    )
    of = unit(scores)
    header = ("", f"mean abs. error ({of})", "95 % interval", "baseline")
    more = (f"median ({of})", "baseline", f"RMSE ({of})", "baseline")
    return Table((*header, *more), rows)


def uncertainty_table(documents: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """Returns how predicted standard deviations fit the errors; None where there are none."""
    rows = []
    for key, scores in documents.items():
        if "uncertainty" in scores:
            entries = scores["uncertainty"]
            shares = [entries[f"coverage_{count}_sigma"] for count in (1, 2)]
            row: list[Cell] = [title(key)]
            for share in shares:
                row += [number("coverage", share["model"]), span("coverage", share.get("interval"))]
            row += [f"{entries['nll'][of]:.3f}" for of in ("model", "baseline")]
            rows.append(tuple(row))
    one, two = (f"{100 * share:.1f} %" for share in NORMAL_COVERAGE)
    header = ("", f"within 1 σ (ideal {one})", "95 % interval", f"within 2 σ (ideal {two})")
    more = ("95 % interval", "neg. log-likelihood", "baseline")
    return Table((*header, *more), tuple(rows)) if rows else None


def element_table(scores: Mapping[str, Any]) -> Table:
    """Returns how well each element is found."""
    rows = tuple(
        (
            symbol,
            f"{entry['samples']:,}",
            *(number(share, entry[share]) for share in ("precision", "recall", "f1")),
        )
        for symbol, entry in scores["per_element"].items()
    )
    header = ("element", "samples with it", "precision", "recall", "F1")
    return Table(header, rows, folded=True, summary=f"Each of {len(rows)} elements")


def calibration_table(calibration: Mapping[str, Any]) -> Table:
    """Returns how reliable probabilities are, as the model gives them and under their temperature.

    Args:
      calibration: The 'targets' of an evaluation's 'calibration'.
    """
    rows = []
    for key, entry in calibration.items():
        before, after = entry["before"], entry.get("after")
        row = [title(key), number("ece", before["ece"])]
        row += [number("ece", before["ece_by_chance"]), f"{before['nll']:.3f}"]
        if after:
            row += [", ".join(f"{used:.2f}" for used in entry["temperatures"])]
            row += [number("ece", after["ece"]), number("ece", after["ece_by_chance"])]
            row += [f"{after['nll']:.3f}"]
        rows.append(tuple(row))
    header = ("", "calibration error", "by chance", "neg. log-likelihood")
    more = ("temperature", "tempered: error", "by chance", "neg. log-likelihood")
    return Table((*header, *more) if len(rows[0]) > len(header) else header, tuple(rows))
