"""The worst mistakes for people: patterns, what they are of, and what the model said."""

from collections.abc import Iterator
from typing import Any

from cbed_tf import crystal
from cbed_tf.figures import Panels, as_png, panels_figure
from cbed_tf.inspection.document import Cell, Picture
from cbed_tf.notation import formula_notation, space_group_notation
from models.evaluation.answers import Answers, main_target
from models.evaluation.tables import UNITS
from models.evaluation.worst import Mistake
from models.networks.probabilities import SPACE_GROUP
from pipelines.targets import CLASSES, TARGETS, Target


def mistake_documents(answers: Answers) -> list[dict[str, Any]]:
    """Returns the worst mistakes as JSON-like dicts, the worst first."""
    target = main_target(answers.targets)
    return [_document(mistake, target, answers) for mistake in answers.mistakes]


def _document(mistake: Mistake, target: Target, answers: Answers) -> dict[str, Any]:
    row, columns = mistake.row, answers.columns
    document = {
        "sample_id": columns["sample_id"][row].decode(),
        "material": columns["material"][row].decode(),
        "formula": columns["formula"][row].decode(),
        "space_group": int(columns["space_group"][row]),
        "energy_keV": float(columns["energy_keV"][row]),
        "target": target.key,
    }
    answer, label = answers.predicted[target.key][row], answers.labels[target.key][row]
    if target.kind != CLASSES:
        (true,), (decoded,) = (target.decode(numbers[None]) for numbers in (label, answer))
        return {**document, "true": true, "answer": decoded, "severity": mistake.severity}
    chances = {"probability": float(answer.max()), "probability_of_true": float(answer[label])}
    named = {"true": target.class_names[label], "answer": target.class_names[answer.argmax()]}
    return {**document, **named, **chances}


def mistake_pictures(
    answers: Answers, other: tuple[str, Answers] | None = None
) -> tuple[Picture, ...]:
    """Returns the patterns of the worst mistakes, each with what is true and what was answered.

    Args:
      answers: Of the run.
      other: Name and answers of another run to the same samples.
    """
    pictures = []
    for mistake, document in zip(answers.mistakes, mistake_documents(answers), strict=True):
        lines = list(_verdict(document))
        if other:
            lines += _other_verdict(mistake.row, document["target"], *other)
        picture = as_png(panels_figure(_panels(mistake, answers)))
        alternative = f"patterns of {document['sample_id']}"
        pictures.append(Picture(picture, "png", alternative, (*lines, _origin(document))))
    return tuple(pictures)


def mistake_panels(answers: Answers) -> list[Panels]:
    """Returns the same as what `cbed_tf.figures.gallery_figure` draws."""
    return [
        _panels(mistake, answers, _notes(document))
        for mistake, document in zip(answers.mistakes, mistake_documents(answers), strict=True)
    ]


def _panels(mistake: Mistake, answers: Answers, notes: tuple[str, ...] = ()) -> Panels:
    columns, row = answers.columns, mistake.row
    return Panels(
        mistake.stack,
        columns["sample_id"][row].decode(),
        columns["formula"][row].decode(),
        int(columns["space_group"][row]) or None,
        float(columns["energy_keV"][row]),
        columns["z_dirs"][row],
        notes,
    )


def _notes(document: dict[str, Any]) -> tuple[str, ...]:
    if "probability" in document:
        return (f"answered {document['answer']} ({document['probability']:.0%})",)
    return (f"answered {_named(document['answer'], document['target'])[0]}",)


def _verdict(document: dict[str, Any]) -> Iterator[list[Cell]]:
    """Yields a line on what is true and one on what was answered."""
    key = document["target"]
    true, answer = (_named(document[name], key) for name in ("true", "answer"))
    if "probability" in document:
        true.append(f" – given {_percent(document['probability_of_true'])}")
        answer.append(f" – given {_percent(document['probability'])}")
    yield ["true: ", *true]
    yield ["answered: ", *answer]


def _other_verdict(row: int, key: str, name: str, answers: Answers) -> Iterator[list[Cell]]:
    """Yields a line on what another run answered, if it was asked."""
    if key in answers.predicted:
        answer = answers.predicted[key][row]
        line = [f"{name}: ", *_named(TARGETS[key].decode(answer[None])[0], key)]
        if TARGETS[key].kind == CLASSES:
            line.append(f" – given {_percent(float(answer.max()))}")
        yield line


def _named(value: Any, key: str) -> list[Cell]:
    """Returns a decoded answer for people; space groups with symbol and crystal system."""
    if key == SPACE_GROUP:
        return _group(int(value))
    if isinstance(value, str):
        return [value]
    return [f"{', '.join(f'{number:.3g}' for number in value)} {UNITS[TARGETS[key].unit]}"]


def _group(number: int) -> list[Cell]:
    return [space_group_notation(number), f" (No. {number}), {crystal.crystal_system(number)}"]


def _percent(probability: float) -> str:
    return "less than 0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def _origin(document: dict[str, Any]) -> list[Cell]:
    formula = formula_notation(document["formula"])
    return [formula, f"  ·  {document['material']}  ·  {document['energy_keV']:g} keV"]
