"""What is read from the bytes of a header is what HDF5 reads, or nothing."""

import functools
import os
from collections import Counter

import h5py
import numpy as np
import pytest
from archives import FLOATS, write_file, write_sample
from fuzzing import damage, find_metadata
from two_ways import (
    assert_equal,
    compare_file,
    place_from_header,
    place_through_hdf5,
    read_from_header,
    read_through_hdf5,
)

import cbed_tf
from cbed_tf.archive import hdf5, hdf5_headers
from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack
from cbed_tf.processes import engine


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        yield file


def write(file, name="sample_0_0", number=0, **options):
    return write_sample(
        file, name, synthetic_attributes(number), synthetic_stack(number), **options
    )


def reopened(file, **options):
    path = file.filename
    file.close()
    return h5py.File(path, **options)


def assert_read_both_ways(group):
    found = read_from_header(group)
    assert found is not None
    assert_equal(found, read_through_hdf5(group))


@pytest.mark.parametrize("padded", [False, True], ids=["8-byte floats", "16-byte floats"])
@pytest.mark.parametrize("text_as_bytes", [False, True])
@pytest.mark.parametrize("parent", ["/", "batch/deeper"])
@pytest.mark.parametrize("storage", [{}, {"chunks": (1, 24, 32)}], ids=["contiguous", "chunked"])
def test_equals_what_hdf5_reads(file, padded, text_as_bytes, parent, storage):
    options = {"padded": padded, "text_as_bytes": text_as_bytes, **storage}
    for number in range(40):
        write(file.require_group(parent), f"sample_{number}", number, **options)

    with reopened(file) as file:
        assert len(file[parent]) == 40
        for group in file[parent].values():
            assert_read_both_ways(group)
            assert place_from_header(group) == place_through_hdf5(group)
            assert (place_from_header(group) is None) == bool(storage)


@pytest.mark.parametrize("views", [1, 2, 5])
def test_any_number_of_views(tmp_path, views):
    path = write_file(tmp_path / "a.h5", range(2), views=views)

    assert compare_file(path) == {"equal": 2}


def test_files_of_the_package():
    for path in cbed_tf.sample_archive().glob("*.h5"):
        assert compare_file(path).keys() == {"equal"}


def test_full_resolution_files(real_archive):
    for path in real_archive.glob("*.h5"):
        assert compare_file(path).keys() == {"equal"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("space_group", 62),
        ("space_group", np.int32(62)),
        ("space_group", [62]),
        ("space_group", "62"),
        ("space_group", np.bytes_("62  ")),
        ("energy_keV", 100.5),
        ("energy_keV", [100]),
        ("energy_keV", 2**62 + 1),
        ("energy_keV", np.nan),
        ("material", np.bytes_("mp-1 \0")),
        ("material", "Å, 水"),
        ("material", [b"mp-1"]),
        ("material", np.array([b"mp-1"])),
        ("material", np.array("mp-1", h5py.string_dtype("ascii"))),
        ("material", np.array("mp-Å".encode(), h5py.string_dtype("utf-8", 10))),
        ("material", "x" * 5000),
        ("abc_angstrom", [1, 2, 3]),
        ("abc_angstrom", np.array([[1.5, 2.5, -0.0]])),
        ("abc_angstrom", np.arange(600.0)),
        ("y_dirs", np.arange(9).reshape(1, 3, 3)),
        ("z_dirs", np.arange(9, dtype=np.int32).reshape(1, 3, 3)),
        ("another", np.arange(3)),
        ("Ångström", 1),
    ],
)
def test_other_values_of_known_form(file, name, value):
    write(file).attrs[name] = value

    with reopened(file) as file:
        assert_read_both_ways(file["sample_0_0"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("space_group", None),
        ("space_group", "sixty"),
        ("space_group", "9" * 5000),
        ("space_group", 62.0),
        ("space_group", [62, 63]),
        ("space_group", np.uint8(62)),
        ("material", 7),
        ("material", np.bytes_(b"\xff\xfe")),
        ("material", np.array("", h5py.string_dtype())),
        ("formula", ["Fe2", "O3"]),
        ("energy_keV", "100"),
        ("energy_keV", [100.0, 110.0]),
        ("energy_keV", np.float32(100)),
        ("abc_angstrom", np.zeros((3, 0))),
        ("abc_angstrom", h5py.Empty("f8")),
        ("abc_angstrom", np.array([1, 2, 3], ">f8")),
        ("abc_angstrom", "a, b, c"),
        ("z_dirs", np.eye(3, dtype=int)),
        ("z_dirs", np.ones((1, 3, 3))),
        ("z_dirs", np.ones((1, 2, 3), int)),
        ("y_dirs", "up"),
        ("another", True),
        ("another", np.zeros(3, [("a", "f8")])),
        ("another", h5py.Empty("f8")),
    ],
)
def test_gives_up_on_everything_else(file, name, value):
    group = write(file)
    group.attrs.pop(name, None)
    if value is not None:
        group.attrs[name] = value

    with reopened(file) as file:
        assert read_from_header(file["sample_0_0"]) is None


