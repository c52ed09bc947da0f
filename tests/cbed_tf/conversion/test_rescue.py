"""Files that crash the process that reads them cost their own samples, and no others."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from archives import write_archive

import cbed_tf
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.rescue import write_shards
from cbed_tf.conversion.shard import ShardTask, write_shard
from cbed_tf.conversion.verify import verify_dataset
from cbed_tf.dataset.manifest import load_manifest
from cbed_tf.errors import CbedError
from cbed_tf.processes import engine

CHUNKED = {"chunks": (1, 24, 32), "compression": "gzip"}
VICTIMS = ("sample_1_0", "sample_2_1")
# Python runs a module of this name in every process that starts.
CRASHES = """
import os, signal
from cbed_tf.archive.hdf5 import ArchiveFile

def deadly(self, group, *rest):
    if self.path.name == "batch_train_0.h5" and group in {victims}:
        os.kill(os.getpid(), signal.SIGSEGV)
    return sound(self, group, *rest)

sound = ArchiveFile.{method}
ArchiveFile.{method} = deadly
"""


@pytest.fixture
def make_deadly(tmp_path, monkeypatch):
    """Lets a method of ArchiveFile crash its process for the victims, in new processes only."""

    def make(method):
        folder = tmp_path / "site"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(CRASHES.format(method=method, victims=VICTIMS))
        root = Path(cbed_tf.__file__).parents[1]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(root)]))

    return make


def rejected(output):
    return [json.loads(line) for line in (output / "rejected.jsonl").read_text().splitlines()]


def contents(output):
    return {path.name: path.read_bytes() for path in output.iterdir()}


def test_samples_that_crash_a_writer_are_refused_and_the_others_arrive(tmp_path, make_deadly):
    folder = write_archive(tmp_path / "in", dev=2, test=0, **CHUNKED)
    make_deadly("read_stack")
    for workers in (1, 2):
        convert_archive(folder, tmp_path / str(workers), workers=workers)

    output = tmp_path / "1"
    assert contents(output) == contents(tmp_path / "2")
    assert rejected(output) == [
        {
            "sample_id": f"train/batch_train_0/{victim}",
            "file": "batch_train_0.h5",
            "reason": "the HDF5 library crashed or hung on cbed_stack",
        }
        for victim in VICTIMS
    ]
    samples = {name: split.samples for name, split in load_manifest(output).splits.items()}
    assert samples == {"train": 6, "dev": 2}
    assert verify_dataset(output, folder, workers=1).problems == ()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_crashes_its_scan_is_refused_and_the_others_arrive(
    tmp_path, make_deadly, workers
):
    folder = write_archive(tmp_path / "in", dev=2, test=0)
    make_deadly("attributes")
    convert_archive(folder, tmp_path / "out", workers=workers)

    (entry,) = rejected(tmp_path / "out")
    assert entry["sample_id"] == "train/batch_train_0"
    assert entry["reason"] == "the HDF5 library crashed or hung"
    assert load_manifest(tmp_path / "out").splits["dev"].samples == 2


def test_a_shard_that_no_sample_is_to_blame_for_ends_the_run(tmp_path):
    task = ShardTask(
        input_dir=tmp_path,
        output_dir=tmp_path,
        sidecar_dir=tmp_path,
        name="train-00000-of-00001.tfrecord",
        first_row=0,
        columns={"source_offset": np.array([-1])},
        image_shape=(1, 2, 2),
        stored_shape=(1, 2, 2),
        swmr=False,
    )

    def die_over_shards(function, tasks):
        for position in range(len(tasks)):
            yield position, engine.Crashed() if function is write_shard else None

    with pytest.raises(CbedError, match=r"train-00000-of-00001.tfrecord died again and again"):
        write_shards([task], die_over_shards)
