"""Trainings on several devices are those on one: in one process, and in two that meet."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cbed_tf.__main__ import main
from cbed_tf.dataset.manifest import load_manifest
from cbed_tf.errors import CbedError
from models import load_trained_model
from models.learning.options import TrainingOptions
from models.saving.state import read_state
from models.training.training_data import TrainingData

HERE = Path(__file__).parent
# 8 samples in batches of 6 over two devices: 3 and 3, then 1 and 1.
FLAGS = ["--targets=space_group,abc_angstrom", "--batch_size=6", "--accumulate=2", "--ema=0.9"]
FLAGS += ["--clip_norm=1", "--epochs=3"]


def words_of(data_dir, run_dir):
    return ["train", f"--data_dir={data_dir}", f"--run_dir={run_dir}", *FLAGS]


def start_workers(words):
    return subprocess.Popen(
        [sys.executable, "-m", "cbed_tf", *words, "--local_workers=2"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_workers_learn_what_one_process_does(toy_dataset, tmp_path):
    together, alone = tmp_path / "together", tmp_path / "alone"
    process = start_workers(words_of(toy_dataset, together))
    assert main(words_of(toy_dataset, alone)) == 0
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 0, messages
    assert "on 2 x " in messages
    assert messages.count("epoch 3 of 3") == 1  # the chief alone speaks
    assert sorted(os.listdir(together)) == sorted(os.listdir(alone))
    assert_alike(together, alone)


def assert_alike(together, alone):
    one, two = (json.loads((run / "run.json").read_text()) for run in (alone, together))
    assert two["epochs"] == one["epochs"]
    assert two["best"] == pytest.approx(one["best"], rel=1e-3)
    weights = [load_trained_model(run, "last").get_weights() for run in (alone, together)]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_dies_ends_the_others_and_the_run_goes_on(toy_dataset, tmp_path, index):
    together, alone = tmp_path / "together", tmp_path / "alone"
    words = [*words_of(toy_dataset, together), "--epochs=12"]
    process = start_workers(words)
    while not (together / "log.csv").exists():  # an epoch is saved
        assert process.poll() is None
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[index]), signal.SIGKILL)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"worker {1 - index} has lost another worker: " in messages
    assert "with the same command: the training goes on from the last state" in messages
    assert f"worker {index} was ended by SIGKILL" in messages
    assert "Traceback" not in messages
    assert (together / "state.npz").exists()

    process = start_workers(words)
    _, messages = process.communicate(timeout=120)
    assert process.returncode == 0, messages
    assert "; going on after " in messages
    assert main([*words_of(toy_dataset, alone), "--epochs=12"]) == 0
    assert_alike(together, alone)


@pytest.mark.slow
def test_a_stop_of_the_parent_stops_and_saves_all(toy_dataset, tmp_path):
    process = start_workers([*words_of(toy_dataset, tmp_path), "--epochs=999"])
    while not (tmp_path / "log.csv").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert messages.count("SIGTERM: saving, then stopping") == 2
    assert "Traceback" not in messages
    assert read_state(tmp_path / "state.npz")[1].rows


def test_two_devices_of_a_process_take_the_steps_of_one(toy_dataset):
    words = [sys.executable, str(HERE / "two_devices.py"), str(toy_dataset)]
    found = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
    assert found["differences"]["weights"] < 1e-3
    assert found["differences"]["batch statistics"] < 1e-5
    assert found["differences"]["metrics"] < 1e-5
    assert found["changed"] > 0.1
    assert found["samples"] == found["samples of one"]
    # A chance of its own for each device, and the count of draws that is saved is that of both.
    assert found["seeds"][0] != found["seeds"][1]
    assert found["draws"] == 1


def test_a_batch_must_be_cut_evenly(toy_dataset):
    class Three:
        num_replicas_in_sync = 3

    options = TrainingOptions(batch_size=32)
    with pytest.raises(CbedError, match="batch_size is 32, should be a multiple of the 3 devices"):
        TrainingData(toy_dataset, None, options, Three())


def test_a_last_batch_that_is_too_small_for_the_devices_says_of_which_split(toy_dataset):
    class Three:
        num_replicas_in_sync = 3

    options = TrainingOptions(batch_size=3)  # of the 8 samples, 2 for the last batch
    with pytest.raises(CbedError, match="batch_size is 3: of the 8 samples of train, the last"):
        TrainingData(toy_dataset, load_manifest(toy_dataset), options, Three())


def test_local_workers_of_another_strategy_are_a_usage_error(toy_dataset, tmp_path, capsys):
    words = [*words_of(toy_dataset, tmp_path / "run"), "--local_workers=2", "--strategy=mirrored"]
    assert main(words) == 2
    assert "--local_workers is for --strategy=multi_worker" in capsys.readouterr().err


def test_without_machines_multi_worker_says_how_to_try_it_out(
    toy_dataset, tmp_path, capsys, monkeypatch
):
    for name in ("TF_CONFIG", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert main([*words_of(toy_dataset, tmp_path / "run"), "--strategy=multi_worker"]) == 1
    assert "try it out with --local_workers=2" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
