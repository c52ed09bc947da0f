"""The converter against independent readings, its command, and what it refuses."""

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tensorflow as tf
from archives import write_archive, write_file

from cbed_tf.__main__ import main
from cbed_tf.archive.synthetic import synthetic_stack
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from cbed_tf.conversion.shard import sum_areas
from cbed_tf.dataset.manifest import load_index, load_manifest
from cbed_tf.errors import CbedError
from cbed_tf.processes import engine

# 24 x 32 samples of 10 kB: one MiB is the smallest shard, so cut by making samples large.
LARGE = {"height": 256, "width": 256}


def checksums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def read_independently(data_dir, split, image_shape):
    """Plain TensorFlow with the feature names of the format, nothing of ours."""
    views = image_shape[0]
    spec = {
        "sample_id": tf.io.FixedLenFeature([], tf.string),
        "cbed_stack": tf.io.FixedLenFeature([], tf.string),
        "space_group": tf.io.FixedLenFeature([], tf.int64),
        "material": tf.io.FixedLenFeature([], tf.string),
        "formula": tf.io.FixedLenFeature([], tf.string),
        "energy_keV": tf.io.FixedLenFeature([], tf.float32),
        "z_dirs": tf.io.FixedLenFeature([views * 3], tf.float32),
        "y_dirs": tf.io.FixedLenFeature([views * 3], tf.float32),
        "semi_angles_rad": tf.io.FixedLenFeature([views], tf.float32),
        "d_hkls_angstrom": tf.io.FixedLenFeature([views], tf.float32),
        "abc_angstrom": tf.io.FixedLenFeature([3], tf.float32),
        "angles_degree": tf.io.FixedLenFeature([3], tf.float32),
    }
    paths = sorted(str(path) for path in data_dir.glob(f"{split}-*.tfrecord"))
    for serialized in tf.data.TFRecordDataset(paths):
        sample = tf.io.parse_single_example(serialized, spec)
        sample = {name: value.numpy() for name, value in sample.items()}
        pixels = np.frombuffer(sample["cbed_stack"], "<f4").reshape(image_shape)
        yield {**sample, "cbed_stack": pixels}


def read_doubles(group, name):
    """16-byte floats as DATA says, written again from the description rather than imported."""
    attribute = h5py.h5a.open(group.id, name.encode())
    file_type = attribute.get_type()
    count = int(np.prod(attribute.shape))
    raw = np.empty(count, f"V{file_type.get_size()}")
    attribute.read(raw, mtype=file_type)
    return raw.view("<f8")[:count].reshape(attribute.shape)


def assert_equals_archive(data_dir, archive_dir, split):
    """Compares every record of a split with a plain h5py reading; returns how many there were."""
    count = 0
    files = {path.stem: path for path in archive_dir.glob(f"batch_{split}_*.h5")}
    expected_ids = set()
    for stem, path in files.items():
        with h5py.File(path) as file:
            expected_ids |= {f"{split}/{stem}/{name}" for name in file}
    seen = set()
    for sample in read_independently(data_dir, split, load_manifest(data_dir).image_shape):
        sample_id = sample["sample_id"].decode()
        seen.add(sample_id)
        _, stem, name = sample_id.split("/")
        with h5py.File(files[stem]) as file:
            group = file[name]
            assert group["cbed_stack"][()].tobytes() == sample["cbed_stack"].tobytes()
            assert int(group.attrs["space_group"]) == sample["space_group"]
            assert bytes(group.attrs["material"]) == sample["material"]
            assert group.attrs["formula"] == sample["formula"].decode()
            assert group.attrs["energy_keV"] == sample["energy_keV"]
            for key in ("semi_angles_rad", "d_hkls_angstrom", "abc_angstrom", "angles_degree"):
                np.testing.assert_array_equal(np.float32(read_doubles(group, key)), sample[key])
            for k in range(3):
                z_dirs, y_dirs = group.attrs["z_dirs"], read_doubles(group, "y_dirs")
                row = slice(3 * k, 3 * k + 3)
                np.testing.assert_array_equal(z_dirs[0, :, k], sample["z_dirs"][row])
                np.testing.assert_array_equal(np.float32(y_dirs[0, :, k]), sample["y_dirs"][row])
        count += 1
    assert seen == expected_ids
    return count


