"""`cbed inspect` as it is called: output, files, exit codes."""

import subprocess
import sys

import h5py
import matplotlib.image
import numpy as np
import pytest
from archives import write_archive, write_file

import cbed_tf
from cbed_tf.__main__ import main

FIRST = "train/batch_train_0/sample_0_0"


def inspect(folder, *flags):
    return main(["inspect", f"--input_dir={folder}", "--workers=1", *flags])


@pytest.fixture
def spoiled(archive):
    """An archive whose first sample has a bad pixel, and another an attribute too few."""
    with h5py.File(archive / "batch_train_0.h5", "a") as file:
        file["sample_0_0/cbed_stack"][0, 1, 2] = np.nan
        del file["sample_1_0"].attrs["abc_angstrom"]
    return archive


def test_a_sound_archive(archive, tmp_path, capsys):
    page, picture = tmp_path / "new/folder/report.html", tmp_path / "gallery.png"

    assert inspect(archive, f"--output={page}") == 0
    out, err = capsys.readouterr()
    assert "16 sound samples" in out
    assert "WARNING" not in out + err
    assert f"{page} is written" in out
    assert page.read_text().startswith("<!DOCTYPE html>")

    assert inspect(archive, f"--output={picture}") == 0
    assert matplotlib.image.imread(picture).ndim == 3


def test_rejected_samples_give_exit_code_3(spoiled, capsys):
    assert inspect(spoiled) == 3
    out, err = capsys.readouterr()
    assert f"{FIRST}  cbed_stack has 1 pixel(s) that are not a number" in out
    assert "attribute abc_angstrom is missing" in out
    assert "WARNING: 2 samples or files would be rejected." in err


def test_leaks_are_shouted_and_are_no_reason_to_fail(archive, capsys):
    write_file(archive / "batch_dev_7.h5", range(2))

    assert inspect(archive) == 0
    out, err = capsys.readouterr()
    assert "WARNING: 1 material occurs in more than one split" in out
    assert "WARNING: 1 material occurs in more than one split" in err


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.HTM"])
def test_other_kinds_of_output_are_refused_before_any_work(tmp_path, name, capsys):
    assert inspect(tmp_path / "no such archive", f"--output={tmp_path}/{name}") == 2
    assert "should end with .html or .png" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused_before_any_work(archive, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.html").mkdir()

    assert inspect(tmp_path / "no such archive", f"--output={tmp_path}/file/x.html") == 1
    assert "cannot be made" in capsys.readouterr().err
    assert inspect(tmp_path / "no such archive", f"--output={tmp_path}/folder.html") == 2
    assert "is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--workers=0", "--workers=x", "--sampel=1", "word"])
def test_wrong_flags_give_exit_code_2(archive, flag):
    assert inspect(archive, flag) == 2


def test_a_folder_that_is_none_gives_exit_code_1(tmp_path, capsys):
    assert inspect(tmp_path / "nowhere") == 1
    assert "nowhere is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", ["dev/batch_dev_0/sample_4_1", "batch_dev_0/sample_4_1"])
def test_one_sample_is_told_of_and_drawn(archive, tmp_path, wanted, capsys):
    (archive / "batch_train_0.h5").write_bytes(b"not looked at")
    picture = tmp_path / "sample.png"

    assert inspect(archive, f"--sample={wanted}", f"--output={picture}") == 0
    out = capsys.readouterr().out
    assert out.startswith("dev/batch_dev_0/sample_4_1\n")
    assert "syn-00004" in out
    assert matplotlib.image.imread(picture).shape[1] == pytest.approx(1200, rel=0.05)


def test_the_only_file_need_not_be_named(tmp_path, capsys):
    write_archive(tmp_path, train=2, dev=0, test=0)

    assert inspect(tmp_path, "--sample=sample_0_1") == 0
    assert capsys.readouterr().out.startswith("train/batch_train_0/sample_0_1\n")


def test_samples_one_group_down_have_longer_ids(tmp_path, capsys):
    write_file(tmp_path / "batch_test_3.h5", range(2), parent="batch")

    assert inspect(tmp_path, "--sample=test/batch_test_3/batch/sample_0_1") == 0
    assert capsys.readouterr().out.startswith("test/batch_test_3/batch/sample_0_1\n")


def test_a_rejected_sample_tells_its_reason(spoiled, tmp_path, capsys):
    assert inspect(spoiled, f"--sample={FIRST}", f"--output={tmp_path}/x.png") == 3
    assert "1 pixel(s) that are not a number" in capsys.readouterr().out
    assert (tmp_path / "x.png").exists()

    assert inspect(spoiled, "--sample=batch_train_0/sample_1_0") == 3
    assert "attribute abc_angstrom is missing" in capsys.readouterr().out


def test_a_sample_that_its_neighbours_contradict_tells_so(archive, capsys):
    with h5py.File(archive / "batch_train_0.h5", "a") as file:
        file["sample_2_1"].attrs["space_group"] = np.bytes_("3")

    assert inspect(archive, "--sample=batch_train_0/sample_2_1") == 3
    assert "space_group is 3, other samples of material" in capsys.readouterr().out


def test_patterns_that_cannot_be_read_are_not_drawn(archive, tmp_path, capsys):
    with h5py.File(archive / "batch_train_0.h5", "a") as file:
        del file["sample_0_0/cbed_stack"]

    assert inspect(archive, f"--sample={FIRST}", f"--output={tmp_path}/x.html") == 3
    assert "<img" not in (tmp_path / "x.html").read_text()
    assert inspect(archive, f"--sample={FIRST}", f"--output={tmp_path}/x.png") == 1
    assert "has no patterns to draw: no dataset cbed_stack" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("train/batch_train_0/sample_00", "sample_0_0"),
        ("train/batch_tran_0/sample_0_0", "train/batch_train_0"),
        ("sample_0_0", "train/batch_train_0"),
    ],
)
def test_an_unknown_sample_is_answered_with_near_ones(archive, wanted, nearest, capsys):
    assert inspect(archive, f"--sample={wanted}") == 1
    message = capsys.readouterr().err
    assert "an id looks like train/batch_train_0/sample_0_0" in message
    assert nearest in message.partition("nearest")[2]


def test_neither_tensorflow_nor_a_window_system_is_imported(tmp_path):
    program = (
        "import sys; from cbed_tf.__main__ import main;"
        f"code = main(['inspect', '--input_dir={cbed_tf.sample_archive()}',"
        f" '--sample=batch_dev_0/sample_0_3', '--output={tmp_path}/x.png']);"
        "assert not {'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules); sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
