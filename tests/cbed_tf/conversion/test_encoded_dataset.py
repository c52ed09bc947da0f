"""16-bit data sets: what records hold, what the manifest says, what verify finds."""

import hashlib
import json

import h5py
import numpy as np
import pytest
import tensorflow as tf
from archives import write_archive

import cbed_tf
from cbed_tf.__main__ import main
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.conversion.verify import verify_dataset
from cbed_tf.dataset import record
from cbed_tf.dataset.encoding import ENCODINGS, UINT16
from cbed_tf.dataset.manifest import index_path, load_index, load_manifest
from cbed_tf.errors import CbedError

SHARD = "train-00000-of-00001.tfrecord"
FIELDS = ENCODINGS[UINT16].fields


@pytest.fixture
def dataset(tmp_path, archive):
    convert_archive(archive, tmp_path / "out", ConvertOptions(encoding="uint16"), workers=1)
    return tmp_path / "out"


def read_independently(data_dir, split, image_shape):
    """Plain TensorFlow and what dataset.json says, nothing of ours."""
    document = json.loads((data_dir / "dataset.json").read_text())
    spec = {
        "sample_id": tf.io.FixedLenFeature([], tf.string),
        "cbed_stack": tf.io.FixedLenFeature([], tf.string),
        "pattern_max": tf.io.FixedLenFeature(
            document["features"]["pattern_max"]["shape"], tf.float32
        ),
    }
    for shard in document["splits"][split]["shards"]:
        for serialized in tf.data.TFRecordDataset(str(data_dir / shard["name"])):
            sample = tf.io.parse_single_example(serialized, spec)
            codes = np.frombuffer(
                sample["cbed_stack"].numpy(), document["image_feature"]["dtype"]
            ).reshape(image_shape)
            yield sample["sample_id"].numpy().decode(), codes, sample["pattern_max"].numpy()


def original(folder, sample_id):
    split, stem, group = sample_id.split("/")
    assert stem.startswith(f"batch_{split}")
    with h5py.File(folder / f"{stem}.h5") as file:
        return file[group]["cbed_stack"][()]


def checksums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_records_hold_the_fourth_roots_and_the_largest(encoded_dataset):
    count = 0
    for sample_id, codes, pattern_max in read_independently(encoded_dataset, "dev", (3, 128, 128)):
        stack = np.float64(original(cbed_tf.sample_archive(), sample_id))
        largest = stack.max(axis=(1, 2), keepdims=True)
        assert pattern_max.tolist() == largest.ravel().tolist()
        np.testing.assert_allclose(codes, (stack / largest) ** 0.25 * 65535, atol=0.52)
        count += 1
    assert count == 12


def test_areas_are_summed_first_and_splits_drawn_as_without_encoding(tmp_path):
    folder = write_archive(tmp_path / "in", height=32, width=32)
    both = {"image_size": 8, "resplit": "material"}
    for encoding in ("float32", "uint16"):
        options = ConvertOptions(encoding=encoding, **both)
        convert_archive(folder, tmp_path / encoding, options, workers=1)

    for split in load_manifest(tmp_path / "float32").splits:
        raw, encoded = (load_index(tmp_path / name, split) for name in ("float32", "uint16"))
        assert encoded["sample_id"].tolist() == raw["sample_id"].tolist()
        assert encoded["intensity_max"].tolist() == raw["intensity_max"].tolist()
        assert encoded["pattern_max"].max(axis=1).tolist() == raw["intensity_max"].tolist()
        for sample_id, codes, pattern_max in read_independently(
            tmp_path / "uint16", split, (3, 8, 8)
        ):
            stack = np.float64(original(folder, sample_id)).reshape(3, 8, 4, 8, 4).sum(axis=(2, 4))
            largest = stack.max(axis=(1, 2))
            np.testing.assert_allclose(pattern_max, largest, rtol=1e-6)
            roots = (stack / largest[:, None, None]) ** 0.25
            np.testing.assert_allclose(codes, roots * 65535, atol=0.52)


def test_the_manifest_and_the_index_say_so(dataset, tmp_path, archive):
    convert_archive(archive, tmp_path / "raw", workers=1)
    document = json.loads((dataset / "dataset.json").read_text())
    raw = json.loads((tmp_path / "raw" / "dataset.json").read_text())

    assert document["options"]["encoding"] == "uint16"
    assert document["image_feature"]["dtype"] == "<u2"
    assert "pattern_max" in document["image_feature"]["meaning"]
    assert document["features"]["pattern_max"]["shape"] == [3]
    assert raw["options"]["encoding"] == "float32"
    assert raw["image_feature"]["dtype"] == "<f4"
    assert "pattern_max" not in raw["features"]
    assert load_manifest(dataset).encoding == ENCODINGS[UINT16]

    index = load_index(dataset, "train")
    content = (dataset / SHARD).read_bytes()
    in_records = read_independently(dataset, "train", (3, 24, 32))
    for row, (sample_id, codes, pattern_max) in enumerate(in_records):
        assert index["sample_id"][row].decode() == sample_id
        assert index["pattern_max"][row].tolist() == pattern_max.tolist()
        assert content[index["image_offset"][row] :].startswith(codes.tobytes())


