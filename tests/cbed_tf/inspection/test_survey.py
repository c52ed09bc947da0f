"""What a survey says of an archive, against counts made with plain h5py."""

from collections import Counter

import h5py
import numpy as np
import pytest
from archives import write_archive, write_file, write_sample

import cbed_tf
from cbed_tf.archive.files import find_files
from cbed_tf.archive.scan import scan_archive
from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack
from cbed_tf.inspection import intensities
from cbed_tf.inspection.survey import Overlap, choose_examples, reason_kind, survey_archive
from cbed_tf.processes import engine


def read_plainly(folder):
    """Returns (split, space group, energy, material, patterns) of every sample."""
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            for group in file.values():
                attributes = group.attrs
                yield (
                    path.name.split("_")[1],
                    int(attributes["space_group"]),
                    float(attributes["energy_keV"]),
                    attributes["material"],
                    group["cbed_stack"][()],
                )


def test_counts_and_ranges_equal_those_of_plain_h5py():
    survey = survey_archive(cbed_tf.sample_archive(), workers=2)
    expected = list(read_plainly(cbed_tf.sample_archive()))

    assert list(survey.splits) == ["train", "dev", "test"]
    assert (survey.files, survey.samples, survey.materials) == (4, 72, 36)
    assert survey.image_shape == (3, 128, 128)
    assert survey.through_hdf5 == 0
    assert survey.rejected == survey.leaks == ()
    assert survey.shared_compositions == (Overlap("C1", {"train": 2, "dev": 2}),)
    for name, split in survey.splits.items():
        rows = [row for row in expected if row[0] == name]
        stacks = np.stack([row[4] for row in rows])
        assert split.samples == len(rows)
        assert split.space_groups == Counter(row[1] for row in rows)
        assert split.energies_keV == Counter(row[2] for row in rows)
        assert split.materials == len({row[3] for row in rows})
        assert split.intensity == (stacks.min(), stacks.max())
        sums = stacks.sum(axis=(2, 3), dtype=np.float64)
        assert split.pattern_sum == pytest.approx((sums.min(), sums.max()), rel=1e-5)


def test_totals_over_the_splits():
    survey = survey_archive(cbed_tf.sample_archive(), workers=1)

    assert sum(survey.space_groups().values()) == 72
    assert set(survey.space_groups().values()) == {6}
    assert survey.crystal_systems() == {
        "triclinic": 0,
        "monoclinic": 0,
        "orthorhombic": 6,
        "tetragonal": 18,
        "trigonal": 0,
        "hexagonal": 18,
        "cubic": 30,
    }


def test_bad_pixels_and_bad_attributes_are_both_found(archive):
    with h5py.File(archive / "batch_train_0.h5", "a") as file:
        file["sample_0_0/cbed_stack"][1, 2, 3] = np.nan
        file["sample_1_1/cbed_stack"][0, 0, 0] = -1
        file["sample_2_0"].attrs["space_group"] = np.bytes_("231")

    survey = survey_archive(archive, workers=1)

    bad = "cbed_stack has 1 pixel(s) that are"
    assert {entry.sample_id.split("/")[2]: entry.reason for entry in survey.rejected} == {
        "sample_0_0": f"{bad} not a number, the first at [1, 2, 3]: nan",
        "sample_1_1": f"{bad} negative, the first at [0, 0, 0]: -1.0",
        "sample_2_0": "space_group is 231, should be 1 to 230",
    }
    assert survey.splits["train"].samples == 5
    assert np.isfinite(survey.splits["train"].intensity).all()
    assert {example.group for example in survey.examples}.isdisjoint(
        {"sample_0_0", "sample_1_1", "sample_2_0"}
    )


def test_materials_in_two_splits_are_leaks(archive):
    write_file(archive / "batch_test_1.h5", range(3), compression="gzip", chunks=(1, 24, 32))

    survey = survey_archive(archive, workers=1)

    assert survey.leaks == (
        Overlap("syn-00000", {"train": 2, "test": 2}),
        Overlap("syn-00001", {"train": 2, "test": 1}),
    )
    assert survey.materials == 8
    assert survey.through_hdf5 == 3


def test_a_composition_in_two_splits_under_two_materials_is_no_leak(tmp_path):
    for split, number, formula in (("train", 0, "Ca1 B6"), ("dev", 2, "B12 Ca2")):
        with h5py.File(tmp_path / f"batch_{split}_0.h5", "w") as file:
            attributes = {**synthetic_attributes(number), "formula": formula}
            write_sample(file, "sample_0_0", attributes, synthetic_stack(number))

    survey = survey_archive(tmp_path, workers=1)

    assert survey.leaks == ()
    assert survey.shared_compositions == (Overlap("B6 Ca1", {"train": 1, "dev": 1}),)


def test_an_archive_of_which_no_pattern_is_sound_is_surveyed_all_the_same(tmp_path):
    write_archive(tmp_path, train=2, dev=0, test=0)
    with h5py.File(tmp_path / "batch_train_0.h5", "a") as file:
        for group in file.values():
            group["cbed_stack"][0, 0, 0] = np.inf

    survey = survey_archive(tmp_path, workers=1)

    assert survey.samples == 0
    assert survey.splits["train"].intensity is None
    assert len(survey.rejected) == 2
    assert survey.examples == ()


def test_a_crash_is_narrowed_to_the_sample_that_causes_it(archive, monkeypatch):
    def run_tasks(function, tasks, workers, progress):
        for position, task in enumerate(tasks):
            crashes = b"sample_1_0" in task.groups and "train" in task.path.name
            yield position, engine.Crashed() if crashes else function(task)

    scan = scan_archive(archive, find_files(archive), workers=1)
    monkeypatch.setattr(engine, "run_tasks", run_tasks)

    measured = intensities.measure_patterns(archive, scan, workers=1)

    (row,) = measured.refused
    assert scan.columns["sample_id"][row] == b"train/batch_train_0/sample_1_0"
    assert measured.refused[row] == "the HDF5 library crashed or hung on cbed_stack"
    assert np.isnan(measured.maximum).sum() == 1


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (
            "cbed_stack has 3 pixel(s) that are negative, the first at [0, 1, 2]: -1.0",
            "cbed_stack has … pixel(s) that are negative",
        ),
        (
            "d_hkls_angstrom is [1., 2.], but cell and z_dirs give [3., 4.] angstrom",
            "d_hkls_angstrom is …, but cell and z_dirs give … angstrom",
        ),
        (
            "semi_angles_rad is [0.1], but lambda(100 keV) / (4 d) give [0.2] rad",
            "semi_angles_rad is …, but lambda(100 keV) / (4 d) give … rad",
        ),
        (
            "z_dirs is [[1, 2], [0, 1]], other samples of material mp-12 have [[1, 1], [0, 1]]",
            "z_dirs is …, other samples of material … have …",
        ),
        ("attribute energy_keV is missing", "attribute energy_keV is missing"),
        ("a/b.h5 does not open as HDF5: truncated", "… does not open as HDF5"),
    ],
)
def test_reasons_are_grouped_by_what_they_share(reason, kind):
    assert reason_kind(reason) == kind


def test_examples_are_spread_over_the_space_groups():
    space_group = np.array([5, 5, 1, 1, 9, 7, 7])
    material = np.array([b"a", b"a", b"b", b"c", b"d", b"e", b"f"])

    assert choose_examples(space_group, material, 3) == [2, 5, 4]
    assert choose_examples(space_group, material, 5) == [2, 3, 0, 5, 4]
    assert choose_examples(space_group, material, 99) == [2, 3, 0, 5, 6, 4]
