"""The columns of a predictions file: what each target's answers look like as text.

A column is named by the target's key, with a component after it where there are several:
`energy_keV`, `abc_angstrom_a`, `d_hkls_angstrom_1`; what is said of a column has its name and a
suffix, `abc_angstrom_a_std`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from cbed_tf import crystal
from models.networks.heads import STD
from models.networks.probabilities import COARSER, SPACE_GROUP, coarsen, top_classes
from pipelines.targets import CLASSES, QUANTITY, TARGETS, Target

_RANKS = 5


def answer_columns(
    targets: Sequence[Target], answers: Mapping[str, np.ndarray]
) -> dict[str, list[str]]:
    """Returns a model's answers as columns of text, one row a sample.

    Space groups come with symbol, the five most probable ones, and the crystal system and point
    group that their probabilities imply where these are not targets themselves.

    Args:
      targets: The answered ones.
      answers: By target key, (samples, size); `KEY_std` are predicted standard deviations of a
        quantity.
    """
    columns: dict[str, list[str]] = {}
    for target in targets:
        answer = answers[target.key]
        if target.key == SPACE_GROUP:
            columns.update(_space_group_columns(target, answer))
            for coarser in map(TARGETS.__getitem__, COARSER):
                if coarser.key not in answers:
                    columns.update(_class_columns(coarser, coarsen(coarser, answer)))
        elif target.kind == CLASSES:
            columns.update(_class_columns(target, answer))
        elif target.kind == QUANTITY:
            columns.update(quantity_columns(target, answer))
            if f"{target.key}{STD}" in answers:
                columns.update(quantity_columns(target, answers[f"{target.key}{STD}"], STD))
        else:
            columns[target.key] = target.decode(answer)
    return columns


def _space_group_columns(target: Target, probabilities: np.ndarray) -> dict[str, list[str]]:
    ranked = top_classes(probabilities, _RANKS)
    columns = {
        target.key: [str(row[0] + 1) for row in ranked],
        f"{target.key}_symbol": [crystal.space_group_symbol(int(row[0]) + 1) for row in ranked],
    }
    chances = np.take_along_axis(probabilities, ranked, axis=1)
    for rank in range(_RANKS):
        columns[f"{target.key}_{rank + 1}"] = [str(row[rank] + 1) for row in ranked]
        columns[f"{target.key}_{rank + 1}_probability"] = _as_text(chances[:, rank])
    return columns


def _class_columns(target: Target, probabilities: np.ndarray) -> dict[str, list[str]]:
    return {
        target.key: target.decode(probabilities),
        f"{target.key}_probability": _as_text(probabilities.max(axis=1)),
    }


def quantity_names(target: Target, size: int) -> list[str]:
    """Returns the column of each number of a quantity: its key, and the component if several."""
    if size == 1 and not target.per_view:
        return [target.key]
    return [f"{target.key}_{name}" for name in target.component_names(views=size)]


def quantity_columns(target: Target, numbers: np.ndarray, suffix: str = "") -> dict[str, list[str]]:
    """Returns a quantity, or what is said of it, (samples, size), as columns of text."""
    names = quantity_names(target, numbers.shape[1])
    return {f"{name}{suffix}": _as_text(numbers[:, k]) for k, name in enumerate(names)}


def _as_text(numbers: np.ndarray) -> list[str]:
    return [f"{number:.6g}" for number in numbers]


def space_group_captions(names: Sequence[str], answers: Mapping[str, np.ndarray]) -> list[str]:
    """Returns a caption for the picture of each sample: its name, and its space group if asked."""
    if SPACE_GROUP not in answers:
        return list(names)
    return [
        f"{name}\n{row.argmax() + 1} ({row.max():.0%})"
        for name, row in zip(names, answers[SPACE_GROUP], strict=True)
    ]
