"""Every kind of file that occurs, read through `hdf5` and compared with what was put in."""

import fcntl

import h5py
import numpy as np
import pytest
from archives import write_file, write_padded_floats, write_sample

from cbed_tf import schema
from cbed_tf.archive import hdf5
from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack
from cbed_tf.errors import CbedError, SampleError


def read_all(path, **options):
    """Attributes and patterns of every sample of a file, by group."""
    found = {}
    with hdf5.ArchiveFile(path, **options) as archive_file:
        groups, strangers = archive_file.groups()
        assert strangers == {}
        for group in groups:
            stack = archive_file.stack(group)
            out = np.zeros(stack.shape, schema.IMAGE_DTYPE)
            hdf5.read_stack(path, group, stack.offset, out, **options or {"swmr": False})
            found[group] = archive_file.attributes(group), stack, out
    return found


def assert_reads_number(found, number, views=3, height=24, width=32):
    attributes, _, pixels = found
    expected = synthetic_attributes(number, views)
    assert attributes.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            assert attributes[name].dtype == value.dtype, name
            assert attributes[name].tobytes() == value.tobytes(), name
        else:
            assert attributes[name] == value, name
            assert type(attributes[name]) is type(value), name
    assert pixels.tobytes() == synthetic_stack(number, views, height, width).tobytes()


@pytest.mark.parametrize("padded", [False, True], ids=["8-byte floats", "16-byte floats"])
@pytest.mark.parametrize(
    "storage",
    [{}, {"chunks": (1, 24, 32), "compression": "gzip", "shuffle": True}, {"chunks": (2, 10, 10)}],
    ids=["contiguous", "gzip", "chunks that do not divide"],
)
@pytest.mark.parametrize("parent", ["", "batch"], ids=["top level", "one group down"])
def test_files_of_every_kind_give_the_same_bits(tmp_path, padded, storage, parent):
    path = write_file(tmp_path / "a.h5", range(3), padded=padded, parent=parent, **storage)

    found = read_all(path)

    prefix = f"{parent}/" if parent else ""
    assert sorted(found) == [f"{prefix}sample_{k}" for k in ("0_0", "0_1", "1_0")]
    for number, sample in enumerate(found.values()):
        assert_reads_number(sample, number)
        assert (sample[1].offset is None) == bool(storage)


@pytest.mark.parametrize("views", [1, 2, 5])
def test_any_number_of_views(tmp_path, views):
    path = write_file(tmp_path / "a.h5", range(2), views=views, height=7, width=9)

    for number, sample in enumerate(read_all(path).values()):
        assert sample[1].shape == (views, 7, 9)
        assert_reads_number(sample, number, views, 7, 9)


def test_naive_reading_of_16_byte_floats_is_wrong(tmp_path):
    # The trap is real on this machine: else the test above would prove nothing.
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_padded_floats(file.create_group("g"), "abc_angstrom", [1.5, 2.5, 3.5])
        naive = file["g"].attrs["abc_angstrom"]

    assert np.array_equal(np.float64(naive[:2]), [1.5, 3.5])


