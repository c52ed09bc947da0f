import h5py
import numpy as np
import pytest
from archives import write_file

from cbed_tf.errors import CbedError
from cbed_tf.scan import Rejection
from cbed_tf.synthetic import synthetic_stack
from models.raw_samples import RawSample, list_inputs, read_samples

SHAPE = (3, 24, 32)


def read_all(path, shape=SHAPE, reduce=False):
    files, rejections = list_inputs(path)
    samples = [sample for file in files for sample in read_samples(file, shape, reduce)]
    return samples, rejections


@pytest.mark.parametrize("storage", [{}, {"chunks": (1, 24, 32), "compression": "gzip"}])
@pytest.mark.parametrize("parent", ["", "batch"])
def test_hdf5_without_attributes(tmp_path, storage, parent):
    path = write_file(tmp_path / "new.h5", [0, 1], parent=parent, **storage)
    with h5py.File(path, "r+") as file:
        for group in file[parent or "/"].values():
            for name in list(group.attrs):
                del group.attrs[name]
    samples, rejections = read_all(path)
    prefix = f"new/{parent}/" if parent else "new/"
    assert [sample.sample_id for sample in samples] == [f"{prefix}sample_0_{k}" for k in range(2)]
    np.testing.assert_array_equal(samples[1].stack, synthetic_stack(1))
    assert rejections == []


def test_folder_is_walked_and_ids_tell_its_files_apart(tmp_path):
    for folder in ("a", "b"):
        write_file(tmp_path / folder / "batch_0.h5", [0])
    np.save(tmp_path / "stack.npy", synthetic_stack(5))
    (tmp_path / "notes.txt").touch()
    samples, _ = read_all(tmp_path)
    ids = [sample.sample_id for sample in samples]
    assert ids == ["a/batch_0/sample_0_0", "b/batch_0/sample_0_0", "stack/0"]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_arrays_of_one_and_of_many_samples(tmp_path, dtype):
    stacks = np.stack([synthetic_stack(k) for k in range(3)]).astype(dtype)
    np.save(tmp_path / "many.npy", stacks)
    np.save(tmp_path / "one.npy", stacks[2])
    samples, _ = read_all(tmp_path)
    assert [sample.sample_id for sample in samples] == ["many/0", "many/1", "many/2", "one/0"]
    assert all(sample.stack.dtype == np.float32 for sample in samples)
    np.testing.assert_array_equal(samples[3].stack, synthetic_stack(2))


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "not a number"), (np.inf, "infinite"), (-1.0, "negative"), (1e300, "infinite")],
)
def test_bad_pixels_are_refused_by_name_and_place(tmp_path, value, reason):
    stacks = np.stack([synthetic_stack(k) for k in range(2)]).astype(np.float64)
    stacks[0, 2, 5, 7] = value
    np.save(tmp_path / "two.npy", stacks)
    samples, _ = read_all(tmp_path / "two.npy")
    assert isinstance(samples[0], Rejection)
    assert samples[0].sample_id == "two/0"
    assert samples[0].file == str(tmp_path / "two.npy")
    assert reason in samples[0].reason
    assert "[2, 5, 7]" in samples[0].reason
    assert samples[1].sample_id == "two/1"


def test_wrong_size_is_refused_with_both_sizes(tmp_path):
    path = write_file(tmp_path / "new.h5", [0], height=48, width=64)
    (rejection,), _ = read_all(path)
    assert rejection.sample_id == "new/sample_0_0"
    assert rejection.reason == "cbed_stack has shape (3, 48, 64), the model takes (3, 24, 32)"


def test_larger_patterns_are_reduced_where_asked(tmp_path):
    stack = synthetic_stack(0, height=48, width=48)
    np.save(tmp_path / "large.npy", stack)
    (sample,), _ = read_all(tmp_path, (3, 24, 24), reduce=True)
    expected = stack[2, 10:12, 20:22].astype(np.float64).sum()
    np.testing.assert_allclose(sample.stack[2, 5, 10], expected, rtol=1e-6)
    (rejection,), _ = read_all(tmp_path, (3, 20, 20), reduce=True)
    assert "the model takes (3, 20, 20)" in rejection.reason


def test_hdf5_of_another_kind_is_refused(tmp_path):
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file.create_group("sample_0_0").create_dataset("cbed_stack", data=np.ones(SHAPE, "i4"))
        file.create_group("sample_1_0")
        file.create_dataset("readme", data=1)
        file.create_group("sample_2_0").create_dataset("cbed_stack", data=np.ones(SHAPE, "f4"))
    samples, _ = read_all(tmp_path)
    reasons = {s.sample_id: s.reason for s in samples if isinstance(s, Rejection)}
    assert reasons.keys() == {"new/readme", "new/sample_0_0", "new/sample_1_0"}
    assert "int32, should be float32" in reasons["new/sample_0_0"]
    assert "no dataset cbed_stack" in reasons["new/sample_1_0"]
    assert [s.sample_id for s in samples if isinstance(s, RawSample)] == ["new/sample_2_0"]


def test_files_that_do_not_open_are_refused_and_the_others_read(tmp_path):
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    np.save(tmp_path / "flat.npy", np.ones((24, 32), np.float32))
    np.save(tmp_path / "half.npy", np.ones(SHAPE, np.float16))
    write_file(tmp_path / "good.h5", [0])
    samples, rejections = read_all(tmp_path)
    assert [sample.sample_id for sample in samples] == ["good/sample_0_0"]
    reasons = {rejection.file.rpartition("/")[2]: rejection.reason for rejection in rejections}
    assert [rejection.sample_id for rejection in rejections] == ["broken", "broken", "flat", "half"]
    assert "does not open as HDF5" in reasons["broken.h5"]
    assert "the array does not open" in reasons["broken.npy"]
    assert "should be (views, height, width)" in reasons["flat.npy"]
    assert "float16, should be float32 or float64" in reasons["half.npy"]


def test_input_without_patterns_is_an_error(tmp_path):
    with pytest.raises(CbedError, match="no file or folder of patterns"):
        list_inputs(tmp_path)
    with pytest.raises(CbedError, match="no file or folder of patterns"):
        list_inputs(tmp_path / "nowhere.h5")
