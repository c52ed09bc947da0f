import time

import numpy as np
import pytest

from models.evaluation import measures
from models.evaluation.bootstrap import Bootstrap, interval


def test_interval_of_a_share_is_that_of_the_binomial_distribution():
    """60 of 100 materials right: 0.6 with a deviation of sqrt(0.6 * 0.4 / 100) = 0.049."""
    hits = np.repeat([1.0, 0.0], [60, 40])
    (distribution,) = Bootstrap(4000).distributions({"x": mean(hits)}).values()
    assert distribution.mean() == pytest.approx(0.6, abs=0.003)
    assert distribution.std() == pytest.approx(0.049, rel=0.05)
    low, high = interval(distribution)
    assert (low, high) == pytest.approx((0.6 - 1.96 * 0.049, 0.6 + 1.96 * 0.049), abs=0.011)


def mean(values, groups=None):
    return measures.mean(values, np.arange(len(values)) if groups is None else groups)


def test_samples_of_a_material_are_drawn_together():
    """Ten samples of each of 40 materials, right or wrong together: as wide as for 40 samples."""
    hits = np.repeat([1.0, 0.0], [20, 20])
    together = mean(np.repeat(hits, 10), np.repeat(np.arange(40), 10))
    apart = mean(np.repeat(hits, 10))
    one = Bootstrap(1000).distributions({"a": together, "b": mean(hits)})
    np.testing.assert_allclose(one["a"], one["b"])
    other = Bootstrap(1000).distributions({"a": apart})
    assert one["a"].std() > 2.5 * other["a"].std()


def test_equal_seeds_draw_the_same_materials_for_any_scores():
    values = np.random.default_rng(0).random(30)
    first = Bootstrap(120, seed=5).distributions({"x": mean(values)})["x"]
    again = Bootstrap(120, seed=5).distributions({"y": mean(values + 1), "x": mean(values)})
    np.testing.assert_array_equal(first, again["x"])
    # So a difference of two runs that differ by 1 everywhere has no spread.
    assert interval(again["y"] - first) == pytest.approx((1, 1), abs=1e-5)
    assert not np.array_equal(first, Bootstrap(120, seed=6).distributions({"x": mean(values)})["x"])


def test_scores_of_fewer_materials_have_draws_of_their_own():
    values = np.random.default_rng(0).random(30)
    found = Bootstrap(120).distributions({"x": mean(values), "y": mean(values[:20])})
    for name, count in (("x", 30), ("y", 20)):
        (alone,) = Bootstrap(120).distributions({name: mean(values[:count])}).values()
        np.testing.assert_array_equal(found[name], alone)


def test_resamples_with_nothing_to_judge_do_not_count():
    assert interval(np.array([np.nan, 1.0, 1.0])) == (1, 1)
    assert interval(np.array([np.nan])) is None


def test_twenty_thousand_materials_take_seconds():
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 100, (2, 20_000))
    f1 = measures.macro_f1(predicted, labels, np.arange(20_000))
    start = time.monotonic()
    (distribution,) = Bootstrap(100).distributions({"f1": f1}).values()
    assert time.monotonic() - start < 10
    assert np.isfinite(distribution).all()
    assert distribution.std() > 0
