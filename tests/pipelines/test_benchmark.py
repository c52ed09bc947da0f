"""The benchmark measures every stage and says so; how fast they are is no test."""

import json

import pytest

from cbed_tf.__main__ import main
from pipelines.benchmark import read_at_limit, read_dataset


def test_the_command_prints_and_writes_every_stage(sample_dataset, tmp_path, capsys):
    words = ["benchmark", f"--data_dir={sample_dataset}", "--batch_size=4", "--rounds=2"]
    assert main([*words, "--seconds=0.05", f"--output={tmp_path}/new/speeds.json"]) == 0

    stages = json.loads((tmp_path / "new" / "speeds.json").read_text())
    assert [stage["name"] for stage in stages] == [
        "read limit", "gather", "stream", "gather, scaled", "stream, scaled",
    ]  # fmt: skip
    printed = capsys.readouterr().out
    for stage in stages:
        assert stage["name"] in printed
        median, slowest, fastest = stage["samples_per_second"]
        assert 0 < slowest <= median <= fastest
    assert stages[0]["ratio_to_limit"] == 1


@pytest.mark.parametrize("stage", ["limit", "gather", "stream"])
@pytest.mark.parametrize("data", ["sample_dataset", "encoded_dataset"])
def test_stages_go_round_and_round_the_split(request, data, stage):
    folder = request.getfixturevalue(data)
    if stage == "limit":
        batches = read_at_limit(folder, "dev", 5)
    else:
        batches = read_dataset(folder, "dev", 5, stage, scaled=False)

    assert [next(batches) for _ in range(7)] == [5] * 7


@pytest.mark.parametrize(
    ("flag", "code", "message"),
    [
        ("--output=speeds.txt", 2, "--output=speeds.txt should end in .json"),
        ("--split=tset", 2, "--split=tset"),
        ("--batch_size=1000", 1, "should be at most the 48 samples of train"),
    ],
)
def test_wrong_flags_are_refused(sample_dataset, capsys, flag, code, message):
    assert main(["benchmark", f"--data_dir={sample_dataset}", flag]) == code
    assert message in capsys.readouterr().err
