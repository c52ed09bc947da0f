"""Checksums of joined data, beside those of the crc32c package."""

import numpy as np
import pytest
from crc32c import crc32c

from cbed_tf.dataset.joined_crc import join_crcs

DATA = np.random.default_rng(0).bytes(100_000)


def test_the_check_value_of_the_standard():
    assert join_crcs(crc32c(b"12345"), crc32c(b"6789"), 4) == 0xE3069283


@pytest.mark.parametrize("length", [0, 1, 7, 64, 4096, 65_535, 99_999, 100_000])
def test_a_joined_checksum_is_that_of_the_joined_data(length):
    first, second = DATA[: len(DATA) - length], DATA[len(DATA) - length :]

    assert join_crcs(crc32c(first), crc32c(second), length) == crc32c(DATA)


def test_many_pieces():
    crc = 0
    for start in range(0, len(DATA), 777):
        piece = DATA[start : start + 777]
        crc = join_crcs(crc, crc32c(piece), len(piece))
    assert crc == crc32c(DATA)
