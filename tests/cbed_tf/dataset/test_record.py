"""Our framing against TensorFlow's, in both directions."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cbed_tf import schema
from cbed_tf.archive.synthetic import synthetic_attributes, synthetic_stack
from cbed_tf.dataset import record
from cbed_tf.dataset.encoding import ENCODINGS, UINT16, encode_stack
from cbed_tf.errors import CbedError


def sample_of(number):
    values = {"sample_id": f"train/batch_train_0/sample_{number}", **synthetic_attributes(number)}
    columns = {
        field.name: schema.as_column(field, [values[field.name]], 3)[0] for field in schema.FIELDS
    }
    return columns, synthetic_stack(number)


def written(numbers):
    content = b""
    for number in numbers:
        sample, stack = sample_of(number)
        image = memoryview(stack).cast("B")
        content += b"".join(record.frame(record.encode_head(sample, len(image)), image)[0])
    return content


def test_tensorflow_reads_what_we_write(tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(written(range(3)))

    for number, serialized in enumerate(tf.data.TFRecordDataset(str(path))):
        sample, stack = sample_of(number)
        feature = tf.train.Example.FromString(serialized.numpy()).features.feature
        assert set(feature) == {*(field.name for field in schema.FIELDS), "cbed_stack"}
        assert feature["cbed_stack"].bytes_list.value == [stack.tobytes()]
        assert feature["space_group"].int64_list.value == [sample["space_group"]]
        assert feature["formula"].bytes_list.value == [sample["formula"]]
        np.testing.assert_array_equal(
            np.float32(feature["z_dirs"].float_list.value), sample["z_dirs"].reshape(-1)
        )


def test_we_read_what_tensorflow_writes(tmp_path):
    path = tmp_path / "a.tfrecord"
    sample, stack = sample_of(4)
    features = {
        "cbed_stack": tf.train.Feature(bytes_list=tf.train.BytesList(value=[stack.tobytes()]))
    }
    for field in schema.FIELDS:
        value = np.ravel(sample[field.name])
        if field.dtype == "bytes":
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
        elif field.dtype == "int64":
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        else:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        features[field.name] = feature
    example = tf.train.Example(features=tf.train.Features(feature=features))
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example.SerializeToString())

    with path.open("rb") as stream:
        (found,) = record.read_records(stream, path)
    assert bytes(found.image) == stack.tobytes()
    for name, value in sample.items():
        np.testing.assert_array_equal(np.ravel(found.sample[name]), np.ravel(value))


def test_the_image_lies_where_the_record_says():
    content = written(range(4))

    for number, found in enumerate(record.read_records(io.BytesIO(content), Path("a"))):
        stack = sample_of(number)[1]
        assert content[found.image_offset :][: stack.nbytes] == stack.tobytes()
        assert bytes(found.image) == stack.tobytes()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-1], "the file ends within it"),
        (lambda content: content[:5], "the file ends within its header"),
        (lambda content: b"\1" + content[1:], "the checksum of its length differs"),
        (lambda content: content[:300] + b"\xff" + content[301:], "its checksum differs"),
    ],
)
def test_damage_is_found_and_placed(spoil, message):
    content = written([0])
    after_a_sound_record = content + spoil(content)

    with pytest.raises(CbedError, match=f"shard-7: the record at byte 0 is damaged: {message}"):
        list(record.read_records(io.BytesIO(spoil(content)), Path("shard-7")))
    with pytest.raises(CbedError, match=f"record at byte {len(content)} is damaged: {message}"):
        list(record.read_records(io.BytesIO(after_a_sound_record), Path("shard-7")))


def test_a_record_of_something_else_is_refused():
    example = tf.train.Example(
        features=tf.train.Features(
            feature={"label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))}
        )
    )
    payload = example.SerializeToString()
    content = b"".join(record.frame(payload, memoryview(b""))[0])

    with pytest.raises(CbedError, match="unknown feature 'label'"):
        list(record.read_records(io.BytesIO(content), Path("a")))


def test_records_of_another_encoding_are_refused():
    fields = ENCODINGS[UINT16].fields
    sample, stack = sample_of(0)
    codes, pattern_max = encode_stack(stack)
    image = memoryview(codes).cast("B")
    head = record.encode_head({**sample, "pattern_max": pattern_max}, len(image), fields)
    content = b"".join(record.frame(head, image)[0])

    (found,) = record.read_records(io.BytesIO(content), Path("a"), fields)
    assert found.sample["pattern_max"].tolist() == pattern_max.tolist()
    assert bytes(found.image) == codes.tobytes()
    with pytest.raises(CbedError, match="unknown feature 'pattern_max'"):
        list(record.read_records(io.BytesIO(content), Path("a")))
    with pytest.raises(CbedError, match=r"lacks the feature\(s\) pattern_max"):
        list(record.read_records(io.BytesIO(written([0])), Path("a"), fields))
