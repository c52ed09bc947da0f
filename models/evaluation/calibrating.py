"""Which temperatures a split is judged under, and what they do to its probabilities."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from models.evaluation.reliability import Reliability, cross_fitted, reliability
from models.evaluation.tasks import Task, implied_tasks
from models.networks.probabilities import COARSER, SPACE_GROUP
from models.prediction.calibration import apply_temperature, fit_temperature
from pipelines.targets import CLASSES

DEV = "dev"


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A task's probabilities before and after a temperature.

    Attributes:
      before: As the model gives them.
      after: Tempered ones; None where there is no temperature.
      temperatures: That of the split, or of its two halves where each is judged under the
        other's; empty where there is none.
    """

    before: Reliability
    after: Reliability | None
    temperatures: tuple[float, ...]

    def as_document(self) -> dict[str, Any]:
        """Returns this as a JSON-like dict."""
        document = {"before": self.before.as_document()}
        if self.after is not None:
            document["after"] = self.after.as_document()
            document["temperatures"] = list(self.temperatures)
        return document


def fit_temperatures(tasks: Mapping[str, Task]) -> dict[str, float]:
    """Returns the temperature of each target with classes, from answers on the dev split.

    Crystal systems and point groups have none beside space groups, whose temperature they follow.

    Args:
      tasks: From `tasks.sample_tasks`.
    """
    return {
        key: fit_temperature(task.answers, task.labels) for key, task in _tempered(tasks).items()
    }


def calibrate(
    tasks: Mapping[str, Task], temperatures: Mapping[str, float], is_dev: bool
) -> dict[str, Calibrated]:
    """Judges the probabilities of each target with classes, and of what space groups imply.

    Args:
      tasks: From `tasks.sample_tasks`.
      temperatures: By target key; may be empty.
      is_dev: Whether they were fitted on this very split; it is then judged under temperatures of
        its other half.
    """
    judged = {}
    for key, task in _tempered(tasks).items():
        answers, used = task.answers, ()
        if is_dev and task.groups.max() > 0:
            answers, used = cross_fitted(task)
        elif not is_dev and key in temperatures:
            answers, used = apply_temperature(task.answers, temperatures[key]), (temperatures[key],)
        pairs = {key: (task, dataclasses.replace(task, answers=answers))}
        if key == SPACE_GROUP:
            implied = implied_tasks(pairs[key][1])
            pairs |= {name: (tasks[name], after) for name, after in implied.items()}
        for name, (before, after) in pairs.items():
            judged[name] = Calibrated(
                _reliability(before), _reliability(after) if used else None, tuple(used)
            )
    return judged


def _tempered(tasks: Mapping[str, Task]) -> dict[str, Task]:
    followers = COARSER if SPACE_GROUP in tasks else ()
    return {
        key: task
        for key, task in tasks.items()
        if task.target.kind == CLASSES and key == task.target.key and key not in followers
    }


def _reliability(task: Task) -> Reliability:
    return reliability(task.answers, task.labels, task.groups)
