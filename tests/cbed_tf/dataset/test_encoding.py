"""16-bit patterns on values worked out by hand, at the edges, and over whole archives."""

import h5py
import numpy as np
import pytest

import cbed_tf
from cbed_tf.archive.synthetic import synthetic_stack
from cbed_tf.dataset.encoding import ENCODINGS, FLOAT32, UINT16, decode_stack, encode_stack

# Half a step of 1/65535, and what float32 adds.
LARGEST_ERROR = 8e-6


def pattern(*rows):
    return np.float32([rows])


def root_error(stack):
    """Largest error of the fourth root, in units of the pattern's largest."""
    codes, pattern_max = encode_stack(stack)
    roots = np.float64(stack) ** 0.25
    restored = np.float64(decode_stack(codes, pattern_max)) ** 0.25
    return (abs(restored - roots).max(axis=(1, 2)) / roots.max(axis=(1, 2))).max()


def test_codes_by_hand():
    # Fourth roots 0, 1, 2, 4 of the largest's 4; 65535 / 4 = 16383.75, / 2 = 32767.5.
    codes, pattern_max = encode_stack(pattern([0, 1], [16, 256]))

    assert codes.tolist() == [[[0, 16384], [32768, 65535]]]
    assert codes.dtype == "<u2"
    assert pattern_max.tolist() == [256]
    assert pattern_max.dtype == np.float32


def test_intensities_by_hand():
    decoded = decode_stack(np.uint16([[[0, 13107], [65535, 26214]]]), np.float32([625]))

    np.testing.assert_allclose(decoded, [[[0, 1], [625, 16]]], rtol=1e-6)  # fifths of 5, to the 4th
    assert decoded.dtype == np.float32


def test_each_pattern_has_its_own_largest():
    stack = np.float32([[[1, 16]], [[16, 1]], [[0, 0]]])
    codes, pattern_max = encode_stack(stack)

    assert codes.tolist() == [[[32768, 65535]], [[65535, 32768]], [[0, 0]]]
    assert pattern_max.tolist() == [16, 16, 0]
    np.testing.assert_allclose(decode_stack(codes, pattern_max), stack, rtol=1e-4)


def test_a_pattern_of_zeros_and_a_single_bright_pixel():
    stack = np.zeros((2, 5, 7), np.float32)
    stack[1, 3, 2] = 1e5
    codes, pattern_max = encode_stack(stack)

    assert np.argwhere(codes).tolist() == [[1, 3, 2]]
    assert codes[1, 3, 2] == 65535
    np.testing.assert_allclose(decode_stack(codes, pattern_max), stack, rtol=1e-6)


@pytest.mark.parametrize("largest", [1e-45, 1.2e-38, 1e-19, 1.0, 65504.0, 3.4e38])
def test_every_float32_can_be_the_largest(largest):
    codes, pattern_max = encode_stack(pattern([0, largest]))

    assert codes.tolist() == [[[0, 65535]]]
    np.testing.assert_allclose(
        decode_stack(codes, pattern_max)[0, 0, 1], np.float32(largest), rtol=1e-6
    )


def test_codes_are_written_where_asked():
    stack = synthetic_stack(1)
    codes = np.empty(stack.shape, np.uint16)

    assert encode_stack(stack, codes)[0] is codes
    np.testing.assert_array_equal(codes, encode_stack(stack)[0])


def test_batches_are_decoded_like_their_samples():
    encoded = [encode_stack(synthetic_stack(number)) for number in range(3)]
    codes, pattern_max = (np.stack(part) for part in zip(*encoded, strict=True))

    assert decode_stack(codes, pattern_max).tolist() == [
        decode_stack(*sample).tolist() for sample in encoded
    ]


def test_decoded_patterns_have_the_same_codes_again():
    codes, pattern_max = encode_stack(synthetic_stack(2, height=256, width=256))
    again, _ = encode_stack(decode_stack(codes, pattern_max))

    np.testing.assert_array_equal(again, codes)


def stacks_of(folder):
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            yield from (group["cbed_stack"][()] for group in file.values())


def test_the_error_of_the_fourth_root_over_the_sample_archive():
    errors = [root_error(stack) for stack in stacks_of(cbed_tf.sample_archive())]

    assert len(errors) == 72
    assert 7e-6 < max(errors) < LARGEST_ERROR


def test_the_error_of_the_fourth_root_over_real_files(real_archive):
    errors = [root_error(stack) for stack in stacks_of(real_archive)]

    assert errors
    assert max(errors) < LARGEST_ERROR


def test_bytes_of_a_stack():
    sizes = {name: ENCODINGS[name].image_bytes((3, 4, 5)) for name in (FLOAT32, UINT16)}

    assert sizes == {"float32": 240, "uint16": 120}
