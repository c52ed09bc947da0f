"""Which pictures answers come with; the report embeds them, a folder holds them as PNG."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cbed_tf.figures import gallery_figure
from models.evaluation import charts
from models.evaluation.answers import is_labelled
from models.evaluation.gallery import mistake_panels
from models.evaluation.judged import Judged
from models.evaluation.number_scoring import PRESENCE_THRESHOLD
from models.evaluation.scores import confusion, element_scores
from models.evaluation.tables import UNITS, component_titles, title
from models.evaluation.tasks import IMPLIED, Task
from models.figures import save_figure
from models.networks.probabilities import SPACE_GROUP
from pipelines.targets import FRACTIONS, QUANTITY, TARGETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CRYSTAL_SYSTEM = "crystal_system"
_RELIABILITY, _MISTAKES = "reliability", "mistakes"
# More classes make no readable matrix.
_MATRIX_CLASSES = 20


def draw(judged: Judged) -> dict[str, "Figure"]:
    """Returns the pictures of a run's answers by name, without the patterns of mistakes.

    Names are 'reliability' (of the main classes), 'crystal_system' and 'space_group' (confusions),
    and the keys of quantities and of the composition.
    """
    return dict(_figures(judged))


def save_pictures(folder: Path, figures: dict[str, "Figure"], judged: Judged) -> None:
    """Writes pictures as PNG files, and `mistakes.png` with the patterns of the worst mistakes.

    Those of an earlier evaluation that have no successor are removed.

    Args:
      folder: Made if it does not exist.
      figures: From `draw`.
      judged: What they are of.
    """
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        save_figure(folder / f"{name}.png", figure)
    written = set(figures)
    if judged.answers.mistakes:
        save_figure(folder / f"{_MISTAKES}.png", gallery_figure(mistake_panels(judged.answers)))
        written.add(_MISTAKES)
    for name in {*TARGETS, _RELIABILITY, _MISTAKES} - written:
        (folder / f"{name}.png").unlink(missing_ok=True)


def _figures(judged: Judged) -> Iterator[tuple[str, "Figure"]]:
    if judged.calibrated:
        key, found = next(iter(judged.calibrated.items()))
        panels = {f"{title(key)}, as the model answers": found.before}
        if found.after is not None:
            panels[f"{title(key)}, tempered"] = found.after
        yield _RELIABILITY, charts.reliability_chart(panels)
    yield from _confusions(judged)
    for key, task in judged.tasks.items():
        if task.target.kind == QUANTITY:
            known = is_labelled(task.target, judged.answers.labels[key])
            yield key, _quantity_chart(task, judged.answers.columns[SPACE_GROUP][known])
        elif task.target.kind == FRACTIONS:
            yield key, _element_chart(task)


def _quantity_chart(task: Task, space_groups: np.ndarray) -> "Figure":
    names = component_titles(task.target, task.labels.shape[1])
    unit = UNITS[task.target.unit]
    coloured = space_groups > 0  # 0 stands for one that is not known
    true, answers = task.labels[coloured], task.answers[coloured]
    return charts.scatter_chart(true, answers, names, unit, space_groups[coloured])


def _element_chart(task: Task) -> "Figure":
    found = element_scores(task.answers > PRESENCE_THRESHOLD, task.labels > 0)
    by_symbol = {task.target.class_names[k]: element for k, element in found.items()}
    return charts.element_chart(
        {symbol: element.f1 for symbol, element in by_symbol.items()},
        {symbol: element.samples for symbol, element in by_symbol.items()},
    )


def _confusions(judged: Judged) -> Iterator[tuple[str, "Figure"]]:
    """Yields the confusion of crystal systems, and of space groups where they are few."""
    tasks = judged.tasks
    systems = tasks.get(CRYSTAL_SYSTEM) or tasks.get(f"{CRYSTAL_SYSTEM}{IMPLIED}")
    for task, name in ((systems, CRYSTAL_SYSTEM), (tasks.get(SPACE_GROUP), SPACE_GROUP)):
        if task is None:
            continue
        predicted = task.answers.argmax(axis=1)
        counts = confusion(predicted, task.labels, len(task.target.class_names))
        occurring = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
        if occurring.sum() <= _MATRIX_CLASSES:
            names = np.array(task.target.class_names)[occurring].tolist()
            counts = counts[np.ix_(occurring, occurring)]
            yield name, charts.confusion_chart(counts, names, title(name))
