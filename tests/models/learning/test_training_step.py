"""A training step by itself, and `cbed benchmark`, which times it."""

import json

import numpy as np
import pytest
import tensorflow as tf

from cbed_tf.__main__ import main
from cbed_tf.errors import CbedError
from models.commands import benchmark
from models.learning import training_step
from models.learning.learner import Learner
from models.learning.training_step import make_train_step
from pipelines import load_dataset


@pytest.mark.parametrize("data", ["sample_dataset", "encoded_dataset"])
def test_a_step_changes_the_weights(request, data, monkeypatch):
    folder = request.getfixturevalue(data)
    models = []
    monkeypatch.setattr(
        training_step, "Learner", lambda *args: models.append(Learner(*args)) or models[-1]
    )
    step = make_train_step(folder, "small")
    before = [np.array(weight) for weight in models[0].trainable_weights]
    step(*next(iter(load_dataset(folder, "dev", 4))))

    after = models[0].trainable_weights
    assert any((old != np.array(new)).any() for old, new in zip(before, after, strict=True))


def test_a_step_beyond_the_memory_says_what_to_change(toy_dataset, monkeypatch):
    def train_on_batch(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr("keras.Model.train_on_batch", train_on_batch)
    step = make_train_step(toy_dataset, "small", mixed_precision=True)

    with pytest.raises(training_step.CbedError, match="a smaller batch_size may"):
        step(*next(iter(load_dataset(toy_dataset, "dev", 4))))
    assert training_step.keras.config.dtype_policy().name == "float32"


def test_the_command_prints_and_writes_every_stage(toy_dataset, tmp_path, capsys):
    output, figure = tmp_path / "new" / "speeds.json", tmp_path / "speeds.png"
    words = ["benchmark", f"--data_dir={toy_dataset}", "--batch_size=4", "--rounds=2"]
    assert main([*words, "--seconds=0.05", f"--output={output}", f"--figure={figure}"]) == 0

    found = json.loads(output.read_text())
    printed = capsys.readouterr().out
    for stage in found["stages"]:
        assert stage["name"] in printed
    assert [stage["name"] for stage in found["stages"][-3:]] == [
        "first layer", "model step", "training",
    ]  # fmt: skip
    assert found["model"] == "small"
    assert f"Bottleneck: {found['bottleneck']}" in printed
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CbedError, match="speeds.json cannot be written: "):
        benchmark._write(tmp_path / "file" / "speeds.json", b"{}")


def test_reading_is_measured_without_a_model(toy_dataset, capsys):
    words = ["benchmark", f"--data_dir={toy_dataset}", "--batch_size=4", "--rounds=1"]
    assert main([*words, "--seconds=0.01", "--backbone=none", "--reader=stream"]) == 0

    printed = capsys.readouterr().out
    assert "feeding a model with stream" in printed
    assert "model step" not in printed


def test_urls_are_refused(capsys):
    words = ["--data_dir=http://localhost:1/shards", "--backbone=none"]
    assert main(["benchmark", *words]) == 1
    assert "only a data set in a folder can be measured" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "code", "message"),
    [
        ("--output=speeds.txt", 2, "--output=speeds.txt should end in .json"),
        ("--figure=speeds.pdf", 2, "--figure=speeds.pdf should end in .png"),
        ("--split=tset", 2, "--split=tset"),
        ("--backbone=resnet5", 1, "should be one of small, polar, resnet50"),
        ("--batch_size=1000", 1, "should be at most the 8 samples of train"),
    ],
)
def test_wrong_flags_are_refused(toy_dataset, capsys, flag, code, message):
    assert main(["benchmark", f"--data_dir={toy_dataset}", flag]) == code
    assert message in capsys.readouterr().err
