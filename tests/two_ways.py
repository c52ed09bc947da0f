"""Reads samples from the bytes of their headers and through HDF5, and compares.

HDF5 may die on a damaged file, or never return: call `compare_file` through `engine.run_tasks`.
"""

from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from cbed_tf.archive.hdf5_attributes import READ_ERRORS, convert_stored, read_attribute
from cbed_tf.archive.hdf5_headers import open_headers
from cbed_tf.errors import SampleError
from cbed_tf.schema import ATTRIBUTES


def read_from_header(group):
    """What the header reader makes of a group's attributes; None where it gives up."""
    reader = open_headers(group.file.id.get_vfd_handle())
    stored = reader.attributes(h5py.h5g.get_objinfo(group.id).objno[0]) if reader else None
    return None if stored is None else convert_stored(stored)


def place_from_header(group):
    """Shape and address of a group's patterns; None where the header reader gives up."""
    reader = open_headers(group.file.id.get_vfd_handle())
    try:
        address = h5py.h5g.get_objinfo(group.id, b"cbed_stack").objno[0]
    except READ_ERRORS:
        return None
    return reader.contiguous_float32(address) if reader else None


def place_through_hdf5(group):
    """The same through HDF5; None where there are no contiguous patterns in float32."""
    try:
        dataset = group["cbed_stack"]
        offset = dataset.id.get_offset()
        assert dataset.id.get_type().equal(h5py.h5t.IEEE_F32LE)
        return None if offset is None else (dataset.shape, offset)
    except (AssertionError, *READ_ERRORS):
        return None


def read_through_hdf5(group):
    """The same through HDF5; None where that refuses an attribute."""
    try:
        return {field.name: read_attribute(group.id, field.name) for field in ATTRIBUTES}
    except SampleError:
        return None


def assert_equal(found, expected):
    """Fails unless names, their order, types, shapes, layout and bits are the same."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert type(found[name]) is type(value), name
        if isinstance(value, np.ndarray):
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
            assert found[name].tobytes() == value.tobytes(), name
            assert found[name].flags.carray == value.flags.carray, name
        else:
            assert repr(found[name]) == repr(value), name  # not-a-number too


def compare_file(path: Path) -> Counter:
    """Counts what became of a file's samples; fails where the header reader makes up a value."""
    outcomes = Counter()
    try:
        with h5py.File(path) as file:
            for group in map(file.get, list(file)):
                if isinstance(group, h5py.Group):
                    outcomes[_compare_group(group)] += 1
    except READ_ERRORS:
        outcomes["not readable"] += 1
    return outcomes


def _compare_group(group):
    place = place_from_header(group)
    assert place is None or place == place_through_hdf5(group), f"{group.name} is not there"
    found, expected = read_from_header(group), read_through_hdf5(group)
    if found is None:
        return "given up" if expected else "refused by both"
    assert expected is not None, f"{group.name} made up"
    assert_equal(found, expected)
    return "equal"
