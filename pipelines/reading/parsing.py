"""Parses the records of a shard into tensors; the spec derives from the table that wrote them."""

from collections.abc import Iterable

import tensorflow as tf

from cbed_tf.dataset.encoding import Encoding
from cbed_tf.schema import FIELD, FIELDS, IMAGE

_TF_DTYPES = {"bytes": tf.string, "int64": tf.int64, "float32": tf.float32}


def feature_spec(
    views: int, fields: Iterable[str] = tuple(field.name for field in FIELDS)
) -> dict[str, tf.io.FixedLenFeature]:
    """Returns what `tf.io.parse_example` needs to know of a record.

    Args:
      views: Number of patterns of a sample.
      fields: Names in `schema.FIELD` to parse; the patterns are always parsed.
    """
    unknown = set(fields) - set(FIELD)
    if unknown:
        raise ValueError(f"a record has no field {sorted(unknown)}, only {list(FIELD)}")
    spec = {
        name: tf.io.FixedLenFeature(FIELD[name].shape_for(views), _TF_DTYPES[FIELD[name].dtype])
        for name in fields
    }
    return {IMAGE: tf.io.FixedLenFeature((), tf.string), **spec}


def parse_batch(
    serialized: tf.Tensor,
    image_shape: tuple[int, int, int],
    encoding: Encoding,
    fields: Iterable[str],
) -> dict[str, tf.Tensor]:
    """Parses a batch of records.

    Args:
      serialized: Strings, (batch,).
      image_shape: (views, height, width) from the manifest.
      encoding: Of the patterns, likewise.
      fields: Names of the fields wanted beside the patterns and what these need.

    Returns:
      The fields, and under 'cbed_stack' the patterns as they are stored, (batch, views, height,
      width).
    """
    names = dict.fromkeys([*fields, *(field.name for field in encoding.beside)])
    columns = tf.io.parse_example(serialized, feature_spec(image_shape[0], names))
    pixels = tf.io.decode_raw(columns[IMAGE], tf.as_dtype(encoding.dtype), little_endian=True)
    columns[IMAGE] = tf.reshape(pixels, (-1, *image_shape))
    return columns
