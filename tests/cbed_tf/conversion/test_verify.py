"""Every kind of damage to a data set is found and named."""

import json
import shutil

import h5py
import numpy as np
import pytest

from cbed_tf.__main__ import main
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.conversion.verify import verify_dataset
from cbed_tf.dataset import record
from cbed_tf.dataset.manifest import index_path

SHARD = "train-00000-of-00001.tfrecord"


@pytest.fixture
def dataset(tmp_path, archive):
    convert_archive(archive, tmp_path / "out", workers=1)
    return tmp_path / "out"


def problems(dataset, archive=None):
    return verify_dataset(dataset, archive, workers=1).problems


def test_a_sound_data_set_has_no_problem(dataset, archive):
    found = verify_dataset(dataset, archive)

    assert (found.shards, found.samples, found.problems) == (3, 16, ())


def test_a_sound_data_set_of_smaller_patterns_has_none_either(tmp_path, sample_dataset):
    import cbed_tf

    convert_archive(cbed_tf.sample_archive(), tmp_path / "out", ConvertOptions(image_size=32))

    assert problems(tmp_path / "out", cbed_tf.sample_archive()) == ()
    assert problems(sample_dataset, cbed_tf.sample_archive()) == ()


def test_a_flipped_bit_is_found(dataset):
    content = bytearray((dataset / SHARD).read_bytes())
    content[len(content) // 2 + 5000] ^= 1
    (dataset / SHARD).write_bytes(content)

    (problem,) = problems(dataset)
    assert SHARD in problem
    assert "is damaged: its checksum differs" in problem


def test_a_shard_that_was_cut_is_found(dataset):
    content = (dataset / SHARD).read_bytes()
    (dataset / SHARD).write_bytes(content[:-10])
    assert "ends within" in problems(dataset)[0]

    # Cut between two records every checksum within is right: only the counts know.
    length = int.from_bytes(content[:8], "little") + 16
    (dataset / SHARD).write_bytes(content[:length])
    found = " ".join(problems(dataset))
    assert "samples is 1, the manifest says 8" in found
    assert "crc32c is" in found


def test_patterns_of_another_size_are_found_though_every_checksum_is_right(dataset, archive):
    with (dataset / SHARD).open("rb") as stream:
        found = list(record.read_records(stream, dataset / SHARD))
    with (dataset / SHARD).open("wb") as stream:
        for entry in found:
            image = entry.image[:-4]
            head = record.encode_head(entry.sample, len(image))
            stream.write(b"".join(map(bytes, record.frame(head, image)[0])))

    listed = "\n".join(problems(dataset, archive))
    assert listed.count("cbed_stack has 9212 bytes, should have 9216") == len(found)


def test_a_missing_shard_is_found(dataset):
    (dataset / SHARD).unlink()

    assert "No such file" in problems(dataset)[0]


def test_an_index_that_disagrees_is_found(dataset):
    with np.load(index_path(dataset, "train")) as index:
        columns = dict(index)
    columns["space_group"][2] = 199
    columns["image_offset"][3] += 1
    columns["intensity_max"][4] *= 2
    columns["intensity_min"][5] = -1
    np.savez(index_path(dataset, "train").open("wb"), **columns)

    found = problems(dataset)
    assert len(found) == 4
    assert "the index says [199]" in found[0]
    assert "patterns at byte" in found[1]
    assert "intensity_max is " in found[2]
    assert "intensity_min is " in found[3]
    assert "the index says -1.0" in found[3]


def test_counts_that_disagree_are_found(dataset):
    document = json.loads((dataset / "dataset.json").read_text())
    document["splits"]["dev"]["samples"] = 5
    document["rejected"] = 2
    (dataset / "dataset.json").write_text(json.dumps(document))

    found = problems(dataset)
    assert "split dev: the manifest counts 5 samples, its shards 4, the index 4" in found
    assert "rejected.jsonl has 0 lines, the manifest counts 2" in found


def test_an_archive_that_differs_is_found(dataset, archive):
    with h5py.File(archive / "batch_train_0.h5", "r+") as file:
        file["sample_0_0/cbed_stack"][0, 0, :2] = 7
        file["sample_0_1"].attrs["energy_keV"] = 190
        file.move("sample_1_0", "sample_1_9")

    found = "\n".join(problems(dataset, archive))
    assert "sample_0_0: cbed_stack differs from the archive's in 2 of 2304 pixels" in found
    assert "sample_0_1: energy_keV is [110.], the archive says [190.]" in found
    assert "sample_1_0: the archive does not hold it" in found
    assert "sample_1_9: in the archive, but neither in the data set nor rejected" in found
    assert len(found.splitlines()) == 4


def test_the_command_says_so(dataset, archive, capsys):
    words = ["verify", f"--data_dir={dataset}", f"--input_dir={archive}"]
    assert main(words) == 0
    assert "16 samples in 3 shards" in capsys.readouterr().out

    (dataset / SHARD).unlink()
    assert main(words) == 1
    assert SHARD in capsys.readouterr().err
    shutil.rmtree(dataset)
    assert main(words) == 1
    assert "holds no finished data set" in capsys.readouterr().err
