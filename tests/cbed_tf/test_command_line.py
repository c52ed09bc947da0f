"""The `cbed` command as such: names, help, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

import cbed_tf
from cbed_tf.__main__ import COMMANDS, main

ROOT = Path(cbed_tf.__file__).parents[1]


def test_without_words_it_lists_the_commands(capsys):
    assert main([]) == 2
    printed = capsys.readouterr().err
    assert all(name in printed for name in COMMANDS)
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.strip() == printed.partition("\n\n")[2].strip()


def test_an_unknown_command_is_named(capsys):
    assert main(["convrt"]) == 2
    assert "unknown command 'convrt'" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_and_every_flag(name, capsys):
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"cbed {name} --")
    assert "Flags:\n" in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_unknown_flags_are_refused_by_name(name, capsys):
    assert main([name, "--no_such_flag=1"]) == 2
    assert "no_such_flag" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error():
    words = f"{sys.executable} -m cbed_tf convert --help | head -1"
    done = subprocess.run(words, shell=True, capture_output=True, text=True)

    assert done.stdout.startswith("cbed convert")
    assert done.stderr == ""


def test_flags_may_come_from_a_file(tmp_path, archive):
    flagfile = tmp_path / "convert.flags"
    flagfile.write_text(f"# a comment\n--input_dir={archive}\n--output_dir={tmp_path}/out\n")

    assert main(["convert", f"--flagfile={flagfile}", "--workers=1"]) == 0


def test_flags_of_an_earlier_call_are_forgotten(tmp_path, archive, capsys):
    words = ["convert", f"--input_dir={archive}", f"--output_dir={tmp_path}/out"]
    assert main([*words, "--seed=5"]) == 0
    assert main(words) == 1
    assert "--seed was 5, is now 0" in capsys.readouterr().err


def test_it_runs_as_a_module_and_starts_without_tensorflow():
    words = [sys.executable, "-X", "importtime", "-m", "cbed_tf", "convert", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)

    assert "tensorflow" not in done.stderr
    assert "h5py" in done.stderr  # the list of imports is there


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == cbed_tf.__version__


def test_the_sample_archive_ships_with_the_package():
    files = sorted(path.name for path in cbed_tf.sample_archive().glob("*.h5"))

    assert files == [
        "batch_dev_0.h5", "batch_test_0.h5", "batch_train_0.h5", "batch_train_1.h5",
    ]  # fmt: skip
