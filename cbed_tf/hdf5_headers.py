"""Reads the attributes of a group from the bytes of its HDF5 object header, without HDF5.

Asking HDF5 for ten attributes takes ten times as long. This module knows the few forms in which
h5py writes them and gives up on everything else, for `hdf5.py` to ask HDF5 then: it returns what
HDF5 would, or None. It raises nothing, whatever the bytes are: every length is checked first, and
what is not exactly one of the known forms is unknown. What the values mean is left to
`hdf5_attributes.py`.

Covers, of the HDF5 File Format Specification Version 3.0: superblock version 0 (II.A), global heap
collections (III.E), object headers version 1 with continuation blocks (IV.A.1.a), and version 1 of
dataspace, datatype and attribute messages (IV.A.2.b, d, m). Gives up on user blocks, shared
messages, attributes that do not lie in the header, and headers with any other kind of message.

Source: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import dataclasses
import functools
import math
import os
import struct
from collections.abc import Iterator

import numpy as np

# Signature, four versions that are 0 (and a byte that is), 8-byte offsets and lengths.
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + bytes((0, 0, 0, 0, 0, 8, 8, 0))
_ADDRESSES = struct.Struct("<24xQQQQ")  # of the base, free space, the file's end, driver's block
_NOWHERE = 2**64 - 1
_HEADER = struct.Struct("<BxHxxxxIxxxx")  # version, messages, bytes of the first block
_MESSAGE = struct.Struct("<HHBxxx")  # kind, bytes, flags
_BLOCK = struct.Struct("<QQ")  # address, bytes
_ATTRIBUTE = struct.Struct("<BBHHH")  # version, zero, bytes of name, datatype and dataspace
_DATASPACE = struct.Struct("<BBB5s")  # version, rank, whether largest extents follow, zeros
_FLOAT = struct.Struct("<4sIHHBBBBI")  # class, bytes, offset, precision, exponent, mantissa, bias
_IN_HEAP = struct.Struct("<IQI")  # bytes, address of the collection, number in it
_COLLECTION = struct.Struct("<4sBxxxQ")  # signature, version, bytes
_HEAP_OBJECT = struct.Struct("<HxxxxxxQ")  # number, bytes

_NIL, _ATTRIBUTE_KIND, _CONTINUATION, _SYMBOL_TABLE = 0x00, 0x0C, 0x10, 0x11
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
    bytes.fromhex(f"1901{characters}0010000000 100000000100000000000800")
    for characters in ("00", "01")
}

# HDF5 itself reads so much of a header whose size it does not know yet.
_FIRST_READ = 512
_MOST_BLOCKS = 64
_LARGEST_BLOCK = 1 << 17
_LONGEST_HEAD = 512
_LARGEST_COLLECTION = 1 << 17
_MOST_COLLECTIONS = 16


class _Unknown(Exception):
    """Not one of the forms that this module knows."""


@dataclasses.dataclass(frozen=True)
class _Form:
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


class HeaderReader:
    """Reads object headers of one file; `open_headers` makes it.

    Args:
      descriptor: Of the file, open for reading as long as this reader is used.
      end: The end of the file as its superblock has it.
    """

    def __init__(self, descriptor: int, end: int):
        self._descriptor = descriptor
        self._end = end
        # Several samples' texts lie in one collection of 4 KiB.
        self._collections: dict[int, dict[int, bytes]] = {}

    def attributes(self, address: int) -> dict[str, np.ndarray | str] | None:
        """Returns all attributes of a group: read-only arrays and text; None if in doubt.

        16-byte floats over packed doubles, see `hdf5_attributes.py`, are given as these doubles.

        Args:
          address: Of the group's object header, from HDF5, which has found the header sound.
        """
        found: dict[str, np.ndarray | str] = {}
        try:
            for block, start, size in self._attribute_messages(address):
                name, value = self._read_attribute(block, start, size)
                if name in found:
                    return None
                found[name] = value
        except (_Unknown, struct.error, UnicodeDecodeError, OSError, OverflowError):
            return None
        return found

    def _attribute_messages(self, address: int) -> Iterator[tuple[bytes, int, int]]:
        """Yields block, start and size of each attribute's message."""
        head = self._read(address, min(_FIRST_READ, self._end - address))
        version, messages, first_bytes = _HEADER.unpack_from(head)
        if version != 1:
            raise _Unknown
        known = head[_HEADER.size : _HEADER.size + first_bytes]
        if len(known) < first_bytes:
            known = self._read(address + _HEADER.size, first_bytes)
        blocks = [known]
        for block in blocks:  # which continuation messages make longer
            position = 0
            while position < len(block):
                kind, size, flags = _MESSAGE.unpack_from(block, position)
                start = position + _MESSAGE.size
                position = start + size
                messages -= 1
                if flags or size % 8 or position > len(block):
                    raise _Unknown
                if kind == _ATTRIBUTE_KIND:
                    yield block, start, size
                elif kind == _CONTINUATION and size >= _BLOCK.size and len(blocks) < _MOST_BLOCKS:
                    blocks.append(self._read(*_BLOCK.unpack_from(block, start)))
                elif kind not in (_NIL, _SYMBOL_TABLE):
                    raise _Unknown
        if messages != 0:
            raise _Unknown

    def _read_attribute(self, block: bytes, start: int, size: int) -> tuple[str, np.ndarray | str]:
        _, _, name_bytes, type_bytes, space_bytes = _ATTRIBUTE.unpack_from(block, start)
        place = start + _ATTRIBUTE.size + _up(name_bytes) + _up(type_bytes) + _up(space_bytes)
        form = _form_of(block[start:place]) if place - start <= min(size, _LONGEST_HEAD) else None
        if form is None or place + form.value_bytes > start + size:
            raise _Unknown
        if form.dtype is not None:
            return form.name, np.ndarray(form.shape, form.dtype, block, place)
        if form.fixed_bytes:
            return form.name, block[place : place + form.fixed_bytes].decode()
        return form.name, self._read_variable_text(*_IN_HEAP.unpack_from(block, place))

    def _read_variable_text(self, size: int, address: int, number: int) -> str:
        if address not in self._collections:
            if len(self._collections) >= _MOST_COLLECTIONS:
                self._collections.clear()
            self._collections[address] = self._read_collection(address)
        text = self._collections[address].get(number, b"")
        # HDF5 ends such text at its first zero.
        if not text or len(text) != size or b"\0" in text:
            raise _Unknown
        return text.decode()

    def _read_collection(self, address: int) -> dict[int, bytes]:
        signature, version, size = _COLLECTION.unpack(self._read(address, _COLLECTION.size))
        if signature != b"GCOL" or version != 1 or size > _LARGEST_COLLECTION:
            raise _Unknown
        return _split_collection(self._read(address, size))

    def _read(self, address: int, size: int) -> bytes:
        if not 0 < size <= min(_LARGEST_BLOCK, self._end - address):
            raise _Unknown
        content = os.pread(self._descriptor, size, address)
        if len(content) != size:
            raise _Unknown
        return content


