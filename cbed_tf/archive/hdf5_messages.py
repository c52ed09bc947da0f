"""Knows the messages of HDF5 object headers that h5py writes for a sample, and no others.

Pure functions of bytes for `hdf5_headers.py`, which finds the messages. None stands for everything
that is not exactly one of the known forms, whether HDF5 would understand it or not.

Covers, of the HDF5 File Format Specification Version 3.0: attribute messages (IV.A.2.m), dataspaces
(b) and datatypes (d), all version 1: little-endian 8-byte floats, also as 16-byte ones (see
`hdf5_attributes.py`), 4- and 8-byte integers, text of fixed and of variable length; and of datasets
float32 (d) without fill value (f, version 2) in contiguous layout (i, version 3).

Source: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import dataclasses
import functools
import math
import struct
from collections.abc import Mapping

import numpy as np

NIL, DATASPACE, DATATYPE, FILL_VALUE, LAYOUT = 0x00, 0x01, 0x03, 0x05, 0x08
ATTRIBUTE, CONTINUATION, SYMBOL_TABLE, MODIFICATION_TIME = 0x0C, 0x10, 0x11, 0x12
# Bytes, address of the collection, number in it: what stands for text in the global heap.
IN_HEAP = struct.Struct("<IQI")

_ATTRIBUTE = struct.Struct("<BBHHH")  # version, zero, bytes of name, datatype and dataspace
_DATASPACE = struct.Struct("<BBB5s")  # version, rank, whether largest extents follow, zeros
_FLOAT = struct.Struct("<4sIHHBBBBI")  # class, bytes, offset, precision, exponent, mantissa, bias
_CONTIGUOUS = struct.Struct("<BBQQ")  # version, class, address, bytes
_FLOAT32 = bytes.fromhex("11201f000400000000002000170800177f000000")
# Version 2, allocated late, written if set, and the default: what h5py writes without `fillvalue`.
_NO_FILL_VALUE = bytes.fromhex("0202020100000000")
_DOUBLE = bytes.fromhex("11203f000800000000004000340b0034ff030000")
_NUMBERS = {
    _DOUBLE: np.dtype("<f8"),
    bytes.fromhex("100800000800000000004000"): np.dtype("<i8"),
    bytes.fromhex("100800000400000000002000"): np.dtype("<i4"),
}
# Class 3 with any of three ways of padding, ASCII or UTF-8; the length follows.
_FIXED_TEXT = {bytes((0x13, bits, 0, 0)) for bits in (0x00, 0x01, 0x02, 0x10, 0x11, 0x12)}
# Class 9 of characters, ASCII or UTF-8.
_VARIABLE_TEXT = {
    bytes.fromhex(f"1901{characters}0010000000100000000100000000000800")
    for characters in ("00", "01")
}
# Both are HDF5's and numpy's limit, or far beyond what occurs.
_HIGHEST_RANK = 32
_LONGEST_HEAD = 512


@dataclasses.dataclass(frozen=True)
class Form:
    """What an attribute's message says of it before its value.

    Attributes:
      name: Its name.
      shape: Of its dataspace.
      dtype: Of its numbers, None for text.
      fixed_bytes: Length of text, 0 where it lies in the global heap.
      value_bytes: What its value takes in the message.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype | None
    fixed_bytes: int
    value_bytes: int


def head_bytes(block: bytes, start: int) -> int:
    """Returns how long an attribute message is before its value.

    Args:
      block: Holds the message.
      start: Where in it.

    Raises:
      struct.error: The bytes end before.
    """
    _, _, name_bytes, type_bytes, space_bytes = _ATTRIBUTE.unpack_from(block, start)
    return _ATTRIBUTE.size + round_up(name_bytes) + round_up(type_bytes) + round_up(space_bytes)


def attribute_form(head: bytes) -> Form | None:
    """Returns what an attribute's message says of it, from its first `head_bytes` bytes.

    Raises:
      ValueError: Its name is no UTF-8.
    """
    return _form_of(head) if len(head) <= _LONGEST_HEAD else None


