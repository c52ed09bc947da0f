"""A toy data set of every target, and a short training on it, shared by the tests of models."""

import pytest
from archives import write_archive

from cbed_tf.__main__ import main
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions
from pipelines import TARGETS


@pytest.fixture(scope="session")
def toy_archive(tmp_path_factory):
    """16 synthetic samples of three patterns, not square, so that a transpose fails."""
    return write_archive(tmp_path_factory.mktemp("toy") / "archive")


@pytest.fixture(scope="session")
def toy_dataset(toy_archive):
    """The toy archive, converted; not to be changed."""
    folder = toy_archive.parent / "shards"
    convert_archive(toy_archive, folder, workers=1)
    return folder


@pytest.fixture(scope="session")
def encoded_toys(toy_archive, tmp_path_factory):
    """The toy archive as 16-bit patterns; not to be changed."""
    folder = tmp_path_factory.mktemp("encoded") / "shards"
    convert_archive(toy_archive, folder, ConvertOptions(encoding="uint16"), workers=1)
    return folder


@pytest.fixture(scope="session")
def toy_run(toy_dataset):
    """A run of two epochs with every target; not to be changed."""
    folder = toy_dataset.parent / "run"
    words = [f"--data_dir={toy_dataset}", f"--run_dir={folder}", f"--targets={','.join(TARGETS)}"]
    assert main(["train", *words, "--epochs=2", "--batch_size=4", "--seed=3"]) == 0
    return folder
