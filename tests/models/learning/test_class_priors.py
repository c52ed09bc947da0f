import types

import numpy as np

from models.learning.class_priors import logit_adjustment, seen_counts
from pipelines import TARGETS

MANIFEST = types.SimpleNamespace(
    split=lambda name: types.SimpleNamespace(space_groups={1: 1, 2: 3, 14: 16})
)


def test_adjustment_is_the_logarithm_of_the_share():
    found = logit_adjustment(np.array([1.0, 3.0]), strength=2.0)
    np.testing.assert_allclose(found, 2 * np.log([0.25, 0.75]), rtol=1e-6)


def test_a_class_that_is_never_seen_is_not_excused():
    found = logit_adjustment(np.array([1.0, 0.0, 3.0]), strength=1.0)
    np.testing.assert_allclose(np.exp(found), [0.25, 0.75, 0.75], rtol=1e-6)


def test_balanced_drawing_changes_what_is_seen():
    """The roots of 1, 3 and 16 at a balance of 1/2; the first two are triclinic."""
    space_groups = seen_counts(TARGETS["space_group"], MANIFEST, 0.5)
    np.testing.assert_allclose(space_groups[[0, 1, 13]], [1, np.sqrt(3), 4])
    assert np.count_nonzero(space_groups) == 3
    systems = seen_counts(TARGETS["crystal_system"], MANIFEST, 0.5)
    np.testing.assert_allclose(systems, [1 + np.sqrt(3), 4, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(seen_counts(TARGETS["crystal_system"], MANIFEST)[:2], [4, 16])
