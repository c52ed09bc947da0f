"""What a comparison has found so far, as one document, from which tables and chart follow."""

import importlib.metadata
import os
import platform

from benchmarks.recipes.answers_file import load_answers
from benchmarks.recipes.comparison import Classical
from benchmarks.recipes.results import judge
from benchmarks.recipes.trials import costs

from cbed_tf.dataset.manifest import load_manifest

_PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")


def findings(comparison):
    """Judges all that is finished.

    Returns:
      {'splits': {split: as `results.judge` says}, 'costs': {method: {split: [a dict a seed]}}, and
      what was asked for}.
    """
    options, splits, spent, unfinished = comparison.options, {}, {}, {}
    for split in options.splits:
        answered, facts, missing = load_all(comparison, split)
        for name, done in missing.items():
            unfinished.setdefault(name, []).append(done)
        if answered:
            manifest = load_manifest(comparison.data_sets.path(split))
            reference = comparison.methods[0].name
            judged = judge(answered, manifest, reference, options.resamples)
            splits[split] = {"train_samples": manifest.split("train").samples, **judged}
        for name, found in facts.items():
            spent.setdefault(name, {})[split] = found
    return {
        "methods": {method.name: method.title for method in comparison.methods},
        "kinds": {method.name: type(method).__name__ for method in comparison.methods},
        "leave_out": options.leave_out,
        "minutes": None if options.epochs else options.minutes,
        "seeds": options.seeds,
        "checkpoint": options.checkpoint,
        "machine": machine(),
        "splits": splits,
        "costs": spent,
        "failed": {
            **{name: f"not finished, {', '.join(done)}" for name, done in unfinished.items()},
            **comparison.failed,
        },
    }


def load_all(comparison, split):
    """Returns {method: {seed: tasks}} and {method: [costs by seed]} of methods that are finished.

    And of the others, which are no comparison, how many seeds there are: {method: text}.
    """
    answered, facts, missing = {}, {}, {}
    seeds = range(comparison.options.seeds)
    for method in comparison.methods:
        done = sum(comparison.is_done(method, split, seed) for seed in seeds)
        if done < len(seeds):
            missing[method.name] = f"{done} of {len(seeds)} seeds on {split}"
            continue
        for seed in seeds:
            tasks, known = load_answers(comparison.answers(method, split, seed))
            answered.setdefault(method.name, {})[seed] = tasks
            if not isinstance(method, Classical):
                known = costs(comparison.trial(method, split, seed), known)
            facts.setdefault(method.name, []).append(known)
    return answered, facts, missing


def machine():
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    cores = len(os.sched_getaffinity(0))
    return {"cores": cores, "python": platform.python_version(), "versions": versions}
