"""Reads the attributes of a sample, in every encoding in which they occur.

Owns what is peculiar about them: 16-byte floats that are none, directions by column, text as bytes
or str, numbers in text.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5g, h5t

from cbed_tf.errors import SampleError
from cbed_tf.schema import ATTRIBUTES

# What HDF5 and h5py raise on broken files, depending on which layer notices first.
READ_ERRORS = (
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


def read_attribute(group_id: h5g.GroupID, name: str) -> Any:
    """Returns an attribute of a sample, as `hdf5.ArchiveFile.attributes` describes it.

    Raises:
      SampleError: It is missing, is not of its kind, or cannot be read.
    """
    try:
        attribute = _Attribute(group_id, name)
        return _READERS.get(name, _Attribute.read_vector)(attribute)
    except SampleError:
        raise
    except READ_ERRORS as error:
        raise SampleError(f"attribute {name} cannot be read: {error}") from error


def convert_stored(stored: Mapping[str, np.ndarray | str]) -> dict[str, Any] | None:
    """Returns all attributes of a sample from what `hdf5_headers.HeaderReader` found.

    Equals what `read_attribute` gives, one by one; None where that would raise, for it to tell what
    is wrong.
    """
    attributes = {}
    for field in ATTRIBUTES:
        value = _CONVERTERS.get(field.name, _to_vector)(stored.get(field.name))
        if value is None:
            return None
        attributes[field.name] = value
    return attributes


def _to_text(value: object) -> str | None:
    return value.rstrip("\0 ") if isinstance(value, str) else None


def _to_number(value: object) -> int | None:
    if isinstance(value, np.ndarray):
        return int(value.item()) if value.size == 1 and value.dtype.kind == "i" else None
    text = _to_text(value)
    # Longer ones are no space group, and int() refuses thousands of digits.
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def _to_scalar(value: object) -> float | None:
    return float(value.item()) if isinstance(value, np.ndarray) and value.size == 1 else None


def _to_vector(value: object) -> np.ndarray | None:
    return value.astype(np.float64).reshape(-1) if isinstance(value, np.ndarray) else None


def _to_directions(kinds: str, value: object) -> np.ndarray | None:
    if not isinstance(value, np.ndarray) or value.ndim != 3 or value.shape[:2] != (1, 3):
        return None
    if value.dtype.kind not in kinds:
        return None
    # Direction k is column k, as in `_Attribute.read_directions`.
    return value[0].T.astype(np.int64 if kinds == "i" else np.float64, order="C")


_CONVERTERS: dict[str, Callable[[object], Any]] = {
    "space_group": _to_number,
    "material": _to_text,
    "formula": _to_text,
    "energy_keV": _to_scalar,
    "z_dirs": functools.partial(_to_directions, "i"),
    "y_dirs": functools.partial(_to_directions, "if"),
}