@pytest.mark.parametrize("padded", [False, True], ids=["8-byte", "16-byte"])
def test_every_sample_arrives_as_it_was(tmp_path, padded):
    folder = write_archive(tmp_path / "in", padded=padded)
    convert_archive(folder, tmp_path / "out", workers=1)

    counts = [assert_equals_archive(tmp_path / "out", folder, s) for s in ("train", "dev", "test")]
    assert counts == [8, 4, 4]


def test_full_resolution_files_arrive_bit_by_bit(tmp_path, real_archive):
    for workers in (1, 2):
        options = ConvertOptions(shard_size_mb=16)
        convert_archive(real_archive, tmp_path / str(workers), options, workers=workers)

    assert checksums(tmp_path / "1") == checksums(tmp_path / "2")
    counts = [
        assert_equals_archive(tmp_path / "1", real_archive, split)
        for split in ("train", "dev", "test")
    ]
    assert counts == [12, 4, 4]


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    folder = write_archive(tmp_path / "in", **LARGE)
    for workers in (1, 2, 3):
        convert_archive(folder, tmp_path / str(workers), ConvertOptions(1), workers=workers)

    assert len(load_manifest(tmp_path / "1").splits["train"].shards) == 8
    assert checksums(tmp_path / "1") == checksums(tmp_path / "2") == checksums(tmp_path / "3")


def test_splits_in_folders_and_samples_one_level_down(tmp_path):
    for first, split in ((0, "train"), (4, "dev")):
        path = tmp_path / "in" / split / f"batch_{split}_0.h5"
        write_file(path, range(first, first + 4), parent="batch")
    manifest = convert_archive(tmp_path / "in", tmp_path / "out", workers=1)

    assert {name: split.samples for name, split in manifest.splits.items()} == {
        "train": 4, "dev": 4,
    }  # fmt: skip
    assert (
        b"train/batch_train_0/batch/sample_0_0"
        in load_index(tmp_path / "out", "train", ["sample_id"])["sample_id"]
    )


def test_the_index_tells_where_the_patterns_lie(tmp_path, archive):
    manifest = convert_archive(archive, tmp_path / "out", workers=1)

    for split in manifest.splits:
        index = load_index(tmp_path / "out", split)
        for row, sample in enumerate(
            read_independently(tmp_path / "out", split, manifest.image_shape)
        ):
            shard = manifest.splits[split].shards[index["shard"][row]]
            content = (tmp_path / "out" / shard.name).read_bytes()
            start = index["image_offset"][row]
            image = sample["cbed_stack"].tobytes()
            assert content[start : start + len(image)] == image
            assert index["sample_id"][row] == sample["sample_id"]
            assert index["intensity_max"][row] == sample["cbed_stack"].max()
            assert index["intensity_min"][row] == sample["cbed_stack"].min()


def test_statistics_without_a_training_split_are_of_everything(tmp_path):
    folder = write_archive(tmp_path / "in", train=0, dev=2, test=4)
    manifest = convert_archive(folder, tmp_path / "out", workers=1)

    parts = [load_index(tmp_path / "out", split)["abc_angstrom"] for split in ("dev", "test")]
    abc = np.concatenate(parts).astype(np.float64)
    np.testing.assert_allclose(manifest.statistics["abc_angstrom"].mean, abc.mean(axis=0))
    assert not np.allclose(abc.mean(axis=0), parts[0].mean(axis=0))
    assert len(manifest.statistics["composition"].mean) == 118


def test_the_manifest_counts_and_describes(tmp_path, archive):
    convert_archive(archive, tmp_path / "out", workers=1)
    manifest = load_manifest(tmp_path / "out")

    train = manifest.splits["train"]
    samples = list(read_independently(tmp_path / "out", "train", manifest.image_shape))
    assert train.samples == 8
    assert train.materials == len({sample["material"] for sample in samples}) == 4
    assert sum(train.space_groups.values()) == 8
    abc = np.float64([sample["abc_angstrom"] for sample in samples])
    np.testing.assert_allclose(manifest.statistics["abc_angstrom"].mean, abc.mean(axis=0))
    np.testing.assert_allclose(manifest.statistics["abc_angstrom"].std, abc.std(axis=0))
    assert len(manifest.statistics["composition"].mean) == 118
    assert sum(manifest.statistics["composition"].mean) == pytest.approx(1)
    document = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert document["features"]["z_dirs"]["shape"] == [3, 3]


