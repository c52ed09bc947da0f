import fcntl
import os

import pytest

from cbed_tf.errors import CbedError
from models.saving import runs

FLAGS = ["# a comment", "--run_dir=/here", "--seed=1", "--epochs=2"]


def claim(folder, lines=FLAGS):
    with runs.claim_run_dir(folder, lines) as run_dir:
        return run_dir


def test_claimed_folder_holds_the_flags(tmp_path):
    run_dir = claim(tmp_path / "deep" / "run", ["--seed=1", "--epochs=2"])
    assert (run_dir / "run.flags").read_text() == "--seed=1\n--epochs=2\n"


def test_a_state_without_flags_is_left_alone(tmp_path):
    (tmp_path / "state.npz").touch()
    with pytest.raises(CbedError, match="already holds a run"):
        claim(tmp_path)
    assert os.listdir(tmp_path) == ["state.npz"]


@pytest.mark.parametrize("name", ["run.json", "log.csv", "best.keras", "last.keras"])
@pytest.mark.parametrize("has_flags", [True, False])
def test_folder_of_a_run_is_refused_and_left_alone(tmp_path, name, has_flags):
    if has_flags:
        claim(tmp_path)
    (tmp_path / name).write_text("precious")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CbedError, match=f"already holds a run.*nothing is overwritten.*{name}"):
        claim(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_unfinished_run_is_taken_up_wherever_it_lies(tmp_path):
    claim(tmp_path)
    for name in ("state.npz", "log.csv", "last.keras", ".best.keras.1.tmp.keras", ".log.csv.1.tmp"):
        (tmp_path / name).write_text("so far")
    elsewhere = ["--run_dir=/elsewhere", "--strategy=mirrored", "--checkpoint_minutes=1.0"]
    claim(tmp_path, ["# another comment", *elsewhere, *FLAGS[2:]])
    assert (tmp_path / "run.flags").read_text().splitlines() == FLAGS
    assert sorted(os.listdir(tmp_path)) == ["last.keras", "log.csv", "run.flags", "state.npz"]


def test_a_finished_run_is_not_taken_up_though_it_died_with_its_state(tmp_path):
    claim(tmp_path)
    for name in ("state.npz", "run.json"):
        (tmp_path / name).touch()
    with pytest.raises(CbedError, match="already holds a run"):
        claim(tmp_path)


def test_other_flags_are_refused_by_name(tmp_path):
    claim(tmp_path)
    (tmp_path / "state.npz").touch()
    with pytest.raises(CbedError) as refusal:
        claim(tmp_path, ["--seed=1", "--epochs=3", "--ema=0.9"])
    message = str(refusal.value)
    assert "holds an unfinished run with other flags: --epochs=2 there and 3 here, " in message
    assert "--ema=(none) there and 0.9 here. " in message
    assert "seed" not in message


def test_a_folder_in_which_nothing_was_trained_takes_other_flags(tmp_path):
    claim(tmp_path)  # and refused behind that
    claim(tmp_path, ["--seed=2"])
    assert (tmp_path / "run.flags").read_text() == "--seed=2\n"


def test_a_second_training_is_refused_until_the_first_is_over(tmp_path):
    claim(tmp_path)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(CbedError, match="another training is writing"):
        claim(tmp_path)
    os.close(descriptor)
    claim(tmp_path)


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CbedError, match="cannot be made"):
        claim(tmp_path / "file" / "run", [])


def test_missing_and_broken_models_are_refused_by_name(tmp_path):
    with pytest.raises(CbedError, match="no trained model best[.]keras"):
        runs.load_trained_model(tmp_path)
    (tmp_path / "last.keras").write_bytes(b"no model")
    with pytest.raises(CbedError, match="last[.]keras cannot be read"):
        runs.load_trained_model(tmp_path, "last")
