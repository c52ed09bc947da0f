"""One training of the comparison, from its command to its answers, and what it cost.

Everything of a trial lies in one folder and is made once: a call after an interruption goes on with
what is missing, an unfinished training too.
"""

import dataclasses
import json
import math
import time
from pathlib import Path

from benchmarks.recipes.budget import count_epochs, read_log
from benchmarks.recipes.children import Child, check, run
from benchmarks.recipes.recipe_list import Recipe

from cbed_tf.dataset.manifest import load_manifest
from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError

CHECKPOINTS = ("last", "best")
_SECONDS_BETWEEN_LINES = 60.0


@dataclasses.dataclass(frozen=True)
class Trial:
    """A training and its judgement.

    Attributes:
      recipe: How to train.
      seed: Of the training.
      budget: How long it trains, '15 minutes' or '3 epochs'.
      data_dir: The data set.
      split: Of it, that is judged; `train` is learned from.
      folder: Where all that belongs to the trial lies.
    """

    recipe: Recipe
    seed: int
    budget: str
    data_dir: Path
    split: str
    folder: Path

    @property
    def run_dir(self):
        return self.folder / "run"

    @property
    def log(self):
        return self.folder / "log"

    def answers(self, checkpoint):
        return answers_path(self.folder, checkpoint)

    def settings(self):
        """Returns what the trial must have been made with to count."""
        return {**self.recipe.settings(), "seed": str(self.seed), "budget": self.budget}

    def words(self, epochs):
        words = ["-m", "cbed_tf", "train", *self.recipe.words(), f"--data_dir={self.data_dir}"]
        return [*words, f"--run_dir={self.run_dir}", f"--seed={self.seed}", f"--epochs={epochs}"]


def answers_path(folder, checkpoint):
    return folder / f"answers-{checkpoint}.npz"


def finish(trial, choose_epochs, say):
    """Does what is missing of a trial.

    Args:
      trial: The trial.
      choose_epochs: Returns how many fill the budget; asked once.
      say: Called with a line about its progress.

    Raises:
      ChildError: A step failed.
      CbedError: What is there was made with other settings.
    """
    record = load_record(trial)
    if record is None:
        record = {"settings": trial.settings(), "epochs": choose_epochs(), "attempts": []}
        trial.folder.mkdir(parents=True, exist_ok=True)
        save_record(trial, record)
    adopt(trial, record)
    if not record.get("trained"):
        train(trial, record, say)
    if not has_answers(trial):
        say("asking")
        ask(trial)


def is_finished(trial):
    """Returns whether nothing is missing.

    Raises:
      CbedError: What is there was made with other settings.
    """
    return load_record(trial) is not None and has_answers(trial)


def has_answers(trial):
    return all(trial.answers(checkpoint).exists() for checkpoint in CHECKPOINTS)


def adopt(trial, record):
    """Notes a training that came to its end after what had started it was killed."""
    path = trial.run_dir / "run.json"
    if path.exists() and not record.get("trained"):
        run = json.loads(path.read_text())
        attempt = {"seconds": run["seconds"], "peak_bytes": run["peak_memory_bytes"]}
        record.update(attempts=[attempt], trained=True)
        save_record(trial, record)


def train(trial, record, say):
    """Trains, or goes on training, and notes what it cost, however it ends."""

    def watch():
        nonlocal last_line
        if time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            say(f"{count_epochs(trial.run_dir)} of {epochs} epochs")

    epochs, last_line = record["epochs"], time.monotonic()
    say(f"training, {epochs} epochs")
    child = Child(trial.words(epochs), trial.log)
    try:
        child.wait(watch=watch)
    finally:
        child.end()
        record["attempts"].append({"seconds": child.seconds, "peak_bytes": child.peak_bytes})
        record["trained"] = child.code == 0
        save_record(trial, record)
    check(child)


def ask(trial):
    """Has `cbed evaluate` write its report, and keeps the model's answers."""
    words = [f"--run_dir={trial.run_dir}", f"--data_dir={trial.data_dir}"]
    words += [f"--split={trial.split}", f"--checkpoint={CHECKPOINTS[0]}"]
    run(["-m", "cbed_tf", "evaluate", *words], trial.log)
    words = [trial.run_dir, trial.data_dir, trial.split, trial.folder]
    run(["-m", "benchmarks.recipes.asking", *map(str, words)], trial.log)


def load_record(trial):
    """Returns what is noted of a trial, None where nothing is."""
    path = trial.folder / "trial.json"
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    there, here = record["settings"], trial.settings()
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if names:
        raise CbedError(
            f"{trial.folder} was made with other settings: "
            + ", ".join(f"{name} {there.get(name)}, now {here.get(name)}" for name in names)
            + "; remove it, or choose another scratch folder"
        )
    return record


def save_record(trial, record):
    write_atomically(trial.folder / "trial.json", (json.dumps(record, indent=1) + "\n").encode())


def costs(trial, facts):
    """Returns what a finished trial cost.

    Args:
      trial: Finished.
      facts: Of its answers.
    """
    attempts, rows = load_record(trial)["attempts"], read_log(trial.run_dir)
    seconds = sum(attempt["seconds"] for attempt in attempts)
    # More than the attempts have, if one of them could not be noted.
    learned = sum(float(row["seconds"]) for row in rows)
    return {
        **facts,
        **pace(rows, steps_of_epoch(trial)),
        "minutes": max(seconds, learned) / 60,
        "attempts": len(attempts),
        "peak_bytes": max(attempt["peak_bytes"] for attempt in attempts),
        "epochs": len(rows),
    }


def steps_of_epoch(trial):
    lines = (trial.run_dir / "run.flags").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if line.startswith("--"))
    samples = load_manifest(trial.data_dir).split("train").samples
    return math.ceil(samples / int(settings["--batch_size"]))


def pace(rows, steps):
    """Returns seconds a step and the share of waiting, of all epochs but the first.

    The first one traces and plans; where there is no other, it counts.
    """
    rows = rows[1:] or rows
    seconds = [float(row["seconds"]) for row in rows]
    waited = [float(row["waiting_share"]) * float(row["seconds"]) for row in rows]
    return {
        "seconds_per_step": sum(seconds) / (steps * len(rows)),
        "waiting_share": sum(waited) / sum(seconds),
    }