@pytest.mark.parametrize(("extras", "too_many"), [(5, False), (40, False), (300, True)])
def test_headers_in_many_blocks(file, extras, too_many):
    group = write(file)
    for number in range(extras):
        group.attrs[f"extra {number}"] = number
        file.create_group(f"between {number}")  # so that the header cannot grow where it lies
        if number % 3 == 0:
            del group.attrs[f"extra {number // 2}"]

    with reopened(file) as file:
        if too_many:
            assert read_from_header(file["sample_0_0"]) is None
        else:
            assert_read_both_ways(file["sample_0_0"])


def test_an_attribute_written_twice_is_read_as_hdf5_does(file):
    group = write(file)
    group.attrs["abc_angstrom"] = [1.0, 2.0, 3.0]
    group.attrs.modify("formula", "Na Cl")

    with reopened(file) as file:
        assert_read_both_ways(file["sample_0_0"])


def test_two_attributes_of_one_name(file):
    write(file).attrs["abc_angstron"] = [1.0, 2.0, 3.0]
    path = file.filename
    file.close()
    with open(path, "r+b") as stream:
        content = stream.read().replace(b"abc_angstron\0", b"abc_angstrom\0")
        stream.seek(0)
        stream.write(content)

    with h5py.File(path) as file:
        assert list(file["sample_0_0"].attrs).count("abc_angstrom") == 2
        assert read_from_header(file["sample_0_0"]) is None


@pytest.mark.parametrize(
    "options", [{"libver": "latest"}, {"userblock_size": 512}, {"track_order": True}]
)
def test_files_of_other_versions(tmp_path, options):
    with h5py.File(tmp_path / "a.h5", "w", **options) as file:
        write(file)

    assert compare_file(tmp_path / "a.h5").total() == 1
    with hdf5.ArchiveFile(tmp_path / "a.h5") as archive_file:
        found = archive_file.attributes("sample_0_0")
    assert found["formula"] == synthetic_attributes(0)["formula"]


