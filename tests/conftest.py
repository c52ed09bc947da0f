"""Fixtures that several rooms' tests share."""

import os
from pathlib import Path

import pytest
from archives import write_archive

import cbed_tf
from cbed_tf.conversion.convert import convert_archive
from cbed_tf.conversion.plan import ConvertOptions


@pytest.fixture
def archive(tmp_path):
    """A fresh archive of 16 small synthetic samples, to read or to spoil."""
    return write_archive(tmp_path / "archive")


@pytest.fixture(scope="session")
def sample_dataset(tmp_path_factory):
    """The packaged sample archive, converted, in several shards a split; not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    convert_archive(cbed_tf.sample_archive(), folder, ConvertOptions(shard_size_mb=3), workers=1)
    return folder


@pytest.fixture(scope="session")
def encoded_dataset(tmp_path_factory):
    """The same archive with 16-bit patterns, in several shards a split; not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "encoded"
    options = ConvertOptions(shard_size_mb=2, encoding="uint16")
    convert_archive(cbed_tf.sample_archive(), folder, options, workers=1)
    return folder


@pytest.fixture(scope="session")
def real_archive():
    """Full-resolution files, where CBED_TEST_ARCHIVE names a folder that has them in full/."""
    folder = os.environ.get("CBED_TEST_ARCHIVE")
    if not folder:
        pytest.skip("CBED_TEST_ARCHIVE names no folder")
    return Path(folder) / "full"
