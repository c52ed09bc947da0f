"""How patterns are stored: the encodings to choose from, and the way there and back.

'float32' keeps intensities as they are. 'uint16' keeps each pattern as its fourth root in 65535
steps, beside its largest intensity: half the bytes, and the fourth root, which is what models and
people look at, comes back to half a step, 8e-6 of the pattern's largest. Sixteen bits would not do
for the raw intensity: float16 turns 41 % of the pixels into 0 and cannot hold the brightest.
"""

import dataclasses
import math

import numpy as np

from cbed_tf.schema import FIELDS, IMAGE_DTYPE, PATTERN_MAX, Field

FLOAT32 = "float32"
UINT16 = "uint16"
LARGEST_CODE = 65535


@dataclasses.dataclass(frozen=True)
class Encoding:
    """A form of stored patterns.

    Attributes:
      name: As users ask for it.
      dtype: Of a stored pixel, little-endian.
      meaning: Of a stored pixel, for people.
      beside: Fields that a record needs to give intensities back.
    """

    name: str
    dtype: np.dtype
    meaning: str
    beside: tuple[Field, ...] = ()

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields of a record beside its patterns."""
        return (*FIELDS, *self.beside)

    def image_bytes(self, image_shape: tuple[int, int, int]) -> int:
        """Returns the bytes of a stored stack, (views, height, width)."""
        return math.prod(image_shape) * self.dtype.itemsize


ENCODINGS = {
    FLOAT32: Encoding(FLOAT32, IMAGE_DTYPE, "intensity"),
    UINT16: Encoding(
        UINT16,
        np.dtype("<u2"),
        f"{LARGEST_CODE} * (intensity / pattern_max) ** (1/4), rounded",
        (PATTERN_MAX,),
    ),
}


def encode_stack(
    stack: np.ndarray, codes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Encodes patterns as 'uint16'; `decode_stack` is the way back.

    Square roots and products of float32 are exactly rounded by every processor, so the codes are
    the same everywhere.

    Args:
      stack: Intensities, float32 (views, height, width), finite and not negative.
      codes: Where to write the codes; a new array by default.

    Returns:
      Codes, uint16 of the same shape, and the largest intensity of each pattern, float32 (views,).
    """
    codes = np.empty(stack.shape, ENCODINGS[UINT16].dtype) if codes is None else codes
    pattern_max = stack.max(axis=(1, 2))
    # Pattern by pattern, as one fits into the processor's cache: a fourth of the time of
    # np.round((stack / max) ** 0.25 * 65535).
    steps = np.empty(stack.shape[1:], np.float32)
    for pattern, largest, out in zip(stack, pattern_max, codes, strict=True):
        np.sqrt(pattern, out=steps)
        np.sqrt(steps, out=steps)
        np.multiply(steps, _steps_per_root(largest), out=steps)
        np.rint(steps, out=steps)
        out[:] = steps
    return codes, pattern_max


def _steps_per_root(largest: np.float32) -> np.float32:
    if largest == 0:  # a pattern of zeros
        return np.float32(0)
    return np.float32(LARGEST_CODE) / np.sqrt(np.sqrt(largest))


def decode_stack(codes: np.ndarray, pattern_max: np.ndarray) -> np.ndarray:
    """Decodes 'uint16' patterns to intensities, float32.

    Args:
      codes: uint16 (..., views, height, width).
      pattern_max: float32 (..., views).
    """
    roots = codes * (np.sqrt(np.sqrt(pattern_max)) / np.float32(LARGEST_CODE))[..., None, None]
    return np.square(np.square(roots))