def test_direction_k_is_column_k(tmp_path):
    attributes = {**synthetic_attributes(0), "z_dirs": np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_sample(file, "sample_0_0", attributes, synthetic_stack(0))
        assert file["sample_0_0"].attrs["z_dirs"][0, :, 0].tolist() == [1, 2, 3]

    with hdf5.ArchiveFile(tmp_path / "a.h5") as archive_file:
        assert archive_file.attributes("sample_0_0")["z_dirs"].tolist() == [
            [1, 2, 3], [4, 5, 6], [7, 8, 9],
        ]  # fmt: skip


def test_text_may_be_bytes_or_str_and_space_group_a_number(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        sample = synthetic_attributes(5), synthetic_stack(5)
        write_sample(file, "sample_0_0", *sample, text_as_bytes=True)
        write_sample(file, "sample_0_1", *sample, text_as_bytes=False)
        write_sample(file, "sample_0_2", *sample).attrs["space_group"] = sample[0]["space_group"]
        write_sample(file, "sample_0_3", *sample).attrs["formula"] = np.bytes_(sample[0]["formula"])
        write_sample(file, "sample_0_4", *sample).attrs["material"] = [
            sample[0]["material"].encode()
        ]

    for found in read_all(tmp_path / "a.h5").values():
        assert_reads_number(found, 5)


def test_big_endian_values_are_read_as_they_are_meant(tmp_path):
    attributes = synthetic_attributes(0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = write_sample(file, "sample_0_0", attributes, synthetic_stack(0).astype(">f4"))
        group.attrs["abc_angstrom"] = attributes["abc_angstrom"].astype(">f8")

    (found,) = read_all(tmp_path / "a.h5").values()
    assert found[1].offset is None
    assert_reads_number(found, 0)


def test_a_user_block_does_not_shift_the_patterns(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        write_sample(file, "sample_0_0", synthetic_attributes(0), synthetic_stack(0))

    assert_reads_number(read_all(tmp_path / "a.h5")["sample_0_0"], 0)


def test_swmr_opens_what_a_swmr_writer_made(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        write_sample(file, "sample_0_0", synthetic_attributes(0), synthetic_stack(0))

    assert_reads_number(read_all(tmp_path / "a.h5", swmr=True)["sample_0_0"], 0)


def test_a_file_that_somebody_has_locked_is_read(tmp_path):
    # As on read-only mounts and Lustre, where the lock cannot even be asked for.
    path = write_file(tmp_path / "a.h5", range(1))
    with path.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            h5py.File(path, "r", locking=True)
        assert_reads_number(read_all(path)["sample_0_0"], 0)


def test_what_is_no_sample_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["notes"] = [1, 2, 3]
        file.create_group("empty")
        file.create_group("batch/deep/deeper")
        write_sample(file, "odd_name", synthetic_attributes(0), synthetic_stack(0))

    with hdf5.ArchiveFile(tmp_path / "a.h5") as archive_file:
        groups, strangers = archive_file.groups()

    assert groups == ["odd_name"]
    assert set(strangers) == {"notes", "batch/deep"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("space_group", None, "attribute space_group is missing"),
        ("space_group", np.bytes_("sixty"), "'sixty'"),
        ("space_group", 62.0, "attribute space_group is float, should be text"),
        ("material", 7, "attribute material is integer, should be text"),
        ("formula", ["Fe2", "O3"], r"shape \(2,\)"),
        ("energy_keV", "100", "attribute energy_keV is text, should be numbers"),
        ("z_dirs", np.eye(3), "attribute z_dirs is float, should be integers"),
        ("z_dirs", np.eye(3, dtype=int), r"shape \(3, 3\), should be \(1, 3, views\)"),
        ("y_dirs", np.zeros((1, 2, 3)), r"should be \(1, 3, views\)"),
    ],
)
def test_malformed_attributes_are_named(tmp_path, name, value, message):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = write_sample(file, "sample_0_0", synthetic_attributes(0), synthetic_stack(0))
        del group.attrs[name]
        if value is not None:
            group.attrs[name] = value

    with (
        hdf5.ArchiveFile(tmp_path / "a.h5") as archive_file,
        pytest.raises(SampleError, match=message),
    ):
        archive_file.attributes("sample_0_0")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda group: group.__delitem__("cbed_stack"), "no dataset cbed_stack"),
        (lambda group: group.move("cbed_stack", "other"), "no dataset cbed_stack"),
        (lambda group: _replace(group, data=np.zeros((3, 4, 4))), "holds float64"),
        (lambda group: _replace(group, data=np.zeros((3, 4, 4), np.int32)), "holds int32"),
        (lambda group: _replace(group, shape=(3, 4, 4), dtype="f4"), "was never written"),
        (lambda group: _write_in_part(group), "was written in part: 1 of 3 chunks"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused(tmp_path, spoil, message):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        spoil(write_sample(file, "sample_0_0", synthetic_attributes(0), synthetic_stack(0)))

    with (
        hdf5.ArchiveFile(tmp_path / "a.h5") as archive_file,
        pytest.raises(SampleError, match=message),
    ):
        archive_file.stack("sample_0_0")


def _replace(group, **options):
    del group["cbed_stack"]
    return group.create_dataset("cbed_stack", **options)


def _write_in_part(group):
    _replace(group, shape=(3, 4, 4), dtype="f4", chunks=(1, 4, 4))[0] = 1


def test_types_that_only_damage_makes_are_refused(tmp_path):
    odd_float, narrow_integer = h5py.h5t.IEEE_F64LE.copy(), h5py.h5t.STD_I64LE.copy()
    odd_float.set_ebias(1000)
    narrow_integer.set_precision(40)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, file_type in (("abc_angstrom", odd_float), ("energy_keV", narrow_integer)):
            group = write_sample(file, name, synthetic_attributes(0), synthetic_stack(0))
            del group.attrs[name]
            space = h5py.h5s.create_simple((3,) if name == "abc_angstrom" else (1,))
            h5py.h5a.create(group.id, name.encode(), file_type, space)

    with hdf5.ArchiveFile(tmp_path / "a.h5") as archive_file:
        for name in ("abc_angstrom", "energy_keV"):
            with pytest.raises(SampleError, match=f"{name} has numbers of an unusual form"):
                archive_file.attributes(name)


def test_patterns_of_a_type_that_only_damage_makes_are_refused(tmp_path):
    file_type = h5py.h5t.IEEE_F32LE.copy()
    file_type.set_ebias(100)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = write_sample(file, "sample_0_0", synthetic_attributes(0), synthetic_stack(0))
        del group["cbed_stack"]
        space = h5py.h5s.create_simple((3, 4, 4))
        h5py.h5d.create(group.id, b"cbed_stack", file_type, space)

    with (
        hdf5.ArchiveFile(tmp_path / "a.h5") as archive_file,
        pytest.raises(SampleError, match="cbed_stack holds .*, should be float32"),
    ):
        archive_file.stack("sample_0_0")


def test_a_name_that_is_no_text_costs_no_other_sample(tmp_path):
    path = write_file(tmp_path / "a.h5", range(2))
    content = path.read_bytes()
    assert content.count(b"sample_0_0") == 1
    path.write_bytes(content.replace(b"sample_0_0", b"sample_0_\xff"))

    with hdf5.ArchiveFile(path) as archive_file:
        groups, strangers = archive_file.groups()
    assert groups == ["sample_0_1"]
    assert strangers == {"sample_0_\\xff": "its name is no UTF-8 text"}


def test_patterns_that_should_lie_beyond_the_end_are_refused(tmp_path):
    path = write_file(tmp_path / "a.h5", range(1))
    with hdf5.ArchiveFile(path) as archive_file:
        offset = archive_file.stack("sample_0_0").offset
    content = path.read_bytes()
    place = offset.to_bytes(8, "little")
    assert content.count(place) == 1
    path.write_bytes(content.replace(place, (offset + 2**20).to_bytes(8, "little")))

    with hdf5.ArchiveFile(path) as archive_file, pytest.raises(SampleError, match="cbed_stack"):
        archive_file.stack("sample_0_0")


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", None], ids=["empty", "text", "cut"])
def test_files_that_do_not_open_are_named(tmp_path, content):
    path = tmp_path / "broken.h5"
    if content is None:
        whole = write_file(tmp_path / "whole.h5", range(2)).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)

    with pytest.raises(CbedError, match=r"broken.h5 does not open as HDF5"):
        hdf5.ArchiveFile(path)


def test_patterns_that_end_early_are_refused(tmp_path):
    path = write_file(tmp_path / "a.h5", range(1))
    with hdf5.ArchiveFile(path) as archive_file:
        offset = archive_file.stack("sample_0_0").offset
    with path.open("r+b") as file:
        file.truncate(offset + 100)

    out = np.zeros((3, 24, 32), schema.IMAGE_DTYPE)
    with pytest.raises(SampleError, match="ends after 100 of 9216 bytes"):
        hdf5.read_stack(path, "sample_0_0", offset, out, swmr=False)
