"""Reads attributes and places of values from the bytes of HDF5 object headers, without HDF5.

Asking HDF5 takes five times as long, as every question costs microseconds. This module knows the
few forms in which h5py writes a sample and gives up on everything else, for `hdf5.py` to ask HDF5
then: it returns what HDF5 would, or None. It raises nothing, whatever the bytes are: every length
is checked before it is used. What single messages say is known to `hdf5_messages.py`.

Covers, of the HDF5 File Format Specification Version 3.0: superblock version 0 (II.A), global heap
collections (III.E), object headers version 1 with continuation blocks (IV.A.1.a). Gives up on user
blocks, shared messages, attributes outside of the header, and headers with an unknown message.

Source: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

import math
import os
import struct
from collections.abc import Collection, Iterator

import numpy as np

from cbed_tf.archive import hdf5_messages as messages

# Signature, four versions that are 0 (and a byte that is), 8-byte offsets and lengths.
_SUPERBLOCK = b"\x89HDF\r\n\x1a\n" + bytes((0, 0, 0, 0, 0, 8, 8, 0))
_ADDRESSES = struct.Struct("<24xQQQQ")  # of the base, free space, the file's end, driver's block
_NOWHERE = 2**64 - 1
_HEADER = struct.Struct("<BxHxxxxIxxxx")  # version, messages, bytes of the first block
_MESSAGE = struct.Struct("<HHBxxx")  # kind, bytes, flags
_BLOCK = struct.Struct("<QQ")  # address, bytes
_COLLECTION = struct.Struct("<4sBxxxQ")  # signature, version, bytes
_HEAP_OBJECT = struct.Struct("<HxxxxxxQ")  # number, bytes

_OF_GROUPS = {messages.ATTRIBUTE, messages.SYMBOL_TABLE}
_OF_DATASETS = {
    *(messages.DATASPACE, messages.DATATYPE, messages.FILL_VALUE, messages.LAYOUT),
    messages.MODIFICATION_TIME,
}
# The only one that changes nothing: the message will not be written again.
_CONSTANT = 1

# HDF5 itself reads so much of a header whose size it does not know yet.
_FIRST_READ = 512
_MOST_BLOCKS = 64
_LARGEST_BLOCK = 1 << 17
# HDF5 makes none smaller.
_SMALLEST_COLLECTION = 1 << 12
_MOST_COLLECTIONS = 16


class _Unknown(Exception):
    """Not one of the forms that this module knows."""


# ValueError: text that is no UTF-8.
_GIVING_UP = (_Unknown, struct.error, ValueError, OSError, OverflowError)


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
            for kind, block, start, stop in self._messages(address, _OF_GROUPS):
                if kind != messages.ATTRIBUTE:
                    continue
                name, value = self._read_attribute(block, start, stop)
                if name in found:
                    return None
                found[name] = value
        except _GIVING_UP:
            return None
        return found

    def contiguous_float32(self, address: int) -> tuple[tuple[int, ...], int] | None:
        """Returns shape and address of a dataset's values; None if in doubt.

        They are then little-endian float32, in one piece, all of them within the file.

        Args:
          address: Of the dataset's object header, from HDF5, which has found the header sound.
        """
        found: dict[int, bytes] = {}
        try:
            for kind, block, start, stop in self._messages(address, _OF_DATASETS):
                if kind in found:
                    return None
                found[kind] = block[start:stop]
        except _GIVING_UP:
            return None
        place = messages.contiguous_float32(found)
        if place is None or place[1] + 4 * math.prod(place[0]) > self._end:
            return None
        return place

    def _messages(
        self, address: int, kinds: Collection[int]
    ) -> Iterator[tuple[int, bytes, int, int]]:
        """Yields kind, block, start and stop of each message, all of which must be of `kinds`."""
        head = self._read(address, min(_FIRST_READ, self._end - address))
        version, count, first_bytes = _HEADER.unpack_from(head)
        if version != 1:
            raise _Unknown
        first = head[_HEADER.size : _HEADER.size + first_bytes]
        if len(first) < first_bytes:
            first = self._read(address + _HEADER.size, first_bytes)
        blocks = [first]
        for block in blocks:  # which continuation messages make longer
            stop = 0
            while stop < len(block):
                kind, size, flags = _MESSAGE.unpack_from(block, stop)
                start = stop + _MESSAGE.size
                stop = start + size
                count -= 1
                if flags > _CONSTANT or size % 8 or stop > len(block):
                    raise _Unknown
                if kind in kinds:
                    yield kind, block, start, stop
                elif kind == messages.CONTINUATION and len(blocks) < _MOST_BLOCKS:
                    blocks.append(self._read(*_BLOCK.unpack_from(block, start)))
                elif kind != messages.NIL:
                    raise _Unknown
        if count != 0:
            raise _Unknown

    def _read_attribute(self, block: bytes, start: int, stop: int) -> tuple[str, np.ndarray | str]:
        place = start + messages.head_bytes(block, start)
        form = messages.attribute_form(block[start:place]) if place <= stop else None
        if form is None or place + form.value_bytes > stop:
            raise _Unknown
        if form.dtype is not None:
            return form.name, np.ndarray(form.shape, form.dtype, block, place)
        if form.fixed_bytes:
            return form.name, block[place : place + form.fixed_bytes].decode()
        return form.name, self._read_variable_text(*messages.IN_HEAP.unpack_from(block, place))

    def _read_variable_text(self, size: int, address: int, number: int) -> str:
        if address not in self._collections:
            if len(self._collections) >= _MOST_COLLECTIONS:
                self._collections.clear()
            self._collections[address] = self._read_collection(address)
        text = self._collections[address].get(number)
        # HDF5 ends such text at its first zero.
        if not text or len(text) != size or b"\0" in text:
            raise _Unknown
        return text.decode()

    def _read_collection(self, address: int) -> dict[int, bytes]:
        signature, version, size = _COLLECTION.unpack(self._read(address, _COLLECTION.size))
        if signature != b"GCOL" or version != 1 or size < _SMALLEST_COLLECTION:
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
        position = start + messages.round_up(size)
        if number in objects or position > len(collection):
            raise _Unknown
        objects[number] = collection[start : start + size]
    return objects
