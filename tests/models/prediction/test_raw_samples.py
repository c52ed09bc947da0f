import h5py
import numpy as np
import pytest
from archives import write_file

from cbed_tf.archive.scan import Rejection
from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack
from models.prediction.known_inputs import Known
from models.prediction.pattern_files import list_files
from models.prediction.raw_samples import Needs, RawSample, read_samples
from models.prediction.training_intensities import TrainingIntensities

SHAPE = (3, 24, 32)


def read_all(path, shape=SHAPE, **needs):
    files, _ = list_files(path)
    return [sample for file in files for sample in read_samples(file, Needs(shape, **needs))]


@pytest.mark.parametrize("storage", [{}, {"chunks": (1, 24, 32), "compression": "gzip"}])
@pytest.mark.parametrize("parent", ["", "batch"])
def test_hdf5_without_attributes(tmp_path, storage, parent):
    path = write_file(tmp_path / "new.h5", [0, 1], parent=parent, **storage)
    with h5py.File(path, "r+") as file:
        for group in file[parent or "/"].values():
            for name in list(group.attrs):
                del group.attrs[name]
    samples = read_all(path)
    prefix = f"new/{parent}/" if parent else "new/"
    assert [sample.sample_id for sample in samples] == [f"{prefix}sample_0_{k}" for k in range(2)]
    np.testing.assert_array_equal(samples[1].stack, synthetic_stack(1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "not a number"), (np.inf, "infinite"), (-1.0, "negative"), (1e300, "infinite")],
)
def test_bad_pixels_are_refused_by_name_and_place(tmp_path, value, reason):
    stacks = np.stack([synthetic_stack(k) for k in range(2)]).astype(np.float64)
    stacks[0, 2, 5, 7] = value
    np.save(tmp_path / "two.npy", stacks)
    samples = read_all(tmp_path / "two.npy")
    assert isinstance(samples[0], Rejection)
    assert samples[0].sample_id == "two/0"
    assert samples[0].file == str(tmp_path / "two.npy")
    assert reason in samples[0].reason
    assert "[2, 5, 7]" in samples[0].reason
    assert samples[1].sample_id == "two/1"


def test_wrong_size_is_refused_with_both_sizes(tmp_path):
    path = write_file(tmp_path / "new.h5", [0], height=48, width=64)
    (rejection,) = read_all(path)
    assert rejection.sample_id == "new/sample_0_0"
    assert rejection.reason == "cbed_stack has shape (3, 48, 64), the model takes (3, 24, 32)"


def test_larger_patterns_are_reduced_where_asked(tmp_path):
    stack = synthetic_stack(0, height=48, width=48)
    np.save(tmp_path / "large.npy", stack)
    (sample,) = read_all(tmp_path, (3, 24, 24), reduce=True)
    expected = stack[2, 10:12, 20:22].astype(np.float64).sum()
    np.testing.assert_allclose(sample.stack[2, 5, 10], expected, rtol=1e-6)
    (rejection,) = read_all(tmp_path, (3, 20, 20), reduce=True)
    assert rejection.reason.endswith("the model takes (3, 20, 20)")
    (rejection,) = read_all(tmp_path, (3, 24, 24))
    assert "--sum_areas" in rejection.reason


def test_hdf5_of_another_kind_is_refused(tmp_path):
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.create_group("sample_0_0").create_dataset("cbed_stack", data=np.ones(SHAPE, "i4"))
        file.create_group("sample_1_0")
        file.create_dataset("readme", data=1)
        file.create_group("sample_2_0").create_dataset("cbed_stack", data=synthetic_stack(0))
    samples = read_all(tmp_path)
    reasons = {s.sample_id: s.reason for s in samples if isinstance(s, Rejection)}
    assert reasons.keys() == {"new/readme", "new/sample_0_0", "new/sample_1_0"}
    assert "int32, should be float32" in reasons["new/sample_0_0"]
    assert "no dataset cbed_stack" in reasons["new/sample_1_0"]
    assert [s.sample_id for s in samples if isinstance(s, RawSample)] == ["new/sample_2_0"]


def test_patterns_unlike_those_of_the_training_are_refused_where_these_are_known(tmp_path):
    np.save(tmp_path / "roots.npy", synthetic_stack(0) ** 0.25)
    (sample,) = read_all(tmp_path)
    assert isinstance(sample, RawSample)
    (rejection,) = read_all(tmp_path, intensities=TrainingIntensities(9e4, 1e5, 23.0))
    assert "largest intensity of cbed_stack is 17.8" in rejection.reason


def test_known_inputs_come_from_the_attributes_of_each_sample(tmp_path):
    path = write_file(tmp_path / "new.h5", [0, 1, 2])
    with h5py.File(path, "r+") as file:
        del file["sample_0_1"].attrs["energy_keV"]
    first, second, third = read_all(path, known=Known({"d_hkls_angstrom": 3, "energy_keV": 1}))
    for number, sample in ((0, first), (2, third)):
        attributes = synthetic_attributes(number)
        np.testing.assert_allclose(sample.known["energy_keV"], [attributes["energy_keV"]])
        np.testing.assert_allclose(sample.known["d_hkls_angstrom"], attributes["d_hkls_angstrom"])
        assert sample.known["energy_keV"].dtype == np.float32
    assert second.sample_id == "new/sample_0_1"
    assert "energy_keV" in second.reason
    given = read_all(path, known=Known({"energy_keV": 1}, {"energy_keV": (80.0,)}))
    assert [sample.known["energy_keV"].tolist() for sample in given] == [[80.0]] * 3


def test_materials_by_attribute_or_else_by_name(tmp_path):
    path = write_file(tmp_path / "new.h5", [0, 1, 2, 3])
    with h5py.File(path, "r+") as file:
        for name in ("sample_1_0", "sample_1_1"):
            del file[name].attrs["material"]
        del file["sample_0_1"].attrs["material"]
        file["sample_0_1"].attrs["material"] = 3
    materials = [getattr(sample, "material", None) for sample in read_all(path, material=True)]
    of_first = synthetic_attributes(0)["material"]
    assert materials == [of_first, None, "new/sample_1", "new/sample_1"]
    assert {sample.material for sample in read_all(path)} == {""}
