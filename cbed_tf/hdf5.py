"""Reads CBED archives in HDF5; the only module that touches h5py.

Owns everything that is peculiar to the files: where samples hide, how their attributes are
encoded, where the bytes of a stack of patterns lie. Hands out plain Python and numpy values with
row k of every per-view quantity belonging to view k. Whether the values make sense is decided in
`checks.py`.
"""

import contextlib
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5t

from cbed_tf.errors import CbedError, SampleError
from cbed_tf.schema import ATTRIBUTES, IMAGE

_SAMPLE_PREFIX = "sample_"
# What HDF5 and h5py raise on broken files, depending on which layer notices first.
_READ_ERRORS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    MemoryError,
    OverflowError,
)
# The description of a type can be damaged too, and HDF5 converts from whatever it says.
_FLOATS = (
    *(h5t.IEEE_F64LE, h5t.IEEE_F32LE, h5t.IEEE_F16LE),
    *(h5t.IEEE_F64BE, h5t.IEEE_F32BE, h5t.IEEE_F16BE, h5t.NATIVE_LDOUBLE),
)


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
            self._has_user_block = self._file.userblock_size > 0
            self._bytes = self.path.stat().st_size
        except _READ_ERRORS as error:
            raise CbedError(f"{self.path} does not open as HDF5: {error}") from error
        self._last_group: tuple[str, h5g.GroupID] | None = None

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
            for name in _names_in(self._file, "", strangers):
                if name.startswith(_SAMPLE_PREFIX) or self._is_sample(name):
                    samples.append(name)
                elif self._is_group(name):
                    for child in _names_in(self._file[name], f"{name}/", strangers):
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
            shape, file_type = dataset.shape, dataset.get_type()
            if not any(map(file_type.equal, (h5t.IEEE_F32LE, h5t.IEEE_F32BE))):
                raise SampleError(f"{IMAGE} holds {_describe(file_type)}, should be float32")
            # None for all but contiguous data in this very file that was written.
            offset = dataset.get_offset()
            if offset is None:
                _refuse_unwritten(dataset)
            elif self._has_user_block or not file_type.equal(h5t.IEEE_F32LE):
                offset = None
        except _READ_ERRORS as error:
            raise SampleError(f"{IMAGE} cannot be read: {error}") from error
        if offset is not None and offset + 4 * math.prod(shape) > self._bytes:
            raise SampleError(f"{IMAGE} should reach from byte {offset} beyond the file's end")
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
        if self._last_group is None or self._last_group[0] != group:
            try:
                self._last_group = group, h5g.open(self._file.id, group.encode())
            except _READ_ERRORS as error:
                raise SampleError(f"the group cannot be opened: {error}") from error
        return self._last_group[1]

    def _stack_dataset(self, group: str) -> h5d.DatasetID:
        try:
            return h5d.open(self._open(group), IMAGE.encode())
        except _READ_ERRORS as error:
            raise SampleError(f"no dataset {IMAGE}: {error}") from error

    def _is_group(self, name: str) -> bool:
        return self._file.get(name, getclass=True) is h5py.Group

    def _is_sample(self, name: str) -> bool:
        return self._is_group(name) and IMAGE in self._file[name]


def _names_in(group: h5py.Group, prefix: str, strangers: dict[str, str]) -> Iterator[str]:
    """Yields the names in a group; h5py gives those that are no UTF-8 as bytes."""
    for name in group:
        if isinstance(name, str):
            yield name
        else:
            shown = name.decode(errors="backslashreplace")
            strangers[prefix + shown] = "its name is no UTF-8 text"


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


def _describe(file_type: h5t.TypeID) -> str:
    try:
        return file_type.dtype.name
    except (TypeError, ValueError):
        return "a strange type"


