"""Encodes samples as TFRecord files of tf.train.Example, and reads them back, without TensorFlow.

Framing by hand, the patterns as the last feature, so that a stack is written from the buffer that
it was read into and its position in the shard is known: two to three times as fast as building
protos. The format is TensorFlow's own; `tests/cbed_tf/dataset/test_record.py` compares.

Source: tensorflow/core/example/{example,feature}.proto, tensorflow/core/lib/io/record_writer.h.
"""

import dataclasses
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from crc32c import crc32c

from cbed_tf.dataset.joined_crc import join_crcs
from cbed_tf.errors import CbedError
from cbed_tf.schema import FIELDS, IMAGE, Field

# Protocol buffer keys: field number << 3 | wire type 2 (length-delimited).
_EXAMPLE_FEATURES = _MAP_ENTRY = _ENTRY_KEY = _LIST_VALUE = b"\x0a"
_ENTRY_FEATURE = b"\x12"
_FEATURE_OF_DTYPE = {"bytes": b"\x0a", "float32": b"\x12", "int64": b"\x1a"}
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
HEADER_BYTES = _LENGTH.size + _CRC.size
_MASK_DELTA = 0xA282EAD8


def encode_head(
    sample: Mapping[str, Any], image_bytes: int, fields: Sequence[Field] = FIELDS
) -> bytes:
    """Returns the serialized example of a sample up to the bytes of its patterns.

    Args:
      sample: Values of all fields, as rows of index columns.
      image_bytes: Length of what follows the head: the patterns, which end the example.
      fields: What stands beside the patterns; `Encoding.fields`.
    """
    entries = b"".join(
        _entry(field.name, _FEATURE_OF_DTYPE[field.dtype], _encode_values(field, sample))
        for field in fields
    )
    list_head = _LIST_VALUE + _varint(image_bytes)
    list_bytes = len(list_head) + image_bytes
    feature_head = _FEATURE_OF_DTYPE["bytes"] + _varint(list_bytes) + list_head
    feature_bytes = len(feature_head) + image_bytes
    key = _delimited(_ENTRY_KEY, IMAGE.encode())
    entry_head = key + _ENTRY_FEATURE + _varint(feature_bytes) + feature_head
    image_entry = _MAP_ENTRY + _varint(len(entry_head) + image_bytes) + entry_head
    features_bytes = len(entries) + len(image_entry) + image_bytes
    return _EXAMPLE_FEATURES + _varint(features_bytes) + entries + image_entry


def frame(head: bytes, image: memoryview, crc: int = 0) -> tuple[list[bytes | memoryview], int]:
    """Frames an example as a record.

    Args:
      head: Of the example, from `encode_head`.
      image: Bytes of the patterns.
      crc: CRC-32C of all records before it.

    Returns:
      The buffers that, written one after the other, make the record, and the CRC-32C of all records
      with it.
    """
    size = len(head) + len(image)
    length = _LENGTH.pack(size)
    before = length + _CRC.pack(_mask(crc32c(length)))
    crc_of_example = crc32c(image, crc32c(head))
    after = _CRC.pack(_mask(crc_of_example))
    # The patterns are read once for both checksums.
    crc = crc32c(after, join_crcs(crc32c(before, crc), crc_of_example, size))
    return [before + head, image, after], crc


@dataclasses.dataclass(frozen=True)
class Record:
    """A record as found in a shard.

    Attributes:
      sample: Values of all fields, of their dtypes, shapes flattened.
      image: The bytes of its patterns.
      image_offset: Position of `image` in the file.
    """

    sample: dict[str, Any]
    image: memoryview
    image_offset: int


def read_records(
    stream: BinaryIO, path: Path, fields: Sequence[Field] = FIELDS
) -> Iterator[Record]:
    """Yields every record of a shard, its checksums verified.

    Args:
      stream: The shard, at its start.
      path: Its name, for messages.
      fields: What its records hold beside the patterns; `Encoding.fields`.

    Raises:
      CbedError: The shard ends within a record, a checksum differs, or a record is no sample;
        names the shard and the byte at which the record starts.
    """
    start = 0
    while header := stream.read(HEADER_BYTES):
        try:
            payload = _read_payload(stream, header)
            sample, image, offset = _decode_example(memoryview(payload), fields)
        except (ValueError, IndexError, struct.error) as error:
            raise CbedError(f"{path}: the record at byte {start} is damaged: {error}") from error
        yield Record(sample, image, start + HEADER_BYTES + offset)
        start += HEADER_BYTES + len(payload) + _CRC.size


