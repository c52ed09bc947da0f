"""The few scores that sum up a split, as a table, and how scores are printed everywhere."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cbed_tf.inspection.document import Cell, Table, as_text
from models.evaluation.scoring import PER_MATERIAL
from models.evaluation.tasks import IMPLIED
from pipelines.targets import Target

TITLES = {
    "space_group": "space group",
    "crystal_system": "crystal system",
    "point_group": "point group",
    "energy_keV": "beam energy",
    "d_hkls_angstrom": "d-spacings",
    "abc_angstrom": "lattice lengths",
    "angles_degree": "lattice angles",
    "composition": "composition",
}
UNITS = {"angstrom": "Å", "degree": "°", "keV": "keV"}
_SYMBOLS = {"alpha": "α", "beta": "β", "gamma": "γ"}
_HEADLINES = {
    "top1": "top-1",
    "top5": "top-5",
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "element_f1": "element F1",
    "mae": "mean abs. error",
}
_SHARES = ("top1", "top5", "balanced_accuracy", "precision", "recall", "ece", "coverage")
# Of what space groups imply, the other scores tell little more.
_HEADLINES_OF_COARSER = ("top1", "macro_f1")

Documents = Mapping[str, Mapping[str, Any]]


def title(key: str) -> str:
    """Returns a target, or what space groups imply of it, for people."""
    return TITLES[key.removesuffix(IMPLIED)]


def metric_title(name: str) -> str:
    """Returns a metric of a training log for people: 'space group, top-1' of space_group_top1."""
    for key in TITLES:
        rest = name.removeprefix(f"{key}_")
        if rest in _HEADLINES:
            return f"{TITLES[key]}, {_HEADLINES[rest]}"
    return name.replace("_", " ")


def component_titles(target: Target, size: int) -> list[str]:
    """Returns the names of a quantity's numbers for people."""
    names = target.component_names(views=size)
    if target.per_view:
        return [f"view {name}" for name in names]
    return [TITLES[target.key]] if size == 1 else [_SYMBOLS.get(name, name) for name in names]


def unit(scores: Mapping[str, Any]) -> str:
    """Returns the unit of a target's document as it is printed; '' if it has none."""
    return UNITS.get(scores.get("unit", ""), "")


def summary(document: Mapping[str, Any]) -> str:
    """Returns the most important of an evaluation as lines for a terminal."""
    names = run_names([document["run_dir"], document["compared_with"]])
    lines = [
        f"{document['split']}: {document['samples']:,} samples of {document['materials']:,} "
        f"materials; {document['checkpoint']} model of {document['run_dir']}"
        + (f" and of {document['compared_with']}" if document["compared_with"] else "")
        + "".join(f", which is told {name}" for name in document["inputs"])
        + f"; baselines know the labels of {document['baselines_from']}",
        *(f"WARNING: {warning}" for warning in document["warnings"]),
        as_text([headline_table(document["scores"], names if len(names) == 2 else ("model",))]),
        *_calibration_lines(document["calibration"]),
    ]
    return "\n".join(lines)


def _calibration_lines(calibration: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line on the first target with classes; the others follow it."""
    for key, entry in list(calibration["targets"].items())[:1]:
        before = entry["before"]
        text = f"calibration error of the {title(key)} {number('ece', before['ece'])}"
        if "after" in entry:
            after = entry["after"]["ece"]
            text += f", under temperatures fitted on dev {number('ece', after)}"
        yield f"{text} (by chance {number('ece', before['ece_by_chance'])})"


def run_names(run_dirs: Sequence[str | None]) -> list[str]:
    """Returns a short name for each run that there is: its folder's, or the path if they clash."""
    paths = [path for path in run_dirs if path]
    names = [Path(path).resolve().name for path in paths]
    return names if len(set(names)) == len(names) else paths


def headline_table(documents: Documents, names: Sequence[str] = ("model",)) -> Table:
    """Returns the scores that sum up a split.

    Args:
      documents: The 'scores' of an evaluation.
      names: Of the run, and of the other one in a comparison.
    """
    rows = _without_repeats(list(_headlines(documents)))
    if len(names) == 2:
        header = ("", "score", *names, "difference", "its 95 % interval", "baseline")
        return Table(header, tuple(_compared_row(*row) for row in rows))
    header = ("", "score", *names, "95 % interval", "baseline")
    with_materials = any(PER_MATERIAL in document for document in documents.values())
    more = ("by material", "95 % interval") if with_materials else ()
    return Table((*header, *more), tuple(_row(*row, with_materials) for row in rows))


def _headlines(documents: Documents) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yields title, name and the document of each target that has a score."""
    for key in _shown(documents):
        is_coarse = title(key) in ("crystal system", "point group")
        for name in _HEADLINES_OF_COARSER if is_coarse else _HEADLINES:
            if name in documents[key]:
                yield title(key), name, documents[key]


def _without_repeats(rows: list[tuple]) -> list[tuple]:
    """Empties the first cell of each row that begins like the one above it."""
    above = ["", *(row[0] for row in rows)]
    return [
        ("" if row[0] == before else row[0], *row[1:])
        for row, before in zip(rows, above, strict=False)
    ]


def _shown(documents: Documents) -> list[str]:
    """Returns the keys to show in their order: implied ones only where they are not answered."""
    keys = [
        key
        for key in documents
        if not key.endswith(IMPLIED) or key.removesuffix(IMPLIED) not in documents
    ]
    order = list(TITLES)
    return sorted(keys, key=lambda key: order.index(key.removesuffix(IMPLIED)))


def _row(of: str, name: str, document: Mapping[str, Any], with_materials: bool) -> tuple[Cell, ...]:
    score = document[name]
    cells = [of, _label(name, document), number(name, score["model"])]
    cells += [span(name, score.get("interval")), number(name, score["baseline"])]
    if with_materials:
        joint = document.get(PER_MATERIAL, {}).get(name)
        cells.append(number(name, joint["model"]) if joint else "")
        cells.append(span(name, joint.get("interval")) if joint else "")
    return tuple(cells)


def _compared_row(of: str, name: str, document: Mapping[str, Any]) -> tuple[Cell, ...]:
    score = document[name]
    cells = [of, _label(name, document), number(name, score["model"])]
    if "other" in score:
        cells += [number(name, score["other"]), signed(name, score["difference"])]
        cells.append(span(name, score.get("difference_interval"), signed))
    else:
        cells += ["", "", ""]
    return (*cells, number(name, score["baseline"]))


def _label(name: str, document: Mapping[str, Any]) -> str:
    return f"{_HEADLINES[name]} ({unit(document)})" if unit(document) else _HEADLINES[name]


def number(name: str, value: float) -> str:
    """Returns a score for people: shares in percent, F1 with three decimals, errors in 3 digits."""
    if name in _SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if name.endswith("f1") else _digits(value, 3)


def signed(name: str, value: float) -> str:
    """Returns a difference of scores likewise, with its sign; of shares in percentage points."""
    if name in _SHARES:
        return f"{100 * value:+.1f}"
    return f"{value:+.3f}" if name.endswith("f1") else _digits(value, 2, "+")


def _digits(value: float, count: int, sign: str = "") -> str:
    return f"{value:{sign}#.{count}g}".rstrip(".") if value else "0"


def span(name: str, bounds: Sequence[float] | None, form: Any = number) -> str:
    """Returns an interval likewise, '' for none."""
    if not bounds:
        return ""
    low, high = (form(name, bound) for bound in bounds)
    return f"{low.removesuffix(' %')} to {high}"
