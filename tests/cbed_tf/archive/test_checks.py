"""Each check refuses what it is for, naming the value, and lets sound samples through."""

import numpy as np
import pytest

from cbed_tf import schema
from cbed_tf.archive import checks
from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack
from cbed_tf.errors import SampleError


def columns_of(samples, views=3):
    rows = [{"sample_id": f"train/a/{k}", **sample} for k, sample in enumerate(samples)]
    return {
        field.name: schema.as_column(field, [row[field.name] for row in rows], views)
        for field in schema.FIELDS
    }


@pytest.mark.parametrize("views", [1, 3, 5])
def test_sound_attributes_pass(views):
    for number in range(20):
        checks.check_attributes(synthetic_attributes(number, views), views)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("space_group", 0, "space_group is 0, should be 1 to 230"),
        ("space_group", 231, "space_group is 231"),
        ("material", "", "material is empty"),
        ("formula", "Qq2", "unknown element 'Qq'"),
        ("material", "mp-\0-1", r"material is 'mp-\\x00-1', should be printable text"),
        ("formula", "O2" * 501, "formula has 1002 characters, should have 1000 at most"),
        ("energy_keV", 0.0, "energy_keV is 0., should be above 0"),
        ("energy_keV", 200_000.0, "energy_keV is 200000, should be 0.1 to 10000"),
        ("energy_keV", np.nan, "energy_keV is nan, should be finite"),
        ("abc_angstrom", np.array([1.0, 2.0]), r"abc_angstrom has shape \(2,\), should be \(3,\)"),
        ("abc_angstrom", np.array([4.0, -4.0, 4.0]), "should be above 0"),
        ("angles_degree", np.array([90.0, np.inf, 90.0]), "should be finite"),
        ("angles_degree", np.array([170.0, 170.0, 170.0]), "no cell has lengths"),
        ("z_dirs", np.zeros((3, 3), int), r"a zone axis \[0 0 0\]"),
        ("z_dirs", np.full((3, 3), 2**40), "z_dirs is .*should be small integers"),
        ("z_dirs", np.eye(2, 3, dtype=int), r"z_dirs has shape \(2, 3\), should be \(3, 3\)"),
        ("y_dirs", np.full((3, 3), np.nan), "y_dirs is .*should be finite"),
        ("y_dirs", np.full((3, 3), 1e300), "y_dirs is .*should be finite in float32"),
        (
            "d_hkls_angstrom",
            np.array([1.0, 2.0, 3.0]),
            "d_hkls_angstrom is .* cell and z_dirs give",
        ),
        ("semi_angles_rad", np.array([0.01, 0.01, 0.01]), "semi_angles_rad is .* lambda"),
    ],
)
def test_bad_attributes_are_refused(name, value, message):
    with pytest.raises(SampleError, match=message):
        checks.check_attributes({**synthetic_attributes(3), name: value}, 3)


def test_transposed_directions_contradict_the_physics():
    sample = synthetic_attributes(3)
    sample["z_dirs"] = sample["z_dirs"].T

    with pytest.raises(SampleError, match="d_hkls_angstrom"):
        checks.check_attributes(sample, 3)


def test_a_deviation_within_the_tolerance_passes_and_beyond_it_does_not():
    sample = synthetic_attributes(3)
    exact = sample["semi_angles_rad"]
    checks.check_attributes({**sample, "semi_angles_rad": exact * (1 + 0.9e-4)}, 3)

    with pytest.raises(SampleError, match="semi_angles_rad"):
        checks.check_attributes({**sample, "semi_angles_rad": exact * (1 + 1.1e-4)}, 3)


def test_semi_angle_times_d_is_the_published_constant():
    assert pytest.approx(0.009254, abs=5e-7) == checks.SEMI_ANGLE_TIMES_D


def test_sound_patterns_pass_and_give_their_range():
    stack = synthetic_stack(0)
    stack[0, 0, 0] = 0.0
    stack[1, 2, 3] = 65504.0 * 100

    assert checks.check_stack(stack) == (0.0, np.float32(6550400.0))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"1 pixel\(s\) that are not a number, the first at \[1, 2, 3\]: nan"),
        (np.inf, "infinite"),
        (-np.inf, "infinite"),
        (-1e-30, "negative"),
    ],
)
def test_one_bad_pixel_is_found(value, message):
    stack = synthetic_stack(0)
    stack[1, 2, 3] = value

    with pytest.raises(SampleError, match=message):
        checks.check_stack(stack)


def test_nan_does_not_hide_behind_other_pixels():
    stack = synthetic_stack(0)
    stack[0, 0, 0], stack[2, -1, -1] = -5, np.nan

    with pytest.raises(SampleError, match="not a number"):
        checks.check_stack(stack)


def test_samples_of_a_material_that_agree_pass():
    columns = columns_of([synthetic_attributes(number) for number in range(8)])

    assert checks.find_contradictions(columns) == {}


def test_a_sample_that_most_others_contradict_is_named():
    samples = [{**synthetic_attributes(0), "energy_keV": 100.0 + k} for k in range(3)]
    samples[1]["space_group"] = 99

    reasons = checks.find_contradictions(columns_of(samples))

    assert list(reasons) == [1]
    assert "space_group is 99, other samples of material syn-00000 have 1" in reasons[1]


def test_without_a_majority_nobody_is_trusted():
    samples = [synthetic_attributes(0), {**synthetic_attributes(1), "formula": "Fe1"}]

    assert set(checks.find_contradictions(columns_of(samples))) == {0, 1}


@pytest.mark.parametrize(
    ("extents", "expected"),
    [
        ([], []),
        ([(0, 10), (10, 20), (30, 40)], []),
        ([(30, 40), (0, 10), (5, 15)], [1, 2]),
        ([(0, 10), (0, 10)], []),
        ([(0, 100), (10, 20), (30, 40), (100, 200)], [0, 1, 2]),
    ],
)
def test_overlaps_by_hand(extents, expected):
    starts, stops = np.array(extents, np.int64).reshape(-1, 2).T

    assert checks.find_overlaps(starts, stops).tolist() == expected
