"""One run of the comparison: its data sets and trainings, in order, each made once."""

import dataclasses
import importlib.util
import json
import sys
import time

from benchmarks.recipes.budget import Pace, measure_pace
from benchmarks.recipes.children import ChildError, run
from benchmarks.recipes.data_sets import SPLITS, DataSets
from benchmarks.recipes.recipe_list import (
    LEAVE_OUT,
    OURS,
    PEERS,
    Recipe,
    all_settings,
    find_recipe,
    leave_out,
)
from benchmarks.recipes.trials import Trial, finish, is_finished

from cbed_tf.durable import write_atomically
from cbed_tf.errors import CbedError


@dataclasses.dataclass(frozen=True)
class Classical:
    """A method of `classical.py`."""

    name: str
    title: str


CLASSICAL = {
    "forest": Classical("forest", "random forest"),
    "ridge": Classical("ridge", "ridge, 200 components"),
}
Method = Recipe | Classical
_COMPARED_BY = "space_group"


def methods_of(only, is_leave_out):
    """Returns the recipes and classical methods to compare, the reference first.

    Args:
      only: Names; the usual ones by default.
      is_leave_out: Whether they are names of ingredients of our recipe.

    Raises:
      CbedError: One does not exist, or does not answer what all are compared by.
    """
    if is_leave_out:
        unknown = set(only or ()) - LEAVE_OUT.keys()
        if unknown:
            raise CbedError(f"there is no {', '.join(unknown)} among {', '.join(LEAVE_OUT)}")
        return leave_out(find_recipe(OURS), only)
    names = only or (OURS, *PEERS, *CLASSICAL)
    return [CLASSICAL[name] if name in CLASSICAL else find_comparable(name) for name in names]


def find_comparable(name):
    recipe = find_recipe(name)
    targets = all_settings(recipe)["targets"]
    if _COMPARED_BY not in targets.split(","):
        raise CbedError(
            f"{recipe.flagfile} has --targets={targets}, and {_COMPARED_BY} is what is compared"
        )
    return recipe


class Comparison:
    """A run.

    Args:
      options: The command's.
      methods: From `methods_of`.

    Attributes:
      failed: Methods that are left out, with the reason, by name.
    """

    def __init__(self, options, methods):
        self.options, self.methods = options, methods
        self.scratch = options.scratch.absolute()
        self.trials_dir = self.scratch / ("leave-out" if options.leave_out else "trials")
        self.data_sets = DataSets(options.archive.absolute(), self.scratch, say)
        self.failed = {}

    def run(self):
        """Does everything that is not done yet."""
        self.data_sets.make(self.options.splits)
        self.leave_out_missing()
        steps = self.steps()
        trainings = [step for step in steps if isinstance(step[0], Recipe)]
        left = sum(not self.is_done(*step) for step in trainings)
        say(f"{left} of {len(trainings)} trainings are to be done{self.duration(left)}")
        for number, (method, split, seed) in enumerate(steps, 1):
            title = f"{number} of {len(steps)}: {method.title}, {split}, seed {seed}"
            if method.name not in self.failed and not self.is_done(method, split, seed):
                self.attempt(title, method, split, seed)

    def steps(self):
        """Returns all (method, split, seed), a seed of everything before the next one."""
        return [
            (method, split, seed)
            for seed in range(self.options.seeds)
            for split in self.options.splits
            for method in self.methods
        ]

    def leave_out_missing(self):
        """Drops the classical methods where scikit-learn is not installed."""
        if importlib.util.find_spec("sklearn") is None:
            for method in self.methods:
                if isinstance(method, Classical):
                    self.failed[method.name] = "not measured, scikit-learn is not installed"
                    say(f"{method.title}: {self.failed[method.name]}")

    def duration(self, trainings):
        if self.options.epochs or not trainings:
            return ""
        minutes = trainings * self.options.minutes
        long = f"{minutes / 60:.1f} hours" if minutes > 120 else f"{minutes:.0f} minutes"
        return f": about {long}, and more for timing and judging"

    def attempt(self, title, method, split, seed):
        try:
            if isinstance(method, Classical):
                say(f"{title}: fitting")
                self.fit(method, split, seed)
            else:
                finish(
                    self.trial(method, split, seed),
                    lambda: self.options.epochs or self.timed_epochs(title, method, split),
                    lambda line: say(f"{title}: {line}"),
                )
        except ChildError as error:
            # A mean over fewer seeds is no comparison.
            self.failed[method.name] = str(error)
            say(f"{title}: FAILED, left out from here on: {error}")

    def is_done(self, method, split, seed):
        if isinstance(method, Classical):
            return self.answers(method, split, seed).exists()
        return is_finished(self.trial(method, split, seed))

    def answers(self, method, split, seed):
        """Returns the file of a method's answers."""
        if isinstance(method, Classical):
            return self.scratch / "fitted" / f"{split}-{method.name}-{seed}.npz"
        return self.trial(method, split, seed).answers(self.options.checkpoint)

    def trial(self, recipe, split, seed):
        epochs, folder = self.options.epochs, self.trials_dir / f"{split}-{recipe.name}-{seed}"
        budget = f"{epochs} epochs" if epochs else f"{self.options.minutes:g} minutes"
        return Trial(recipe, seed, budget, self.data_sets.path(split), SPLITS[split], folder)

    def timed_epochs(self, title, recipe, split):
        """Returns how many epochs fill the minutes; the recipe is timed once on each data set."""
        path = self.trials_dir / f"{split}-{recipe.name}-pace.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        if known.get("settings") != recipe.settings():
            say(f"{title}: timing")
            path.parent.mkdir(exist_ok=True)
            pace = self.measure_pace(recipe, split, path.with_suffix(""))
            known = {"settings": recipe.settings(), "pace": dataclasses.asdict(pace)}
            write_atomically(path, (json.dumps(known, indent=1) + "\n").encode())
        return Pace(**known["pace"]).epochs(self.options.minutes)

    def measure_pace(self, recipe, split, run_dir):
        words = ["-m", "cbed_tf", "train", *recipe.words()]
        words.append(f"--data_dir={self.data_sets.path(split)}")
        log, options = run_dir.with_suffix(".log"), self.options
        return measure_pace(words, run_dir, log, options.minutes, options.timing_seconds)

    def fit(self, method, split, seed):
        path = self.answers(method, split, seed)
        path.parent.mkdir(exist_ok=True)
        words = [str(self.data_sets.path(split)), f"--method={method.name}", f"--seed={seed}"]
        words += [f"--split={SPLITS[split]}", f"--answers={path}"]
        run(["-m", "benchmarks.recipes.classical", *words], path.with_suffix(".log"))


def say(line):
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
