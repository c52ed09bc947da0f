"""The comparison with other input pipelines: its arithmetic; each way reads the same images."""

import contextlib
import io
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from archives import write_archive, write_file
from benchmarks.peers import chart, results
from benchmarks.peers.measurement import build, speed_of
from benchmarks.peers.processes import StepError, end_group, members_of, run_step, wait_for
from benchmarks.peers.samples import check_batch, list_samples
from benchmarks.peers.ways import ARCHIVE, LIMIT, MODES, SCALED, SHARDS, WAYS

FOLDER = Path(results.__file__).parent
# They run in a process that has TensorFlow; all others start processes themselves, or need not to.
TENSORFLOW_WAYS = ["gather", "stream", "usual", "usual_pow", "from_generator"]
OTHER_WAYS = [w.name for w in WAYS.values() if w.name not in TENSORFLOW_WAYS and w.kind != LIMIT]

SPEEDS = {
    "raw": {
        "limit": [1000.0, 2000.0, 1500.0],
        "gather": [900.0, 1000.0, 1200.0],
        "stream": [100.0, 200.0, 300.0],
        "usual": [50.0, 50.0, 100.0],
        "torch": [90.0, 100.0, 60.0],
        "grain": [10.0, 20.0, 30.0],
    },
    "scaled": {"gather": [500.0, 400.0, 300.0], "torch": [50.0, 50.0, 50.0]},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    return list_samples(write_archive(folder / "archive", train=12)), folder


@pytest.fixture(scope="module")
def shards(tiny):
    samples, folder = tiny
    build(WAYS["gather"], samples, folder / SHARDS)
    return folder / SHARDS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", TENSORFLOW_WAYS)
def test_a_batch_is_of_the_archive(name, mode, tiny, shards):
    samples, _ = tiny
    scaled = mode == SCALED
    images, space_groups = next(WAYS[name].batches(samples, shards, 6, scaled, workers=2))

    assert len(set(check_batch(samples, images, space_groups, scaled))) == 6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OTHER_WAYS)
def test_a_batch_from_other_processes_is_of_the_archive(name, mode, tiny):
    way, (samples, folder) = WAYS[name], tiny
    for package in way.needs:
        pytest.importorskip(package)
    task = {"way": name, "archive": str(samples.archive), "folder": str(folder / way.files)}
    if way.files != ARCHIVE and not (folder / way.files).exists():
        run_step("build", task, limit_seconds=120)

    reading = {"batch_size": 4, "scaled": mode == SCALED, "workers": 2}
    assert run_step("check", {**task, **reading}, limit_seconds=120) == {"images": 4}


def test_a_foreign_image_is_found(tiny):
    samples, _ = tiny
    images, space_groups = map(np.stack, zip(*(samples.read(k) for k in (3, 5)), strict=True))
    assert check_batch(samples, images, space_groups, scaled=False) == [3, 5]

    with pytest.raises(AssertionError):
        check_batch(samples, images, space_groups + 1, scaled=False)
    with pytest.raises(AssertionError):
        check_batch(samples, images, space_groups, scaled=True)
    images[1, 2, 20, 30] += 1e-3
    with pytest.raises(AssertionError):
        check_batch(samples, images, space_groups, scaled=False)


def test_samples_one_group_down_are_found(tmp_path):
    write_file(tmp_path / "batch_train_0.h5", range(4), parent="batch")
    write_file(tmp_path / "batch_dev_0.h5", range(4, 6))

    samples = list_samples(tmp_path)
    assert [group for _, group in samples.places][:2] == ["batch/sample_0_0", "batch/sample_0_1"]
    assert len(samples) == 4
    assert samples.image_shape == (3, 24, 32)


def test_the_first_batches_are_not_counted():
    times = iter([0.0, 1.0, 2.0, 3.5])
    seen = iter(range(100))

    assert speed_of(seen, 32, seconds=3, clock=lambda: next(times)) == 3 * 32 / 3.5
    assert next(seen) == 6


def test_ratios_are_those_within_a_round():
    assert results.ratio(SPEEDS, "raw", "gather", "stream") == results.Figure(5.0, 4.0, 9.0)
    assert results.ratio(SPEEDS, "scaled", "gather", "limit", "raw").median == 0.2
    assert results.ratio(SPEEDS, "scaled", "gather", "stream") is None


def test_the_best_peer_is_none_of_ours():
    assert results.best_peer(SPEEDS, "raw") == "torch"
    assert results.best_peer({"raw": {"gather": [1.0]}}, "raw") is None


def test_the_table():
    header, _, *rows = (line.split("|")[1:-1] for line in results.table(SPEEDS, "raw").splitlines())
    rows = [[cell.strip() for cell in row] for row in rows]

    assert header[0].strip() == "raw"
    assert [row[0] for row in rows[:3]] == ["read limit", "cbed-tf, gather", "cbed-tf, stream"]
    assert rows[3] == ["torch DataLoader, h5py", "90 (60 to 100)", "0.05", "10.0"]
    assert "read limit" in results.table(SPEEDS, "scaled")


def test_the_comparisons():
    lines = results.comparisons(SPEEDS)

    assert "raw: gather is 5.0 (4.0 to 9.0) times cbed-tf, stream" in lines
    assert "raw: stream is 3.0 (2.0 to 4.0) times usual tf.data recipe" in lines
    assert any(
        line.startswith("raw: gather is 10.0 (10.0 to 20.0) times the best peer") for line in lines
    )


def test_the_chart_is_drawn(tmp_path):
    chart.draw_speeds(SPEEDS, "caption", tmp_path / "speeds.png")

    assert (tmp_path / "speeds.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_left_of_a_group_of_processes():
    words = ["sh", "-c", "trap '' TERM; sleep 100 & sleep 100 & wait"]
    leader = subprocess.Popen(words, start_new_session=True)
    assert wait_for(lambda: len(members_of(leader.pid)) == 3, 10)

    end_group(leader)
    assert members_of(leader.pid) == []


def test_a_step_that_fails_says_why(tiny):
    samples, folder = tiny
    task = {"way": "usual", "archive": str(samples.archive), "folder": str(folder / "none")}
    reading = {"batch_size": 4, "scaled": False, "workers": 2}
    with pytest.raises(StepError, match="No files matched pattern"):
        run_step("check", {**task, **reading}, limit_seconds=60)
    with pytest.raises(StepError, match=r"no result after 0 s"):
        run_step("check", {**task, **reading}, limit_seconds=0.1)


def test_a_run_reports_what_it_measured_and_what_it_could_not(tiny, tmp_path, monkeypatch):
    samples, _ = tiny
    options = ["--rounds=1", "--seconds=0.01", "--batch_size=4", "--modes=scaled"]
    only = "--only=from_generator,webdataset"
    monkeypatch.setattr(sys, "argv", ["peers", str(samples.archive), str(tmp_path), *options, only])
    with contextlib.redirect_stdout(io.StringIO()) as output:
        runpy.run_path(str(FOLDER), run_name="__main__")

    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found["speeds"]["scaled"]["from_generator"]) == 1
    assert "tf.data from_generator, h5py" in output.getvalue()
    assert found["failed"] == {}
    if WAYS["webdataset"].missing():
        assert "webdataset: not measured, not installed: webdataset" in output.getvalue()
    assert (tmp_path / "results.png").exists()
    assert (tmp_path / "results.md").read_text() == output.getvalue()