def _read_payload(stream: BinaryIO, header: bytes) -> bytes:
    if len(header) < HEADER_BYTES:
        raise ValueError("the file ends within its header")
    length_bytes, crc_of_length = header[: _LENGTH.size], header[_LENGTH.size :]
    if _CRC.unpack(crc_of_length)[0] != _mask(crc32c(length_bytes)):
        raise ValueError("the checksum of its length differs")
    (length,) = _LENGTH.unpack(length_bytes)
    payload, footer = stream.read(length), stream.read(_CRC.size)
    if len(payload) < length or len(footer) < _CRC.size:
        raise ValueError("the file ends within it")
    if _CRC.unpack(footer)[0] != _mask(crc32c(payload)):
        raise ValueError("its checksum differs")
    return payload


def _mask(crc: int) -> int:
    rotated = (crc >> 15) | (crc << 17)
    return (rotated + _MASK_DELTA) & 0xFFFFFFFF


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _delimited(key: bytes, content: bytes) -> bytes:
    return key + _varint(len(content)) + content


def _entry(name: str, feature_key: bytes, values: bytes) -> bytes:
    feature = _delimited(feature_key, _delimited(_LIST_VALUE, values))
    key = _delimited(_ENTRY_KEY, name.encode())
    return _delimited(_MAP_ENTRY, key + _delimited(_ENTRY_FEATURE, feature))


def _encode_values(field: Field, sample: Mapping[str, Any]) -> bytes:
    value = sample[field.name]
    if field.dtype == "bytes":
        return bytes(value)
    if field.dtype == "int64":
        return b"".join(_varint(int(number)) for number in np.ravel(value))
    return np.asarray(value, "<f4").tobytes()


def _decode_example(
    payload: memoryview, fields: Sequence[Field]
) -> tuple[dict[str, Any], memoryview, int]:
    dtypes = {IMAGE: "bytes", **{field.name: field.dtype for field in fields}}
    features, _ = _open_delimited(payload, 0, _EXAMPLE_FEATURES)
    sample: dict[str, Any] = {}
    image, image_offset = None, 0
    position = len(payload) - len(features)
    while position < len(payload):
        entry, end = _open_delimited(payload, position, _MAP_ENTRY)
        key, after_key = _open_delimited(entry, 0, _ENTRY_KEY)
        feature, _ = _open_delimited(entry, after_key, _ENTRY_FEATURE)
        name = bytes(key).decode()
        if name not in dtypes:
            raise ValueError(f"it has an unknown feature {name!r}")
        values_list, _ = _open_delimited(feature, 0, _FEATURE_OF_DTYPE[dtypes[name]])
        values, _ = _open_delimited(values_list, 0, _LIST_VALUE)
        if name == IMAGE:
            image, image_offset = values, end - len(values)
        else:
            sample[name] = _decode_values(dtypes[name], values)
        position = end
    missing = [field.name for field in fields if field.name not in sample]
    if missing or image is None:
        raise ValueError(f"it lacks the feature(s) {', '.join(missing) or IMAGE}")
    return sample, image, image_offset


def _open_delimited(data: memoryview, position: int, key: bytes) -> tuple[memoryview, int]:
    """Returns the content of a length-delimited field, and the position behind it."""
    if data[position] != key[0]:
        raise ValueError(f"byte {data[position]:#x} where {key[0]:#x} was expected")
    length, start = _read_varint(data, position + 1)
    if start + length > len(data):
        raise ValueError("a field ends behind its record")
    return data[start : start + length], start + length


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return number, position
        shift += 7


def _decode_values(dtype: str, values: memoryview) -> Any:
    if dtype == "bytes":
        return bytes(values)
    if dtype == "int64":
        return _read_varint(values, 0)[0]
    return np.frombuffer(values, "<f4")
