"""Encoders and decoders against gemmi and hand-worked values, on numpy and in a graph."""

import gemmi
import numpy as np
import pytest
import tensorflow as tf

from cbed_tf.errors import CbedError
from pipelines.targets import TARGETS, get_targets, space_groups_of_class

COLUMNS = {
    "space_group": np.array([1, 62, 225, 230, 146]),
    "formula": np.array([b"Al2 O3", b"Fe1", b"H2 O1", b"K12 Fe4 O16", b"Si1"]),
    "energy_keV": np.float32([100, 110, 120, 130, 190]),
    "d_hkls_angstrom": np.arange(15, dtype=np.float32).reshape(5, 3),
    "abc_angstrom": np.arange(15, dtype=np.float32).reshape(5, 3) + 3,
    "angles_degree": np.full((5, 3), 90, np.float32),
}


def test_all_230_space_groups_are_classes_in_their_order():
    target = TARGETS["space_group"]

    assert target.encode(np.arange(1, 231)).tolist() == list(range(230))
    assert target.decode(np.eye(230)) == [str(number) for number in range(1, 231)]


@pytest.mark.parametrize(
    ("key", "name_of"),
    [
        ("crystal_system", lambda group: group.crystal_system_str()),
        ("point_group", lambda group: group.point_group_hm()),
    ],
)
def test_derived_classes_agree_with_gemmi(key, name_of):
    target = TARGETS[key]
    labels = target.encode(np.arange(1, 231))

    expected = [name_of(gemmi.find_spacegroup_by_number(n)) for n in range(1, 231)]
    assert [target.class_names[label] for label in labels] == expected
    np.testing.assert_array_equal(space_groups_of_class(key), labels)
    assert set(labels) == set(range(len(target.class_names)))


def test_quantities_stay_in_their_units():
    assert TARGETS["energy_keV"].encode(COLUMNS["energy_keV"]).tolist() == [
        [100], [110], [120], [130], [190],
    ]  # fmt: skip
    assert TARGETS["abc_angstrom"].encode(COLUMNS["abc_angstrom"])[1].tolist() == [6, 7, 8]
    assert TARGETS["abc_angstrom"].unit == "angstrom"
    assert TARGETS["d_hkls_angstrom"].size(5) == 5
    assert TARGETS["d_hkls_angstrom"].component_names(2) == ("1", "2")
    assert TARGETS["angles_degree"].component_names(3) == ("alpha", "beta", "gamma")


def test_composition_is_atomic_fractions():
    target = TARGETS["composition"]
    label = target.encode(COLUMNS["formula"])[0]

    assert label[12] == pytest.approx(0.4)  # Al is element 13
    assert label[7] == pytest.approx(0.6)
    assert target.decode(target.encode(COLUMNS["formula"])) == [
        "O 0.600 Al 0.400",
        "Fe 1.000",
        "H 0.667 O 0.333",
        "O 0.500 K 0.375 Fe 0.125",
        "Si 1.000",
    ]


@pytest.mark.parametrize("key", TARGETS)
def test_numpy_and_tensor_encoders_are_equal(key):
    target = TARGETS[key]
    column = COLUMNS[target.source]
    expected = target.encode(column)

    eager = target.encode_tensor(tf.constant(column))
    dataset = tf.data.Dataset.from_tensor_slices(column).batch(2).map(target.encode_tensor)
    in_graph = np.concatenate([batch.numpy() for batch in dataset])

    for found in (eager.numpy(), in_graph):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    if expected.ndim > 1:
        assert expected.shape[1] == target.size(3) == dataset.element_spec.shape[1]


@pytest.mark.parametrize("keys", [[], ["space_grop"], ["energy_keV", "energy_keV"]])
def test_wrong_keys_are_refused_with_the_right_ones(keys):
    with pytest.raises(CbedError, match="should be some of space_group, crystal_system"):
        get_targets(keys)
