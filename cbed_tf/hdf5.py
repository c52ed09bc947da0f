"""Reads CBED archives in HDF5; the only module that touches h5py.

Owns everything that is peculiar to the files: where samples hide, how their attributes are
encoded, where the bytes of a stack of patterns lie. Hands out plain Python and numpy values with
row k of every per-view quantity belonging to view k. Whether the values make sense is decided in
`checks.py`.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5t

from cbed_tf.errors import CbedError, SampleError
from cbed_tf.schema import ATTRIBUTES, IMAGE, IMAGE_DTYPE

_SAMPLE_PREFIX = "sample_"
_DIRECTIONS = ("z_dirs", "y_dirs")
_INTEGERS = ("space_group", "z_dirs")
# What HDF5 and h5py raise on broken files, depending on which layer notices first.
_READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)


@dataclasses.dataclass(frozen=True)
class Stack:
    """Where a sample's patterns lie.

    Attributes:
      shape: (views, height, width).
      offset: Position of the bytes in the file if they lie there in one piece as little-endian
        float32, so that a positioned read gets them without HDF5; None if only HDF5 can read them.
    """

    shape: tuple[int, ...]
    offset: int | None


class ArchiveFile:
    """An open HDF5 file of samples; use it as a context manager.

    Args:
      path: The file.
      swmr: Open in single-writer multiple-reader mode, as the archive's documentation does.

    Raises:
      CbedError: The file does not open.
    """

    def __init__(self, path: str | os.PathLike, swmr: bool = False):
        self.path = Path(path)
        try:
            # Locking fails on read-only mounts and many parallel file systems; nothing here writes.
            self._file = h5py.File(self.path, "r", locking=False, swmr=swmr)
        except _READ_ERRORS as error:
            raise CbedError(f"{self.path} does not open as HDF5: {error}") from error

    def __enter__(self) -> "ArchiveFile":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def groups(self) -> tuple[list[str], dict[str, str]]:
        """Returns the names of all sample groups, and of objects that are none with the reason.

        Samples lie at the top level ('sample_0_0') or one group down ('batch/sample_0_0').

        Raises:
          CbedError: The file's list of contents cannot be read.
        """
        samples: list[str] = []
        strangers: dict[str, str] = {}
        try:
            for name in self._file:
                if name.startswith(_SAMPLE_PREFIX) or self._is_sample(name):
                    samples.append(name)
                elif self._is_group(name):
                    for child in self._file[name]:
                        path = f"{name}/{child}"
                        if child.startswith(_SAMPLE_PREFIX) or self._is_sample(path):
                            samples.append(path)
                        else:
                            strangers[path] = f"neither a sample nor a group of samples: no {IMAGE}"
                else:
                    strangers[name] = "neither a sample nor a group of samples: no group"
        except _READ_ERRORS as error:
            raise CbedError(f"{self.path}: the list of samples cannot be read: {error}") from error
        return samples, strangers

    def attributes(self, group: str) -> dict[str, Any]:
        """Returns the attributes of one sample, keyed as in `schema.ATTRIBUTES`.

        `space_group` is int, `material` and `formula` str, `energy_keV` float, `z_dirs` int64 and
        `y_dirs` float64 of shape (views, 3) with **row k of view k** (the file has them by column),
        the others float64 vectors. Floats are the file's doubles, bit by bit.

        Raises:
          SampleError: An attribute is missing or is not of its kind.
        """
        group_id = self._open(group)
        return {field.name: _read_attribute(group_id, field.name) for field in ATTRIBUTES}

    def stack(self, group: str) -> Stack:
        """Returns shape and place of a sample's patterns.

        Raises:
          SampleError: There are none, they are not float32, or they were never written.
        """
        dataset = self._stack_dataset(group)
        try:
            shape, dtype = dataset.shape, dataset.dtype
            properties = dataset.get_create_plist()
            _refuse_unwritten(dataset, properties)
            in_one_piece = (
                properties.get_layout() == h5d.CONTIGUOUS
                and properties.get_external_count() == 0
                and self._file.userblock_size == 0
                and dtype == IMAGE_DTYPE
            )
            offset = dataset.get_offset() if in_one_piece else None
        except _READ_ERRORS as error:
            raise SampleError(f"{IMAGE} cannot be read: {error}") from error
        if dtype.kind != "f" or dtype.itemsize != 4:
            raise SampleError(f"{IMAGE} holds {dtype.name}, should be float32")
        return Stack(shape, offset)

    def read_stack(self, group: str, out: np.ndarray) -> None:
        """Reads a sample's patterns through HDF5 into `out`, float32 of the stack's shape.

        Raises:
          SampleError: They cannot be read, or have another shape.
        """
        dataset = self._stack_dataset(group)
        try:
            if dataset.shape != out.shape:
                raise SampleError(f"{IMAGE} has shape {dataset.shape}, should be {out.shape}")
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, out)
        except _READ_ERRORS as error:
            raise SampleError(f"{IMAGE} cannot be read: {error}") from error

    def _open(self, group: str) -> h5g.GroupID:
        try:
            return h5g.open(self._file.id, group.encode())
        except _READ_ERRORS as error:
            raise SampleError(f"the group cannot be opened: {error}") from error

    def _stack_dataset(self, group: str) -> h5d.DatasetID:
        try:
            return h5d.open(self._open(group), IMAGE.encode())
        except _READ_ERRORS as error:
            raise SampleError(f"no dataset {IMAGE}: {error}") from error

    def _is_group(self, name: str) -> bool:
        return self._file.get(name, getclass=True) is h5py.Group

    def _is_sample(self, name: str) -> bool:
        return self._is_group(name) and IMAGE in self._file[name]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_stack(path: Path, group: str, offset: int | None, out: np.ndarray, swmr: bool) -> None:
    """Reads one sample's patterns into `out`, by a positioned read where the place is known.

    A positioned read costs half of `h5py`'s: no copy, no search for the dataset.

    Args:
      path: The HDF5 file.
      group: The sample's group in it.
      offset: `Stack.offset` of the sample.
      out: Contiguous float32 array of the stack's shape.
      swmr: As in `ArchiveFile`.

    Raises:
      SampleError: The patterns cannot be read in full.
    """
    if offset is None:
        try:
            with ArchiveFile(path, swmr) as archive_file:
                archive_file.read_stack(group, out)
        except SampleError:
            raise
        except CbedError as error:
            raise SampleError(str(error)) from error
        return
    target = memoryview(out).cast("B")
    done = 0
    try:
        with _opened(path) as descriptor:
            while done < len(target):
                count = os.preadv(descriptor, [target[done:]], offset + done)
                if count == 0:
                    raise SampleError(f"{IMAGE} ends after {done} of {len(target)} bytes")
                done += count
    except OSError as error:
        raise SampleError(f"{IMAGE} cannot be read: {error}") from error


def _refuse_unwritten(dataset: h5d.DatasetID, properties: h5py.h5p.PropDCID) -> None:
    """Refuses data that the writer announced and never wrote: HDF5 would answer with zeros."""
    if dataset.get_storage_size() == 0:
        raise SampleError(f"{IMAGE} was never written")
    if properties.get_layout() == h5d.CHUNKED:
        per_axis = zip(dataset.shape, properties.get_chunk(), strict=True)
        expected = int(np.prod([-(-extent // chunk) for extent, chunk in per_axis]))
        if dataset.get_num_chunks() < expected:
            raise SampleError(
                f"{IMAGE} was written in part: {dataset.get_num_chunks()} of {expected} chunks"
            )


def _read_attribute(group_id: h5g.GroupID, name: str) -> Any:
    try:
        if not h5a.exists(group_id, name.encode()):
            raise SampleError(f"attribute {name} is missing")
        attribute = h5a.open(group_id, name.encode())
        if name in ("material", "formula"):
            return _read_text(attribute)
        if name == "space_group":
            return _read_number_in_text(attribute)
        values = _read_numbers(attribute, integers=name in _INTEGERS)
    except SampleError:
        raise
    except _READ_ERRORS as error:
        raise SampleError(f"attribute {name} cannot be read: {error}") from error
    if name in _DIRECTIONS:
        return _directions_by_row(name, values)
    return float(values.reshape(-1)[0]) if name == "energy_keV" and values.size == 1 else values


def _directions_by_row(name: str, values: np.ndarray) -> np.ndarray:
    # The archive's writer stacked the direction vectors with np.dstack: direction k is column k.
    if values.ndim == 3 and values.shape[:2] == (1, 3):
        return np.ascontiguousarray(values[0].T)
    raise SampleError(f"attribute {name} has shape {values.shape}, should be (1, 3, views)")


def _read_text(attribute: h5a.AttrID) -> str:
    file_type = attribute.get_type()
    if not isinstance(file_type, h5t.TypeStringID):
        raise SampleError(f"attribute {_name(attribute)} is {_kind(file_type)}, should be text")
    if attribute.get_space().get_simple_extent_npoints() != 1:
        raise SampleError(f"attribute {_name(attribute)} has shape {attribute.shape}, should be ()")
    if file_type.is_variable_str():
        values = np.empty(attribute.shape, dtype=h5py.string_dtype())
        attribute.read(values)
    else:
        values = np.empty(attribute.shape, dtype=f"S{file_type.get_size()}")
        attribute.read(values, mtype=file_type)
    value = values.reshape(-1)[0]
    text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
    return text.rstrip("\0 ")


def _read_number_in_text(attribute: h5a.AttrID) -> int:
    """Reads `space_group`: the archive has b'62', derived files have 62."""
    if isinstance(attribute.get_type(), h5t.TypeIntegerID):
        values = _read_numbers(attribute, integers=True)
        if values.size != 1:
            raise SampleError(
                f"attribute {_name(attribute)} has shape {values.shape}, should be ()"
            )
        return int(values.reshape(-1)[0])
    text = _read_text(attribute)
    # int() would take '6_2', '+62' and other writing systems' digits.
    if not (text.isascii() and text.isdigit()):
        raise SampleError(f"attribute {_name(attribute)} is {text!r}, should be 1 to 230")
    return int(text)


def _read_numbers(attribute: h5a.AttrID, integers: bool) -> np.ndarray:
    """Returns an attribute as int64 or float64, whichever way its floats are stored.

    The archive was written on ppc64le. Its float attributes carry a 16-byte float type over a
    buffer of plain 8-byte little-endian doubles, packed from the start: HDF5's own conversion makes
    elements 0, 2, ... and then junk of it, so the raw bytes are taken as they are.
    """
    file_type = attribute.get_type()
    if isinstance(file_type, h5t.TypeIntegerID):
        values = np.empty(attribute.shape, np.int64)
        attribute.read(values, mtype=h5t.NATIVE_INT64)
        return values if integers else values.astype(np.float64)
    if integers or not isinstance(file_type, h5t.TypeFloatID):
        expected = "integers" if integers else "numbers"
        raise SampleError(
            f"attribute {_name(attribute)} is {_kind(file_type)}, should be {expected}"
        )
    if file_type.get_size() == 16 and file_type.get_precision() == 64:
        if file_type.get_order() != h5t.ORDER_LE:
            raise SampleError(f"attribute {_name(attribute)} has big-endian 16-byte floats")
        raw = np.empty(attribute.shape, "V16")
        attribute.read(raw, mtype=file_type)
        return raw.reshape(-1).view("<f8")[: raw.size].reshape(raw.shape).astype(np.float64)
    values = np.empty(attribute.shape, np.float64)
    attribute.read(values, mtype=h5t.NATIVE_DOUBLE)
    return values


def _name(attribute: h5a.AttrID) -> str:
    return attribute.name.decode()


def _kind(file_type: h5t.TypeID) -> str:
    return {h5t.INTEGER: "integer", h5t.FLOAT: "float", h5t.STRING: "text"}.get(
        file_type.get_class(), "of a strange type"
    )
