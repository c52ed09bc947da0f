"""Fits two classical methods on a data set of `cbed convert` and scores them like our models.

    python tests/benchmarks/recipes/classical.py DATA_DIR [--split=dev] [--seed=0]

Both see the fourth roots of all views, averaged over square blocks to about 32 x 32 pixels, and
learn the space group: a random forest of 500 trees, and ridge regression on 200 principal
components, its penalty chosen by cross-validation over the materials of the training split. Prints
a Markdown table with 95 % intervals over the materials, and the seconds that fitting took.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The repository first: tests/ has folders of the same names as it.
sys.path[:0] = [str(Path(__file__).parents[k]) for k in (3, 2)]

from benchmarks.peers.results import as_markdown  # noqa: E402
from benchmarks.recipes.answers_file import save_answers  # noqa: E402
from benchmarks.recipes.report import figure  # noqa: E402
from benchmarks.recipes.results import SCORES, judge  # noqa: E402

from cbed_tf.errors import CbedError  # noqa: E402
from models.evaluation.tasks import Task, implied_tasks  # noqa: E402
from models.networks.probabilities import SPACE_GROUP  # noqa: E402
from pipelines import TARGETS, load_dataset  # noqa: E402
from pipelines.reading.remote import load_index, load_manifest  # noqa: E402

EXTENT = 32
TREES = 500
COMPONENTS = 200
PENALTIES = np.logspace(-3, 4, 15)
FOLDS = 5
_BATCH_SIZE = 32


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_dir", type=Path, help="data set of cbed convert")
    parser.add_argument("--split", default="dev", help="that is judged; train is learned from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", choices=METHODS, help="one alone")
    parser.add_argument("--answers", type=Path, help="keep the answers of --method in this file")
    options = parser.parse_args(argv)
    if options.answers and not options.method:
        parser.error("--answers is for one --method")
    names = [options.method] if options.method else list(METHODS)
    try:
        train, judged = (read_samples(options.data_dir, name) for name in ("train", options.split))
        found = {name: answer(name, train, judged, options.seed) for name in names}
        if options.answers:
            save_answers(options.answers, *found[options.method])
        print(table(found, load_manifest(options.data_dir)))
    except CbedError as error:
        sys.exit(str(error))


def read_samples(data_dir, split):
    """Returns features (samples, numbers), labels and materials (samples,) of a split."""
    columns = load_index(data_dir, split, {SPACE_GROUP, "material"})
    # Unshuffled, so the samples come in the order of the index.
    batches = load_dataset(data_dir, split, _BATCH_SIZE, scaled=True)
    features = np.concatenate([shrink(images.numpy()) for images, _ in batches])
    labels = TARGETS[SPACE_GROUP].encode(columns[SPACE_GROUP])
    return features, labels, columns["material"]


def shrink(images):
    """Returns block means, flat: (batch, views, height, width) -> (batch, numbers)."""
    batch, views, height, width = images.shape
    size = max(1, min(height, width) // EXTENT)
    rows, columns = height // size, width // size
    cut = images[:, :, : rows * size, : columns * size]
    blocks = cut.reshape(batch, views, rows, size, columns, size)
    return blocks.mean(axis=(3, 5)).reshape(batch, -1)


def answer(method, train, judged, seed):
    """Fits a method; returns its tasks on the judged samples, and facts: the seconds it took."""
    start = time.perf_counter()
    classes, predict = METHODS[method](*train, seed)
    seconds = time.perf_counter() - start
    features, labels, materials = judged
    target = TARGETS[SPACE_GROUP]
    probabilities = np.zeros((len(labels), len(target.class_names)))
    probabilities[:, classes] = predict(features)
    groups = np.unique(materials, return_inverse=True)[1]
    task = Task(target, probabilities, labels, groups)
    # Only a forest's probabilities are worth adding up over the space groups of a crystal system.
    coarse = task if method == "forest" else Task(target, firsts(probabilities), labels, groups)
    return {SPACE_GROUP: task, **implied_tasks(coarse)}, {"fit_seconds": seconds}


def firsts(probabilities):
    """Returns 1 for the most probable class of each row, 0 for the others."""
    return np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]


def fit_forest(features, labels, materials, seed):
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(TREES, n_jobs=-1, random_state=seed).fit(features, labels)
    return forest.classes_, forest.predict_proba


def fit_ridge(features, labels, materials, seed):
    from sklearn.linear_model import RidgeClassifier

    penalty = choose_penalty(features, labels, materials, seed)
    components = fit_components(features, seed)
    ridge = RidgeClassifier(alpha=penalty).fit(components(features), labels)
    return ridge.classes_, lambda x: softmax(decisions(ridge, components(x)))


def choose_penalty(features, labels, materials, seed):
    """Returns the penalty with the best mean accuracy on materials that were not fitted."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(min(FOLDS, len(np.unique(materials))))
    scores = []
    for fitted, rest in folds.split(features, labels, materials):
        components = fit_components(features[fitted], seed)
        inside, outside = components(features[fitted]), components(features[rest])
        ridges = (RidgeClassifier(alpha=p).fit(inside, labels[fitted]) for p in PENALTIES)
        scores.append([np.mean(ridge.predict(outside) == labels[rest]) for ridge in ridges])
    return PENALTIES[np.mean(scores, axis=0).argmax()]


def fit_components(features, seed):
    """Returns a function that gives the principal components of other features."""
    from sklearn.decomposition import PCA

    return PCA(min(COMPONENTS, *features.shape), random_state=seed).fit(features).transform


def decisions(ridge, features):
    """Returns a number for each class, two of which scikit-learn has as one."""
    found = ridge.decision_function(features)
    return np.stack([-found, found], axis=1) if found.ndim == 1 else found


def softmax(decisions):
    """Returns what ranks like the decisions and can be averaged."""
    powers = np.exp(decisions - decisions.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


METHODS = {"forest": fit_forest, "ridge": fit_ridge}
TITLES = {"forest": "random forest", "ridge": "ridge"}


def table(found, manifest):
    judged = judge({name: {0: tasks} for name, (tasks, _) in found.items()}, manifest)
    rows = [["", *(title for title, _ in SCORES.values()), "fitted in"]]
    for name, (_, facts) in found.items():
        cells = [figure(judged["methods"][name]["scores"][score]) for score in SCORES]
        rows.append([TITLES[name], *cells, f"{facts['fit_seconds']:.1f} s"])
    return as_markdown(rows)


if __name__ == "__main__":
    main()
