import pytest

from cbed_tf.errors import CbedError
from models import runs


def test_claimed_folder_holds_the_flags(tmp_path):
    run_dir = runs.claim_run_dir(tmp_path / "deep" / "run", ["--seed=1", "--epochs=2"])
    assert (run_dir / "run.flags").read_text() == "--seed=1\n--epochs=2\n"


@pytest.mark.parametrize("name", ["run.flags", "log.csv", "best.keras", "last.keras"])
def test_folder_of_a_run_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(CbedError, match=f"already holds a run.*nothing is overwritten.*{name}"):
        runs.claim_run_dir(tmp_path, ["--seed=1"])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CbedError, match="cannot be made"):
        runs.claim_run_dir(tmp_path / "file" / "run", [])


def test_missing_and_broken_models_are_refused_by_name(tmp_path):
    with pytest.raises(CbedError, match="no trained model best[.]keras"):
        runs.load_trained_model(tmp_path)
    (tmp_path / "last.keras").write_bytes(b"no model")
    with pytest.raises(CbedError, match="last[.]keras cannot be read"):
        runs.load_trained_model(tmp_path, "last")
