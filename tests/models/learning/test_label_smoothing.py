import numpy as np

from models.learning.label_smoothing import smoothing_table


def row_of(number, counts_of, share=0.1):
    counts = np.zeros(230)
    for space_group, count in counts_of.items():
        counts[space_group - 1] = count
    row = smoothing_table(share, counts)[number - 1]
    return {int(k) + 1: float(row[k]) for k in np.flatnonzero(row)}


def test_point_group_before_crystal_system_before_the_rest():
    """14 and 11 are 2/m, 4 and 7 monoclinic of other point groups, 2, 62 and 225 the rest."""
    counts = {14: 9, 11: 1, 4: 5, 7: 2, 2: 3, 62: 8, 225: 1}
    expected = {14: 0.9, 11: 0.05, 4: 0.015, 7: 0.015, 2: 0.02 / 3, 62: 0.02 / 3, 225: 0.02 / 3}
    found = row_of(14, counts)
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[k] for k in expected], list(expected.values()), rtol=1e-5)


def test_what_an_empty_level_would_get_goes_to_the_others():
    """2 has no other of its point group or crystal system here; 14 keeps two levels of three."""
    assert row_of(2, {2: 1, 14: 1}) == {2: np.float32(0.9), 14: np.float32(0.1)}
    found = row_of(14, {14: 1, 11: 1, 2: 1})
    np.testing.assert_allclose([found[11], found[2]], [0.1 * 5 / 7, 0.1 * 2 / 7], rtol=1e-5)


def test_alone_a_class_keeps_everything():
    assert row_of(14, {14: 7}) == {14: 1.0}


def test_every_row_adds_up_and_absent_classes_get_nothing():
    counts = np.zeros(230)
    counts[10:100] = 3
    table = smoothing_table(0.2, counts)
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-5)
    assert not table[:100, 100:].any()
    np.testing.assert_allclose(np.diag(table), 0.8, rtol=1e-6)
