"""Makes data sets of any number of samples with tiny patterns, without an archive.

The shards are true records, all alike but for the ids, which count them, or holes of the same size
in the file system: these give zeros to `gather`, which parses no record, and cost no time and no
disk.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from cbed_tf.archive.synthetic import synthetic_attributes
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.dataset.encoding import ENCODINGS
from cbed_tf.dataset.manifest import Manifest, Shard, Split, save_index, save_manifest
from cbed_tf.dataset.record import encode_head
from cbed_tf.schema import FIELDS, as_column

IMAGE_SHAPE = (3, 4, 4)
# 256 MiB of 3 MiB a sample.
SAMPLES_PER_SHARD = 85
# Of a record's frame, before and after the example.
_BEFORE, _AFTER = 12, 4
_ID = b"%09d"


def make_dataset(folder, samples, *, records):
    """Writes a data set with one split, train.

    Args:
      folder: New or empty.
      samples: How many.
      records: Write records, not holes; 20 microseconds a sample.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoding = ENCODINGS["float32"]
    image = bytes(encoding.image_bytes(IMAGE_SHAPE))
    head = _head(len(image))
    record_bytes = _BEFORE + len(head) + len(image) + _AFTER
    shards = []
    for first in range(0, samples, SAMPLES_PER_SHARD):
        count = min(SAMPLES_PER_SHARD, samples - first)
        shard = Shard(f"train-{len(shards):07d}.tfrecord", count, count * record_bytes, "0" * 8)
        shards.append(shard)
        if records:
            _write_records(folder / shard.name, head, image, range(first, first + count))
        else:
            with open(folder / shard.name, "wb") as file:
                file.truncate(shard.bytes)
    rows = np.arange(samples)
    columns = {
        "shard": np.int32(rows // SAMPLES_PER_SHARD),
        "image_offset": rows % SAMPLES_PER_SHARD * record_bytes + _BEFORE + len(head),
        "space_group": np.ones(samples, np.int64),
    }
    if records:
        columns["sample_id"] = np.array([_ID % row for row in rows])
    save_index(folder, "train", columns)
    split = Split(samples, samples, tuple(shards), {1: samples})
    save_manifest(folder, _manifest(split))
    return folder


def row_of(sample_ids):
    """Returns the rows of an array of ids."""
    return np.array(sample_ids).astype(np.int64)


def _head(image_bytes):
    sample = {**synthetic_attributes(0), "sample_id": (_ID % 0).decode()}
    columns = {
        field.name: as_column(
            field,
            [str(sample[field.name]) if field.dtype == "bytes" else sample[field.name]],
            IMAGE_SHAPE[0],
        )
        for field in FIELDS
    }
    return encode_head({name: column[0] for name, column in columns.items()}, image_bytes)


def _write_records(path: Path, head, image, rows):
    before, after = head.split(_ID % 0)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            writer.write(before + _ID % row + after + image)


def _manifest(split):
    options = ConvertOptions()
    return Manifest(
        options={"encoding": options.encoding},
        image_shape=IMAGE_SHAPE,
        splits={"train": split},
        overlaps={},
        statistics={},
        source_files=(),
        rejected=0,
        created_by="made_dataset.py",
    )
