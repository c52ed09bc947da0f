import h5py
import numpy as np
import pytest
from archives import write_file, write_padded_floats

from cbed_tf.archive.synthetic import synthetic_stack
from cbed_tf.errors import CbedError, SampleError
from models.prediction.pattern_files import PatternFile, list_files, opened

SHAPE = (3, 24, 32)


def names_of(path):
    files, rejections = list_files(path)
    return [f"{file.name}/{sample}" for file in files for sample in file.samples], rejections


def test_folder_is_walked_and_ids_tell_its_files_apart(tmp_path):
    for folder in ("a", "b"):
        write_file(tmp_path / folder / "batch_0.h5", [0])
    np.save(tmp_path / "stack.npy", synthetic_stack(5))
    (tmp_path / "notes.txt").touch()
    names, rejections = names_of(tmp_path)
    assert names == ["a/batch_0/sample_0_0", "b/batch_0/sample_0_0", "stack/0"]
    assert rejections == []


def test_files_that_do_not_open_are_refused_and_the_others_listed(tmp_path):
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    np.save(tmp_path / "flat.npy", np.ones((24, 32), np.float32))
    np.save(tmp_path / "half.npy", np.ones(SHAPE, np.float16))
    np.save(tmp_path / "picture.npy", np.ones(SHAPE, np.uint8))
    np.save(tmp_path / "codes.npy", np.ones(SHAPE, np.uint16))
    write_file(tmp_path / "good.h5", [0])
    names, rejections = names_of(tmp_path)
    assert names == ["good/sample_0_0"]
    reasons = {rejection.sample_id: rejection.reason for rejection in rejections if rejection.file}
    assert len(rejections) == 6
    assert "should be (views, height, width)" in reasons["flat"]
    for name, dtype in (("half", "float16"), ("picture", "uint8"), ("codes", "uint16")):
        expected = f"the array holds {dtype}, should be raw intensities as float32 or float64"
        assert reasons[name] == expected
    by_file = {rejection.file.rpartition("/")[2]: rejection.reason for rejection in rejections}
    assert "does not open as HDF5" in by_file["broken.h5"]
    assert "the array does not open" in by_file["broken.npy"]


def test_input_without_patterns_is_an_error(tmp_path):
    with pytest.raises(CbedError, match="no file or folder of patterns"):
        list_files(tmp_path)
    with pytest.raises(CbedError, match="no file or folder of patterns"):
        list_files(tmp_path / "nowhere.h5")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_arrays_of_one_and_of_many_samples(tmp_path, dtype):
    stacks = np.stack([synthetic_stack(k) for k in range(3)]).astype(dtype)
    np.save(tmp_path / "many.npy", stacks)
    np.save(tmp_path / "one.npy", stacks[2])
    (many, one), _ = list_files(tmp_path)
    assert many.samples == ("0", "1", "2")
    assert one.samples == ("0",)
    for file, sample, number in ((many, "1", 1), (one, "0", 2)):
        with opened(file) as reader:
            stack = reader.stack(sample)
            assert reader.attribute(sample, "energy_keV") is None
        assert stack.dtype == np.float32
        np.testing.assert_array_equal(stack, synthetic_stack(number))


@pytest.mark.parametrize("padded", [False, True])
def test_attributes_in_both_encodings_of_floats(tmp_path, padded):
    path = write_file(tmp_path / "new.h5", [0])
    with h5py.File(path, "r+") as file:
        group = file["sample_0_0"]
        for name in ("d_hkls_angstrom", "formula", "material"):
            del group.attrs[name]
        if padded:
            write_padded_floats(group, "d_hkls_angstrom", [3.5, 2.5, 1.25])
        else:
            group.attrs["d_hkls_angstrom"] = [3.5, 2.5, 1.25]
        group.attrs["formula"] = 7
    (file,), _ = list_files(path)
    with opened(file) as reader:
        assert reader.attribute("sample_0_0", "d_hkls_angstrom").tolist() == [3.5, 2.5, 1.25]
        assert reader.attribute("sample_0_0", "material") is None
        with pytest.raises(SampleError, match="formula is integer, should be text"):
            reader.attribute("sample_0_0", "formula")


def test_names_tell_the_material(tmp_path):
    file = PatternFile(tmp_path / "new.h5", "a/new", ())
    assert file.material_of("sample_12_3") == "a/new/sample_12"
    assert file.material_of("batch/sample_12_130") == "a/new/batch/sample_12"
    assert file.material_of("batch/quartz") == "a/new/batch/quartz"