def test_the_bytes_are_half_and_do_not_depend_on_the_number_of_workers(tmp_path):
    folder = write_archive(tmp_path / "in", height=256, width=256)
    for workers in (1, 2):
        options = ConvertOptions(1, encoding="uint16")
        convert_archive(folder, tmp_path / str(workers), options, workers=workers)

    assert checksums(tmp_path / "1") == checksums(tmp_path / "2")
    train = load_manifest(tmp_path / "1").splits["train"]
    assert len(train.shards) == 4  # of 2 samples each
    assert 2 * 3 * 256 * 256 < train.shards[0].bytes / 2 < 2 * 3 * 256 * 256 + 1024


def test_another_encoding_over_a_finished_data_set_is_refused(dataset, archive):
    with pytest.raises(CbedError, match="--encoding was uint16, is now float32"):
        convert_archive(archive, dataset)


def test_unknown_encodings_are_refused(tmp_path, archive, capsys):
    words = ["convert", f"--input_dir={archive}", f"--output_dir={tmp_path}/out"]
    assert main([*words, "--encoding=float16"]) == 2
    assert "--encoding=float16" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(CbedError, match="encoding is 'float16', should be one of float32, uint16"):
        ConvertOptions(encoding="float16")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda document: document["options"].pop("encoding"), "lacks the entry 'encoding'"),
        (lambda document: document.pop("image_shape"), "lacks the entry 'image_shape'"),
        (lambda document: document["options"].update(encoding="png"), "has the encoding 'png'"),
        (lambda document: document.update(splits=[]), "dataset.json is damaged"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(dataset, spoil, message):
    document = json.loads((dataset / "dataset.json").read_text())
    spoil(document)
    (dataset / "dataset.json").write_text(json.dumps(document))

    with pytest.raises(CbedError, match=message):
        load_manifest(dataset)


# ---- Verification


def problems(dataset, archive=None):
    return verify_dataset(dataset, archive, workers=1).problems


def test_a_sound_data_set_has_no_problem(dataset, archive, encoded_dataset):
    assert problems(dataset, archive) == ()
    assert problems(encoded_dataset, cbed_tf.sample_archive()) == ()


def test_a_smaller_one_has_none_either(tmp_path):
    options = ConvertOptions(image_size=32, encoding="uint16", resplit="formula")
    convert_archive(cbed_tf.sample_archive(), tmp_path / "out", options, workers=1)

    assert problems(tmp_path / "out", cbed_tf.sample_archive()) == ()


def test_a_flipped_bit_is_found(dataset):
    content = bytearray((dataset / SHARD).read_bytes())
    content[len(content) // 2 + 5000] ^= 1
    (dataset / SHARD).write_bytes(content)

    (problem,) = problems(dataset)
    assert SHARD in problem
    assert "is damaged: its checksum differs" in problem


def test_a_wrong_largest_intensity_in_the_index_is_found(dataset):
    with np.load(index_path(dataset, "train")) as index:
        columns = dict(index)
    columns["pattern_max"][3, 1] *= 2
    np.savez(index_path(dataset, "train").open("wb"), **columns)

    (problem,) = problems(dataset)
    assert "pattern_max is" in problem
    assert "the index says" in problem


def test_records_that_differ_from_the_archive_are_found(dataset, archive):
    """Rewrites a shard, all checksums right: only the archive tells."""
    with (dataset / SHARD).open("rb") as stream:
        found = list(record.read_records(stream, dataset / SHARD, FIELDS))
    found[2].sample["pattern_max"] = found[2].sample["pattern_max"] * np.float32([1, 2, 1])
    codes = np.frombuffer(found[4].image, "<u2").copy()
    codes[[5, 700]] ^= 1
    images = [codes.tobytes() if number == 4 else bytes(r.image) for number, r in enumerate(found)]
    with (dataset / SHARD).open("wb") as stream:
        for item, image in zip(found, images, strict=True):
            sample = {**item.sample, "space_group": int(item.sample["space_group"])}
            head = record.encode_head(sample, len(image), FIELDS)
            stream.writelines(record.frame(head, memoryview(image))[0])

    said = "\n".join(problems(dataset, archive))
    name = found[2].sample["sample_id"].decode()
    assert f"{name}: pattern_max is" in said
    assert "the archive says" in said
    name = found[4].sample["sample_id"].decode()
    assert f"{name}: cbed_stack differs from the archive's in 2 of 2304 pixels" in said


def test_an_archive_that_changed_is_found(dataset, archive):
    with h5py.File(archive / "batch_train_0.h5", "r+") as file:
        stack = file["sample_0_0/cbed_stack"]
        stack[2, 0, 0] = np.nan
        stack[1, 3, 4] = 2e5  # brighter than all before: other codes for the whole pattern

    said = "\n".join(problems(dataset, archive))
    assert "sample_0_0: pattern_max is" in said
    assert "sample_0_0: cbed_stack differs" in said