def test_a_sample_behind_a_link_to_another_file(tmp_path):
    write_file(tmp_path / "b.h5", range(3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write(file, number=7)
        file["sample_0_1"] = h5py.ExternalLink("b.h5", "sample_0_0")
        file["sample_0_2"] = h5py.SoftLink("/sample_0_0")

    with hdf5.ArchiveFile(tmp_path / "a.h5") as archive_file:
        formulas = [archive_file.attributes(f"sample_0_{k}")["formula"] for k in range(3)]
    expected = [synthetic_attributes(number)["formula"] for number in (7, 0, 7)]
    assert formulas == expected


@pytest.mark.parametrize("options", [{}, {"track_times": True}])
def test_patterns_of_known_form(file, options):
    group = write(file)
    del group["cbed_stack"]
    group.create_dataset("cbed_stack", data=synthetic_stack(3), **options)

    with reopened(file) as file:
        place = place_from_header(file["sample_0_0"])
        assert place == place_through_hdf5(file["sample_0_0"])
        content = open(file.filename, "rb").read()  # noqa: SIM115
    stack = np.ndarray(place[0], "<f4", content, place[1])
    assert stack.tobytes() == synthetic_stack(3).tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"data": np.zeros((3, 4, 4))},
        {"data": np.zeros((3, 4, 4), ">f4")},
        {"data": np.zeros((3, 4, 4), "i4")},
        {"shape": (3, 4, 4), "dtype": "f4"},  # never written
        {"shape": (3, 0, 4), "dtype": "f4"},
        {"data": np.zeros((3, 4, 4), "f4"), "chunks": (1, 4, 4)},
        {"data": np.zeros((3, 4, 4), "f4"), "maxshape": (None, 4, 4)},
        {"data": np.zeros((3, 4, 4), "f4"), "fillvalue": 1.0},
        {"data": np.zeros((3, 4, 4), "f4"), "external": [("raw", 0, 192)]},
    ],
)
def test_gives_up_on_other_patterns(file, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the external file is written
    group = write(file)
    del group["cbed_stack"]
    group.create_dataset("cbed_stack", **options)

    with reopened(file) as file:
        assert place_from_header(file["sample_0_0"]) is None


def test_16_byte_floats_of_another_exponent_are_packed_doubles_too(file):
    file_type = h5py.h5t.IEEE_F64LE.copy()
    file_type.set_size(16)
    file_type.set_ebias(16383)
    group = write(file)
    for name in FLOATS:
        values = np.ascontiguousarray(group.attrs[name], "<f8")
        del group.attrs[name]
        attribute = h5py.h5a.create(
            group.id, name.encode(), file_type, h5py.h5s.create_simple(values.shape)
        )
        attribute.write(np.ndarray(values.shape, "V16", values.tobytes() * 2), mtype=file_type)

    with reopened(file) as file:
        assert_read_both_ways(file["sample_0_0"])


def test_whatever_the_bytes_are_nothing_is_raised(tmp_path):
    path = write_file(tmp_path / "a.h5", range(2), height=2, width=2)
    with h5py.File(path) as file:
        addresses = [h5py.h5g.get_objinfo(group.id).objno[0] for group in file.values()]
    content = path.read_bytes()
    outcomes = Counter()
    for seed in range(3000):
        path.write_bytes(damage(content, seed, np.arange(len(content))))
        descriptor = os.open(path, os.O_RDONLY)
        reader = hdf5_headers.open_headers(descriptor)
        for address in (*addresses, seed, 2**64 - 1 - seed) if reader else ():
            found = reader.attributes(address)
            outcomes[found is not None] += 1
        os.close(descriptor)
    assert outcomes[True] > 1000


@pytest.mark.parametrize(
    "damaged_files", [60, pytest.param(3000, marks=pytest.mark.slow)], ids=["60 files", "3,000"]
)
def test_damaged_files_are_read_as_hdf5_reads_them(tmp_path, damaged_files):
    paths = []
    for number in range(damaged_files):
        path = tmp_path / f"{number}.h5"
        write_file(path, range(number, number + 12), height=2, width=2, padded=number % 2 == 0)
        path.write_bytes(damage(path.read_bytes(), number, find_metadata(path)))
        paths.append(path)

    parts = [part for _, part in engine.run_tasks(compare_file, paths, 2)]

    readable = (part for part in parts if not isinstance(part, engine.Crashed))
    outcomes = functools.reduce(Counter.__add__, readable, Counter())
    print(f"{damaged_files} damaged files:", dict(outcomes))
    assert outcomes["equal"] > outcomes.total() // 2
    assert outcomes["given up"] + outcomes["refused by both"] > 0
