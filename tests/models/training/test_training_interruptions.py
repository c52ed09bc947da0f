"""Trainings that are ended from outside: kill -9, Ctrl-C, a disk that is really full."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from benchmarks import kills

from cbed_tf.__main__ import main
from models import load_trained_model

FLAGS = ["--targets=space_group,abc_angstrom", "--batch_size=8", "--ema=0.9", "--epochs=16"]


def words_of(data_dir, run_dir, *more):
    return ["train", f"--data_dir={data_dir}", f"--run_dir={run_dir}", *FLAGS, *more]


def heed_signals():
    """Tests in the background of a shell, which ignores Ctrl-C there, would hand that down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(words):
    return subprocess.Popen(
        [sys.executable, "-m", "cbed_tf", *words],
        stderr=subprocess.PIPE, text=True, preexec_fn=heed_signals,
    )  # fmt: skip


def epochs_of(run_dir):
    if not (run_dir / "log.csv").exists():
        return 0
    return len((run_dir / "log.csv").read_text().splitlines()) - 1


def wait_for_epochs(process, run_dir, epochs):
    deadline = time.monotonic() + 120
    while epochs_of(run_dir) < epochs and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def curves(run_dir):
    pace = ("seconds", "samples_per_second", "waiting_share")
    with (run_dir / "log.csv").open() as stream:
        return [{k: v for k, v in r.items() if k not in pace} for r in csv.DictReader(stream)]


def test_a_killed_and_a_stopped_training_end_as_one_that_was_left_alone(toy_dataset, tmp_path):
    alone, disturbed = tmp_path / "alone", tmp_path / "disturbed"
    process = start(words_of(toy_dataset, disturbed))
    wait_for_epochs(process, disturbed, 2)
    process.kill()
    process.communicate()
    killed_after = epochs_of(disturbed)

    process = start(words_of(toy_dataset, disturbed))
    wait_for_epochs(process, disturbed, killed_after + 3)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert re.search(r"going on after [1-9]\d* epochs", messages)
    assert messages.endswith("interrupted; the same command goes on where this one stopped\n")
    assert "Traceback" not in messages
    stopped_after = epochs_of(disturbed)
    assert 2 <= killed_after < stopped_after < 16

    assert main(words_of(toy_dataset, disturbed)) == 0
    assert main(words_of(toy_dataset, alone)) == 0
    assert curves(disturbed) == curves(alone)
    assert sorted(os.listdir(disturbed)) == sorted(os.listdir(alone))
    weights = [load_trained_model(run, "last").get_weights() for run in (alone, disturbed)]
    assert all((one == two).all() for one, two in zip(*weights, strict=True))


@pytest.mark.slow
def test_ten_kills_at_random_change_nothing(toy_dataset, tmp_path, capsys):
    flags = ["--epochs=120", "--batch_size=3", "--checkpoint_minutes=0.001", "--accumulate=2"]
    kills.main([str(toy_dataset), str(tmp_path), "--kills=10", "--", *FLAGS[:-1], *flags])
    printed = capsys.readouterr().out
    print(printed)
    assert len(re.findall(r"^\| \d", printed, re.M)) >= 8
    assert re.search(r"losses and metrics over 120 epochs: 0; of the final weights: 0$", printed)
    assert (tmp_path / "kills.png").exists()


# ---- A full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with room for a state or a model, not for all of them."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=7m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_was_saved_and_the_run_can_be_completed(
    toy_dataset, small_disk, capsys
):
    flags = ["--epochs=3", "--ema=0"]  # a state of 4 MB, models of 1.3
    words = words_of(toy_dataset, small_disk / "run", *flags)
    assert main(words) == 1
    messages = capsys.readouterr().err
    assert "state.npz cannot be written ([Errno 28] No space left on device); the one" in messages
    assert "the end of the training could not be saved" in messages
    assert messages.count("epoch ") >= 3  # it went on
    left = set(os.listdir(small_disk / "run"))
    assert {"state.npz", "run.flags"} <= left
    assert not [name for name in left if name.startswith(".")]

    subprocess.run(["mount", "-o", "remount,size=60m", str(small_disk)], check=True)
    assert main(words) == 0
    assert [row["epoch"] for row in curves(small_disk / "run")] == ["1", "2", "3"]