def _refuse_unwritten(dataset: h5d.DatasetID) -> None:
    """Refuses data that the writer announced and never wrote: HDF5 would answer with zeros."""
    if dataset.get_storage_size() == 0:
        raise SampleError(f"{IMAGE} was never written")
    properties = dataset.get_create_plist()
    if properties.get_layout() == h5d.CHUNKED:
        per_axis = zip(dataset.shape, properties.get_chunk(), strict=True)
        expected = math.prod(-(-extent // chunk) for extent, chunk in per_axis)
        written = dataset.get_num_chunks()
        if written < expected:
            raise SampleError(f"{IMAGE} was written in part: {written} of {expected} chunks")


class _Attribute:
    """An open attribute of a sample.

    Every question to HDF5 costs microseconds, and there are ten attributes a sample: the shape,
    twice as dear as the value, is asked for only where the number of elements leaves it open.

    Args:
      group_id: The sample.
      name: Of the attribute.

    Raises:
      SampleError: It does not exist.
    """

    def __init__(self, group_id: h5g.GroupID, name: str):
        self.name = name
        try:
            self._id = h5a.open(group_id, name.encode())
        except KeyError as error:
            raise SampleError(f"attribute {name} is missing") from error
        self._type = self._id.get_type()
        if isinstance(self._type, h5t.TypeStringID) and self._type.is_variable_str():
            self._count = self._id.get_space().get_simple_extent_npoints()
        else:
            self._count = self._id.get_storage_size() // self._type.get_size()

    def read_text(self) -> str:
        """Returns text, stored as bytes or str."""
        if not isinstance(self._type, h5t.TypeStringID):
            raise self._wrong_kind("text")
        self._refuse_several()
        if self._type.is_variable_str():
            value = self._read((), h5py.string_dtype(), None).item()
        else:
            value = self._read((), f"S{self._type.get_size()}", self._type).item()
        text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
        return text.rstrip("\0 ")

    def read_number_in_text(self) -> int:
        """Returns a number that the archive has as b'62', and derived files as 62."""
        if isinstance(self._type, h5t.TypeIntegerID):
            self._refuse_several()
            return int(self._read_integers(()).item())
        text = self.read_text()
        # int() would take '6_2', '+62' and other writing systems' digits.
        if not (text.isascii() and text.isdigit()):
            raise SampleError(f"attribute {self.name} is {text!r}, should be a whole number")
        return int(text)

    def read_vector(self) -> np.ndarray:
        """Returns numbers as float64, however they are stored."""
        return self._read_floats((self._count,))

    def read_scalar(self) -> float:
        """Returns one number."""
        self._refuse_several()
        return float(self._read_floats(()).item())

    def read_directions(self, integers: bool) -> np.ndarray:
        """Returns directions, int64 if they must be `integers`, else float64; row k is view k."""
        shape = self._id.shape
        if integers and not isinstance(self._type, h5t.TypeIntegerID):
            raise self._wrong_kind("integers")
        if len(shape) != 3 or shape[:2] != (1, 3):
            raise SampleError(f"attribute {self.name} has shape {shape}, should be (1, 3, views)")
        values = self._read_integers(shape) if integers else self._read_floats(shape)
        # The archive's writer stacked the vectors with np.dstack: direction k is column k.
        return values[0].T.copy()

    def _read_integers(self, shape: tuple[int, ...]) -> np.ndarray:
        if self._type.get_precision() != 8 * self._type.get_size():
            raise self._unusual()
        return self._read(shape, np.int64, h5t.NATIVE_INT64)

    def _read_floats(self, shape: tuple[int, ...]) -> np.ndarray:
        if isinstance(self._type, h5t.TypeIntegerID):
            return self._read_integers(shape).astype(np.float64)
        if not isinstance(self._type, h5t.TypeFloatID):
            raise self._wrong_kind("numbers")
        if self._type.get_size() == 16 and self._type.get_precision() == 64:
            return self._read_padded_floats(shape)
        if not any(map(self._type.equal, _FLOATS)):
            raise self._unusual()
        return self._read(shape, np.float64, h5t.NATIVE_DOUBLE)

    def _read_padded_floats(self, shape: tuple[int, ...]) -> np.ndarray:
        """Reads the 16-byte floats of the archive as it was written, on ppc64le.

        The type says 16 bytes an element, the buffer holds plain 8-byte little-endian doubles,
        packed from its start. HDF5's own conversion makes elements 0, 2, ... and then junk of it,
        so the raw bytes are taken as they are.
        """
        if self._type.get_order() != h5t.ORDER_LE:
            raise SampleError(f"attribute {self.name} has big-endian 16-byte floats")
        raw = self._read(shape, "V16", self._type)
        return np.ndarray(raw.shape, "<f8", raw.data)

    def _read(self, shape: tuple[int, ...], dtype: Any, memory_type: Any) -> np.ndarray:
        # h5py does not compare sizes here: `shape` must have the attribute's number of elements.
        values = np.empty(shape, dtype)
        self._id.read(values, mtype=memory_type)
        return values

    def _refuse_several(self) -> None:
        if self._count != 1:
            raise SampleError(f"attribute {self.name} has shape {self._id.shape}, should be ()")

    def _unusual(self) -> SampleError:
        return SampleError(f"attribute {self.name} has numbers of an unusual form")

    def _wrong_kind(self, expected: str) -> SampleError:
        kinds = {h5t.INTEGER: "integer", h5t.FLOAT: "float", h5t.STRING: "text"}
        kind = kinds.get(self._type.get_class(), "of a strange type")
        return SampleError(f"attribute {self.name} is {kind}, should be {expected}")


_READERS: dict[str, Callable[[_Attribute], Any]] = {
    "space_group": _Attribute.read_number_in_text,
    "material": _Attribute.read_text,
    "formula": _Attribute.read_text,
    "energy_keV": _Attribute.read_scalar,
    "z_dirs": functools.partial(_Attribute.read_directions, integers=True),
    "y_dirs": functools.partial(_Attribute.read_directions, integers=False),
}


def _read_attribute(group_id: h5g.GroupID, name: str) -> Any:
    try:
        attribute = _Attribute(group_id, name)
        return _READERS.get(name, _Attribute.read_vector)(attribute)
    except SampleError:
        raise
    except _READ_ERRORS as error:
        raise SampleError(f"attribute {name} cannot be read: {error}") from error
