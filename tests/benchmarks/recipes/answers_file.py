"""What a method has answered to a split, in one file: so that all methods are judged alike.

A method is anything that answers, trained or fitted; its answers become tasks of
`models.evaluation`, whose scores and intervals are those of `cbed evaluate`.
"""

import json
from pathlib import Path

import numpy as np

from cbed_tf.durable import write_columns
from models.evaluation.tasks import IMPLIED, Task
from pipelines.targets import TARGETS


def save_answers(path, tasks, facts):
    """Writes the file.

    Args:
      path: Ends in .npz.
      tasks: By name, as `models.evaluation.tasks.sample_tasks` has them.
      facts: What else is known, JSON-like.
    """
    columns = {"facts": np.array(json.dumps(facts))}
    for name, task in tasks.items():
        columns[f"{name}/answers"] = np.asarray(task.answers, np.float32)
        columns[f"{name}/labels"] = task.labels
        columns["groups"] = task.groups
    write_columns(Path(path), columns)


def load_answers(path):
    """Returns tasks and facts."""
    with np.load(path) as columns:
        names = [key.removesuffix("/answers") for key in columns if key.endswith("/answers")]
        tasks = {
            name: Task(
                TARGETS[name.removesuffix(IMPLIED)],
                columns[f"{name}/answers"],
                columns[f"{name}/labels"],
                columns["groups"],
            )
            for name in names
        }
        return tasks, json.loads(str(columns["facts"]))