# All samples of an archive share a few dozen heads, up to the lengths of their texts.
@functools.lru_cache(maxsize=1024)
def _form_of(head: bytes) -> Form | None:
    version, zero, name_bytes, type_bytes, space_bytes = _ATTRIBUTE.unpack_from(head)
    name, _, ends = head[_ATTRIBUTE.size :][:name_bytes].partition(b"\0")
    type_start = _ATTRIBUTE.size + round_up(name_bytes)
    datatype = head[type_start : type_start + type_bytes]
    space_start = type_start + round_up(type_bytes)
    shape = _shape_of(head[space_start : space_start + space_bytes])
    if version != 1 or zero or not name or len(name) + 1 != name_bytes or ends or shape is None:
        return None
    count = math.prod(shape)
    dtype = _NUMBERS.get(datatype)
    if dtype is not None:
        return Form(name.decode(), shape, dtype, 0, count * dtype.itemsize)
    if _is_padded_double(datatype):
        return Form(name.decode(), shape, _NUMBERS[_DOUBLE], 0, count * 16)
    if count != 1:
        return None
    if datatype in _VARIABLE_TEXT:
        return Form(name.decode(), shape, None, 0, IN_HEAP.size)
    if len(datatype) == 8 and datatype[:4] in _FIXED_TEXT:
        size = int.from_bytes(datatype[4:], "little")
        return Form(name.decode(), shape, None, size, size) if size else None
    return None


def _shape_of(dataspace: bytes) -> tuple[int, ...] | None:
    if len(dataspace) < _DATASPACE.size:
        return None
    version, rank, largest_follow, zeros = _DATASPACE.unpack_from(dataspace)
    extents = dataspace[_DATASPACE.size :]
    if version != 1 or rank > _HIGHEST_RANK or largest_follow > 1 or any(zeros):
        return None
    if len(extents) != 8 * rank * (1 + largest_follow):
        return None
    shape = struct.unpack_from(f"<{rank}Q", extents)
    if 0 in shape or (largest_follow and extents[: 8 * rank] != extents[8 * rank :]):
        return None
    return shape


def _is_padded_double(datatype: bytes) -> bool:
    """Tells little-endian floats of 16 bytes of which 8 count, whatever their fields' widths."""
    if len(datatype) != _FLOAT.size:
        return False
    kind, size, offset, precision, exponent, exponent_bits, mantissa, mantissa_bits, _ = (
        _FLOAT.unpack(datatype)
    )
    sign = kind[2]
    return (
        (kind[0], kind[1], kind[3]) == (0x11, 0x20, 0)
        and (size, offset, precision) == (16, 0, 64)
        and exponent_bits > 0
        and mantissa_bits > 0
        and mantissa + mantissa_bits <= exponent
        and exponent + exponent_bits <= sign < precision
    )


def contiguous_float32(messages: Mapping[int, bytes]) -> tuple[tuple[int, ...], int] | None:
    """Returns shape and address of a dataset's float32 values; None if it holds anything else.

    Args:
      messages: All messages of its header by kind.
    """
    if not {DATASPACE, DATATYPE, FILL_VALUE, LAYOUT} <= messages.keys():
        return None
    shape = _shape_of(messages[DATASPACE])
    if shape is None or messages[FILL_VALUE] != _NO_FILL_VALUE:
        return None
    if messages[DATATYPE][: len(_FLOAT32)] != _FLOAT32 or len(messages[LAYOUT]) < _CONTIGUOUS.size:
        return None
    version, layout_class, address, size = _CONTIGUOUS.unpack_from(messages[LAYOUT])
    if (version, layout_class, size) != (3, 1, 4 * math.prod(shape)):
        return None
    return shape, address


def round_up(size: int) -> int:
    """Returns a length with the zeros that follow it, as everything starts at multiples of 8."""
    return (size + 7) & ~7