def test_the_checksums_are_those_that_other_tools_compute(tmp_path, archive):
    convert_archive(archive, tmp_path / "out", workers=1)

    lines = (tmp_path / "out" / "checksums.crc32c").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == [
        f"{split}-00000-of-00001.tfrecord" for split in ("train", "dev", "test")
    ]
    for line in lines:
        checksum, name = line.split("  ")
        assert int(checksum, 16) == bitwise_crc32c((tmp_path / "out" / name).read_bytes())


def bitwise_crc32c(content):
    """The Castagnoli polynomial, bit by bit, as RFC 3720 gives it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, archive, monkeypatch, caplog):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOSYS, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert convert_archive(archive, tmp_path / "out", workers=1).splits["train"].samples == 8
    assert "out cannot be locked" in caplog.text


def test_a_smaller_image_size_sums_areas(tmp_path):
    folder = write_archive(tmp_path / "in", height=32, width=32)
    convert_archive(folder, tmp_path / "out", ConvertOptions(image_size=8), workers=1)

    for sample in read_independently(tmp_path / "out", "dev", (3, 8, 8)):
        _, material, energy = sample["sample_id"].decode().rsplit("_", 2)
        original = synthetic_stack(2 * int(material) + int(energy), 3, 32, 32)
        by_hand = sum(np.float64(original[:, i::4, j::4]) for i in range(4) for j in range(4))
        np.testing.assert_array_equal(sample["cbed_stack"], np.float32(by_hand))


def test_area_sums_by_hand():
    stack = np.arange(16, dtype=np.float32).reshape(1, 4, 4)

    assert sum_areas(stack, (1, 2, 2)).tolist() == [[[10, 18], [42, 50]]]


def test_convert_and_verify_import_no_tensorflow(tmp_path, archive):
    program = (
        "import sys; from cbed_tf.__main__ import main; "
        f"assert main(['convert', '--input_dir={archive}', '--output_dir={tmp_path}/out']) == 0; "
        f"assert main(['verify', '--data_dir={tmp_path}/out', '--input_dir={archive}']) == 0; "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "assert not loaded & {'tensorflow', 'keras', 'pipelines', 'models'}, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---- A folder that is not empty


def test_a_finished_data_set_is_left_alone(tmp_path, archive):
    convert_archive(archive, tmp_path / "out", workers=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}

    convert_archive(archive, tmp_path / "out", workers=2)

    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_other_options_or_another_archive_are_refused(tmp_path, archive):
    convert_archive(archive, tmp_path / "out", workers=1)

    with pytest.raises(CbedError, match="--seed was 0, is now 1"):
        convert_archive(archive, tmp_path / "out", ConvertOptions(seed=1))
    write_file(archive / "batch_train_1.h5", range(40, 42))
    with pytest.raises(CbedError, match="the archive now holds batch_train_1.h5 as well"):
        convert_archive(archive, tmp_path / "out")


def test_a_folder_with_something_else_in_it_is_refused(tmp_path, archive):
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(CbedError, match="is not empty"):
        convert_archive(archive, tmp_path)


# ---- The command


def test_the_command_says_what_it_made(tmp_path, archive, capsys):
    assert main(["convert", f"--input_dir={archive}", f"--output_dir={tmp_path}/out"]) == 0

    printed = capsys.readouterr()
    assert "train       8 samples       4 materials" in printed.out
    assert "converting:" in printed.err


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--shard_size_mb=0", "--shard_size_mb=0"),
        ("--workers=none", "--workers=none"),
        ("--image_size=-1", "--image_size=-1"),
        ("--sead=1", "Unknown command line flag 'sead'"),
        ("extra", "unexpected argument 'extra'"),
    ],
)
def test_wrong_flags_are_named_before_any_work(tmp_path, archive, capsys, flag, message):
    words = ["convert", f"--input_dir={archive}", f"--output_dir={tmp_path}/out", flag]

    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_an_input_without_files_is_refused(tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()

    words = ["convert", f"--input_dir={tmp_path}/{folder}", f"--output_dir={tmp_path}/out"]
    assert main(words) == 1
    assert folder in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_default_workers_are_the_processors():
    assert engine.default_workers() == len(os.sched_getaffinity(0))
