from types import SimpleNamespace

import numpy as np
import pytest

from cbed_tf.dataset.manifest import Split, Statistics
from models.evaluation.bootstrap import Bootstrap
from models.evaluation.comparison import add_comparison
from models.evaluation.scoring import SplitScores, put
from models.evaluation.tasks import Task
from pipelines import TARGETS

MANIFEST = SimpleNamespace(
    splits={"train": Split(3, 3, (), {62: 3})},
    statistics={"energy_keV": Statistics((110.0,), (10.0,))},
)
MATERIALS = np.array([0, 0, 1, 1, 2, 2])


def scores_of(right, energies=None):
    """Six samples of three materials, all of crystal system 6, some answered as 0."""
    answers = np.eye(7)[np.where(right, 6, 0)]
    tasks = {"crystal_system": Task(TARGETS["crystal_system"], answers, np.full(6, 6), MATERIALS)}
    if energies is not None:
        answers = np.array(energies, float)[:, None]
        labels = np.full((6, 1), 100, np.float32)
        tasks["energy_keV"] = Task(TARGETS["energy_keV"], answers, labels, MATERIALS)
    return SplitScores(tasks, MANIFEST)


def test_scores_of_samples_and_materials_with_intervals():
    """Material 0 is right twice, 1 once of two (a tie, which the first class wins), 2 never."""
    scored = scores_of([1, 1, 1, 0, 0, 0], energies=[90] * 6)
    document = scored.document(Bootstrap(500).distributions(scored.measures))
    top1 = document["crystal_system"]["top1"]
    assert (top1["model"], top1["baseline"]) == (0.5, 0)
    low, high = top1["interval"]
    assert 0 <= low < 0.5 < high <= 1
    joint = document["crystal_system"]["per_material"]["top1"]
    assert joint["model"] == pytest.approx(1 / 3)
    assert document["crystal_system"]["per_class"]["cubic"]["recall"] == 0.5
    assert document["energy_keV"]["mae"] == {"model": 10, "baseline": 10, "interval": [10, 10]}


def test_no_intervals_without_resamples():
    scored = scores_of([1, 1, 1, 0, 0, 0])
    assert scored.document({})["crystal_system"]["top1"] == {"model": 0.5, "baseline": 0}


def test_difference_of_runs_over_the_same_materials():
    """One run is right on materials 0 and 1, the other on 0 alone: the same draws for both."""
    runs = scores_of([1, 1, 1, 1, 0, 0], [95] * 6), scores_of([1, 1, 0, 0, 0, 0])
    bootstrap = Bootstrap(2000)
    distributions = tuple(bootstrap.distributions(run.measures) for run in runs)
    document = runs[0].document(distributions[0])
    add_comparison(document, tuple(run.measures for run in runs), distributions)
    top1 = document["crystal_system"]["top1"]
    assert top1["other"] == pytest.approx(1 / 3)
    assert top1["difference"] == pytest.approx(1 / 3)
    # The difference is the share of material 1 among three: 0, 1/3, 2/3 or rarely 1, never below 0,
    # as it would be if the runs were drawn apart.
    apart = distributions[0]["crystal_system", "top1"] - np.roll(
        distributions[1]["crystal_system", "top1"], 1
    )
    assert apart.min() < 0
    assert top1["difference_interval"] == pytest.approx([0, 1], abs=1e-6)
    together = (
        distributions[0]["crystal_system", "top1"] - distributions[1]["crystal_system", "top1"]
    )
    assert set(np.round(together * 3, 4)) == {0, 1, 2, 3}
    assert "other" not in document["energy_keV"]["mae"]


def test_paths_of_documents():
    documents = {"a": {"kind": "x"}}
    put(documents, ("a", "b", "c"), {"model": 1})
    put(documents, ("a", "b", "c"), {"other": 2})
    assert documents == {"a": {"kind": "x", "b": {"c": {"model": 1, "other": 2}}}}
