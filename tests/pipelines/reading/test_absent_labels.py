"""Samples without some label: it is recognised, counted nowhere, and stays absent."""

import types

import numpy as np
import pytest
import tensorflow as tf

from pipelines import TARGETS
from pipelines.augmentation.geometry import RandomAffine
from pipelines.augmentation.samples import MixUp
from pipelines.labels import LabelMaker, balanced_weights, count_classes

MANIFEST = types.SimpleNamespace(
    split=lambda name: types.SimpleNamespace(samples=6, space_groups={0: 2, 1: 1, 2: 2, 230: 1})
)


@pytest.mark.parametrize("key", ["space_group", "crystal_system", "point_group"])
def test_no_space_group_is_no_class(key):
    target = TARGETS[key]
    column = np.array([230, 0, -1, 231, 1], np.int64)
    expected = [len(target.class_names) - 1, -1, -1, -1, 0]
    assert target.encode(column).tolist() == expected
    assert target.encode_tensor(tf.constant(column)).numpy().tolist() == expected


def test_no_formula_is_no_fractions():
    target = TARGETS["composition"]
    column = np.array([b"", b"Fe1"])
    found = target.encode(column)
    assert not found[0].any()
    assert found[1, 25] == 1
    np.testing.assert_array_equal(target.encode_tensor(tf.constant(column)), found)


def test_absent_classes_are_not_counted():
    counts = count_classes(TARGETS["space_group"], MANIFEST)
    assert {int(k) + 1: counts[k] for k in np.flatnonzero(counts)} == {1: 1, 2: 2, 230: 1}
    assert count_classes(TARGETS["crystal_system"], MANIFEST).tolist() == [3, 0, 0, 0, 0, 0, 1]
    weights = balanced_weights(TARGETS["crystal_system"], MANIFEST)
    np.testing.assert_allclose(weights, [4 / 2 / 3, 1, 1, 1, 1, 1, 4 / 2 / 1])


def test_they_have_a_weight_in_both_readers():
    targets = [TARGETS["crystal_system"]]
    maker = LabelMaker(targets, {"crystal_system": "balanced"}, MANIFEST)
    column = np.array([0, 1, 230])
    _, weights = maker.from_columns({"space_group": column})
    _, same = maker.from_tensors({"space_group": tf.constant(column)})
    assert np.isfinite(weights["crystal_system"]).all()
    np.testing.assert_array_equal(same["crystal_system"], weights["crystal_system"])


def test_a_mirror_finds_no_space_group_where_there_is_none():
    images = np.ones((3, 1, 8, 8), np.float32)
    labels = {"space_group": np.int32([-1, 151, 229])}
    _, mirrored = RandomAffine(0, mirror=1.0).augment((images, labels), (1, 2))
    assert mirrored["space_group"].numpy().tolist() == [-1, 153, 229]


def test_a_mixture_holds_the_shares_of_what_is_known():
    images = np.ones((8, 1, 8, 8), np.float32)
    labels = {"space_group": np.int32([-1, 5, 5, 5, 5, 5, 5, 5])}
    _, mixed = MixUp(0.5).augment((images, labels), (1, 2))
    shares = mixed["space_group"].numpy()
    assert not shares[:, :5].any()
    assert not shares[:, 6:].any()
    assert shares[0, 5] <= 0.5
    assert (shares.sum(axis=1) <= 1 + 1e-6).all()
    assert (shares[1:, 5] >= 0.5).all()
