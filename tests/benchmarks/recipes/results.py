"""What the answers of all methods add up to: means over seeds, intervals, differences.

Intervals are over the materials that are judged, not over trainings: every draw of materials is
the same for all methods and seeds, and a method's score for it is the mean over its seeds. So a
difference of two methods is taken draw by draw.
"""

import functools
import operator

import numpy as np

from cbed_tf.errors import CbedError
from models.evaluation.bootstrap import Bootstrap, interval
from models.evaluation.scoring import SplitScores
from models.evaluation.tasks import IMPLIED
from models.networks.probabilities import SPACE_GROUP
from pipelines.targets import CLASSES, FRACTIONS, QUANTITY

# Where each score of the space group stands, by its name in results.json.
SCORES = {
    "top1": (SPACE_GROUP, "top1"),
    "macro_f1": (SPACE_GROUP, "macro_f1"),
    "crystal_system": (f"crystal_system{IMPLIED}", "top1"),
    "top5": (SPACE_GROUP, "top5"),
}
_ERRORS = {CLASSES: (), QUANTITY: ("mae",), FRACTIONS: ("element_f1", "mae")}


def judge(tasks, manifest, reference=None, resamples=1000):
    """Returns scores, errors and differences as JSON-like dicts.

    Args:
      tasks: {method: {seed: tasks of a split}}.
      manifest: Of the data set, whose training split the baselines know.
      reference: The method that the others are compared with; none by default.
      resamples: Draws of materials for the intervals.

    Raises:
      CbedError: The methods were not asked about the same samples.
    """
    check_same_samples(tasks)
    scored = {
        (method, seed): SplitScores(answered, manifest)
        for method, by_seed in tasks.items()
        for seed, answered in by_seed.items()
    }
    paths = {key: paths_of(tasks[key[0]][key[1]]) for key in scored}
    measures = {
        (*key, name): found.measures[path]
        for key, found in scored.items()
        for name, path in paths[key].items()
    }
    draws = Bootstrap(resamples).distributions(measures)
    documents = {key: found.document({}) for key, found in scored.items()}
    methods = {
        method: method_document(method, by_seed, paths, measures, draws, documents)
        for method, by_seed in tasks.items()
    }
    if reference in methods:
        add_differences(methods, reference, tasks, draws)
    groups = first_of(first_of(tasks))[SPACE_GROUP].groups
    return {"samples": len(groups), "materials": int(groups.max()) + 1, "methods": methods}


def first_of(mapping):
    return next(iter(mapping.values()))


def check_same_samples(tasks):
    labels = [
        answered[SPACE_GROUP].labels for by_seed in tasks.values() for answered in by_seed.values()
    ]
    if not all(np.array_equal(labels[0], other) for other in labels):
        raise CbedError("the answers are not to the same samples: start in an empty folder")


def paths_of(tasks):
    """Returns where the scores lie in a document, by their names here."""
    paths = dict(SCORES)
    for key, task in tasks.items():
        paths |= {f"{key} {error}": (key, error) for error in _ERRORS[task.target.kind]}
    return paths


def method_document(method, by_seed, paths, measures, draws, documents):
    scores, first = {}, next(iter(by_seed))
    document = documents[method, first]
    for name, path in paths[method, first].items():
        values = [measures[method, seed, name].value() for seed in by_seed]
        scores[name] = {
            "mean": float(np.mean(values)),
            "least": min(values),
            "most": max(values),
            "by_seed": dict(zip(map(str, by_seed), values, strict=True)),
            "interval": interval(mean_draws(method, name, by_seed, draws)),
            "baseline": functools.reduce(operator.getitem, path, document)["baseline"],
        }
    return {"seeds": list(by_seed), "scores": scores}


def add_differences(methods, reference, tasks, draws):
    """Adds by how much the reference is ahead of each other method."""
    ours = methods[reference]["scores"]
    for method, document in methods.items():
        if method == reference:
            continue
        document["behind"] = {
            name: {
                "mean": ours[name]["mean"] - score["mean"],
                "interval": interval(
                    mean_draws(reference, name, tasks[reference], draws)
                    - mean_draws(method, name, tasks[method], draws)
                ),
            }
            for name, score in document["scores"].items()
            if name in ours
        }


def mean_draws(method, name, seeds, draws):
    """Returns a score's mean over the seeds for each draw of materials."""
    return np.mean([draws[method, seed, name] for seed in seeds], axis=0)