def open_headers(descriptor: int) -> HeaderReader | None:
    """Returns a reader of an HDF5 file's headers; None if it is not one of the known form."""
    try:
        superblock = os.pread(descriptor, _ADDRESSES.size, 0)
    except OSError:
        return None
    if len(superblock) < _ADDRESSES.size or not superblock.startswith(_SUPERBLOCK):
        return None
    base, _, end, driver = _ADDRESSES.unpack(superblock)
    return HeaderReader(descriptor, end) if base == 0 and driver == _NOWHERE else None


# All samples of an archive share a few dozen heads, up to the lengths of their texts.
@functools.lru_cache(maxsize=1024)
def _form_of(head: bytes) -> _Form | None:
    version, zero, name_bytes, type_bytes, space_bytes = _ATTRIBUTE.unpack_from(head)
    name, _, ends = head[_ATTRIBUTE.size :][:name_bytes].partition(b"\0")
    type_start = _ATTRIBUTE.size + _up(name_bytes)
    datatype = head[type_start : type_start + type_bytes]
    space_start = type_start + _up(type_bytes)
    shape = _shape_of(head[space_start : space_start + space_bytes])
    if version != 1 or zero or not name or len(name) + 1 != name_bytes or ends or shape is None:
        return None
    count = math.prod(shape)
    dtype = _NUMBERS.get(datatype)
    if dtype is not None:
        return _Form(name.decode(), shape, dtype, 0, count * dtype.itemsize)
    if _is_padded_double(datatype):
        return _Form(name.decode(), shape, _NUMBERS[_DOUBLE], 0, count * 16)
    if count != 1:
        return None
    if datatype in _VARIABLE_TEXT:
        return _Form(name.decode(), shape, None, 0, _IN_HEAP.size)
    if len(datatype) == 8 and datatype[:4] in _FIXED_TEXT:
        size = int.from_bytes(datatype[4:], "little")
        return _Form(name.decode(), shape, None, size, size) if size else None
    return None


def _shape_of(dataspace: bytes) -> tuple[int, ...] | None:
    if len(dataspace) < _DATASPACE.size:
        return None
    version, rank, largest_follow, zeros = _DATASPACE.unpack_from(dataspace)
    extents = dataspace[_DATASPACE.size :]
    if version != 1 or largest_follow > 1 or any(zeros):
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


def _split_collection(collection: bytes) -> dict[int, bytes]:
    objects: dict[int, bytes] = {}
    position = _COLLECTION.size
    while position + _HEAP_OBJECT.size <= len(collection):
        number, size = _HEAP_OBJECT.unpack_from(collection, position)
        if number == 0:  # free space, to the end
            if position + size != len(collection):
                raise _Unknown
            break
        start = position + _HEAP_OBJECT.size
        position = start + _up(size)
        if number in objects or position > len(collection):
            raise _Unknown
        objects[number] = collection[start : start + size]
    return objects


def _up(size: int) -> int:
    return (size + 7) & ~7
