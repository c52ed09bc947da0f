"""Files with bits turned over and files cut off: no sample is ever lost or invented.

An archive of damaged files beside an untouched one is converted by the command. Then every sample

- is rejected, or its file is, with a reason; or
- equals what the untouched file holds, labels and patterns; or
- equals what h5py reads in the damaged file, and differs from the untouched one in pixels; or
- the same, but in a label. Nothing can tell such damage: the last digits of a direction, an energy
  of 110 keV that was 100, `mp-12` that was `mp-13`. It is counted, and bounded; or
- is no longer in the damaged file's own list of contents, as h5py reads that. HDF5 keeps no second
  record of what a file should hold, so this cannot be told either. Counted and bounded too.

Samples of the untouched file always arrive. Each sample has its material in common with another
one, as in the archive, so a label that contradicts its material is refused.
"""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from archives import write_file
from fuzzing import damage, find_metadata, read_file

import cbed_tf
from cbed_tf.dataset.manifest import load_manifest
from cbed_tf.dataset.record import read_records
from cbed_tf.processes import engine

UNTOUCHED = "batch_dev_0.h5"
SAMPLES = 4
# As archives occur: plain, compressed, with the 16-byte floats of the writer, one level down.
STORAGE = (
    {},
    {"chunks": (1, 8, 12), "compression": "gzip", "shuffle": True},
    {"padded": True},
    {"padded": True, "parent": "batch"},
)


@pytest.mark.parametrize(
    ("damaged_files", "packaged"),
    [
        pytest.param(46, False, id="46 synthetic files"),
        pytest.param(4, True, id="4 copies of a packaged file"),
        pytest.param(1200, False, id="1,200 synthetic files", marks=pytest.mark.slow),
        pytest.param(40, True, id="40 copies of a packaged file", marks=pytest.mark.slow),
    ],
)
def test_no_sample_is_lost_or_invented(tmp_path, damaged_files, packaged):
    make_file = copy_packaged_file if packaged else make_synthetic_file
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(damaged_files):
        path = make_file(folder / f"batch_train_{number}.h5", number)
        (tmp_path / path.name).write_bytes(path.read_bytes())
        path.write_bytes(damage(path.read_bytes(), number, find_metadata(path)))
    make_file(folder / UNTOUCHED, damaged_files)

    convert(folder, tmp_path / "out")

    outcomes = judge(tmp_path, sorted(folder.glob("batch_train_*.h5")))
    print(f"{damaged_files} damaged files:", dict(outcomes))
    arrived, _ = results(tmp_path / "out")
    untouched = {f"dev/batch_dev_0/{k}": v for k, v in read_file(folder / UNTOUCHED).items()}
    assert {k: v for k, v in arrived.items() if k.startswith("dev/")} == untouched
    assert outcomes["rejected"] > 0
    assert outcomes["equal to the untouched file"] > outcomes.total() // 3
    assert outcomes["label changed"] + outcomes["not listed any more"] <= outcomes.total() // 25


def make_synthetic_file(path, number):
    first = SAMPLES * number
    storage = STORAGE[number % len(STORAGE)]
    return write_file(path, range(first, first + SAMPLES), height=8, width=12, **storage)


def copy_packaged_file(path, number):
    path.write_bytes((cbed_tf.sample_archive() / UNTOUCHED).read_bytes())
    return path


def convert(folder, output):
    words = ["--input_dir", folder, "--output_dir", output, "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "cbed_tf", "convert", *map(str, words)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr


def results(output):
    """What a conversion gave: labels and patterns by sample id, and reasons by sample id."""
    arrived = {}
    for split in load_manifest(output).splits.values():
        for shard in split.shards:
            with (output / shard.name).open("rb") as stream:
                for record in read_records(stream, output / shard.name):
                    sample = {name: as_bytes(value) for name, value in record.sample.items()}
                    sample_id = sample.pop("sample_id").decode()
                    arrived[sample_id] = {**sample, "cbed_stack": bytes(record.image)}
    lines = map(json.loads, (output / "rejected.jsonl").read_text().splitlines())
    return arrived, {line["sample_id"]: line["reason"] for line in lines}


def as_bytes(value):
    return value if isinstance(value, bytes | int) else np.float32(value).tobytes()


def judge(tmp_path, damaged):
    """Counts what became of the samples of damaged files; fails if one is lost or invented."""
    arrived, rejected = results(tmp_path / "out")
    originals = [tmp_path / path.name for path in damaged]
    untouched_readings = dict(engine.run_tasks(read_file, originals, 2))
    damaged_readings = dict(engine.run_tasks(read_file, damaged, 2))
    outcomes = Counter()
    for position, path in enumerate(damaged):
        prefix = f"train/{path.stem}"
        untouched, reading = untouched_readings[position], damaged_readings[position]
        outcomes["files that crash or hang h5py"] += isinstance(reading, engine.Crashed)
        if not isinstance(reading, dict):  # then nothing may be missing, and nothing differ
            reading = dict.fromkeys(untouched)
        known = {key.removeprefix(f"{prefix}/") for key in arrived if key.startswith(f"{prefix}/")}
        for group in untouched.keys() | reading.keys() | known:
            sample_id = f"{prefix}/{group}"
            if sample_id in arrived:
                found = arrived[sample_id]
                outcomes[compare(sample_id, found, untouched.get(group), reading.get(group))] += 1
            elif rejected.get(sample_id) or rejected.get(prefix):
                outcomes["rejected"] += 1
            else:
                assert group not in reading, f"{sample_id} is lost"
                outcomes["not listed any more"] += 1
    return outcomes


def compare(sample_id, found, untouched, damaged):
    if found == untouched:
        return "equal to the untouched file"
    assert found == damaged, f"{sample_id} is neither what was written nor what is in the file"
    if untouched is None:
        return "label changed"  # its very name
    only_pixels = {**found, "cbed_stack": untouched["cbed_stack"]} == untouched
    return "pixels changed" if only_pixels else "label changed"
