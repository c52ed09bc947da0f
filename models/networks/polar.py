"""Patterns around the beam: polar coordinates, and what in them does not depend on rotation.

How a crystal lies about the beam says nothing of the crystal, while two-, three-, four- and sixfold
symmetry is what its space group is read from. In polar coordinates a rotation is a shift, and of a
shift only the phases of a Fourier series know: its magnitudes are those of every rotated pattern,
and an n-fold symmetric one has only every n-th of them.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

# Rings are a pixel apart in patterns of about this size; larger ones are averaged down to it first.
_SAMPLED_EXTENT = 128
# Keeps the square root's slope finite where a Fourier coefficient is 0.
_TINY = 1e-8


@keras.saving.register_keras_serializable("cbed_tf")
class PolarSampling(keras.layers.Layer):
    """(patterns, height, width, channels) -> (patterns, rings, angles, channels), bilinearly.

    The rings lie around the middle of the pattern, one pixel apart. The undiffracted beam is there
    to an eighth of a pixel of 128: at pixel 256 of 512, whose middle is 255.5.

    Args:
      reach: Radius of the outermost ring, as a share of the smaller side's half, 0 to 1. Far out,
        thermal scattering drowns what is periodic.
      angles: Directions sampled, the first along the columns' axis, counted clockwise.
    """

    def __init__(self, reach: float = 0.625, angles: int = 64, **kwargs: Any):
        if not 0 < reach <= 1:
            raise ValueError(f"reach is {reach}, should be above 0 and at most 1")
        if angles < 1:
            raise ValueError(f"angles is {angles}, should be at least 1")
        super().__init__(**kwargs)
        self.reach = reach
        self.angles = angles

    def build(self, input_shape: tuple) -> None:
        """Computes from which pixels each place is interpolated, and how much of each."""
        height, width = self._sampled_shape(input_shape)
        radius = np.arange(1, self._rings(input_shape) + 1)[:, None]
        angle = np.arange(self.angles) * (2 * math.pi / self.angles)
        row = (height - 1) / 2 + radius * np.sin(angle)
        column = (width - 1) / 2 + radius * np.cos(angle)
        self._pixels, self._shares = _bilinear(row, column, (height, width))

    def call(self, patterns: Any) -> Any:
        """Returns the patterns in polar coordinates."""
        shrink = self._shrink(patterns.shape)
        if shrink > 1:
            patterns = ops.average_pool(patterns, shrink, padding="valid")
        _, height, width, channels = patterns.shape
        flat = ops.reshape(patterns, (-1, height * width, channels))
        places = sum(
            ops.take(flat, pixels, axis=1) * ops.convert_to_tensor(share[:, None], flat.dtype)
            for pixels, share in zip(self._pixels, self._shares, strict=True)
        )
        return ops.reshape(places, (-1, *self.compute_output_shape(patterns.shape)[1:]))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape with rings and angles."""
        return (input_shape[0], self._rings(input_shape), self.angles, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "reach": self.reach, "angles": self.angles}

    def _shrink(self, input_shape: tuple) -> int:
        return max(1, min(input_shape[1:3]) // _SAMPLED_EXTENT)

    def _sampled_shape(self, input_shape: tuple) -> tuple[int, int]:
        shrink = self._shrink(input_shape)
        return input_shape[1] // shrink, input_shape[2] // shrink

    def _rings(self, input_shape: tuple) -> int:
        # The last one stays inside the pattern, its neighbours included.
        half = min(self._sampled_shape(input_shape)) // 2 - 1
        return max(1, min(half, round(self.reach * half)))


@keras.saving.register_keras_serializable("cbed_tf")
class CircularPadding(keras.layers.Layer):
    """Continues maps (batch, rings, angles, channels) for a convolution: angles go round.

    Args:
      margin: Places added on each side; around the rings they are zeros.
    """

    def __init__(self, margin: int, **kwargs: Any):
        if margin < 1:
            raise ValueError(f"margin is {margin}, should be at least 1")
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, maps: Any) -> Any:
        """Returns the larger maps."""
        before, after = maps[:, :, -self.margin :], maps[:, :, : self.margin]
        maps = ops.concatenate([before, maps, after], axis=2)
        return ops.pad(maps, ((0, 0), (self.margin, self.margin), (0, 0), (0, 0)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape with the margins."""
        batch, rings, angles, channels = input_shape
        return (batch, rings + 2 * self.margin, angles + 2 * self.margin, channels)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable("cbed_tf")
class AngularSpectrum(keras.layers.Layer):
    """(batch, rings, angles, channels) -> (batch, rings, orders, channels): Fourier magnitudes.

    Order n is how much of a ring repeats n times around the beam; order 0 is its mean.

    Args:
      orders: Their number, from 0; at most half of the angles and one.
    """

    def __init__(self, orders: int, **kwargs: Any):
        if orders < 1:
            raise ValueError(f"orders is {orders}, should be at least 1")
        # Squares of small numbers are nothing in float16.
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.orders = orders

    def build(self, input_shape: tuple) -> None:
        """Computes the cosines and sines of the orders.

        Raises:
          ValueError: There are too few angles for them.
        """
        angles = input_shape[2]
        if self.orders > angles // 2 + 1:
            raise ValueError(f"orders is {self.orders}, {angles} angles have {angles // 2 + 1}")
        phase = np.outer(np.arange(angles), np.arange(self.orders)) * (2 * math.pi / angles)
        self._waves = [(wave(phase) / angles).astype(np.float32) for wave in (np.cos, np.sin)]

    def call(self, maps: Any) -> Any:
        """Returns the magnitudes."""
        parts = [ops.einsum("brac,ao->broc", maps, wave) for wave in self._waves]
        return ops.sqrt(sum(ops.square(part) for part in parts) + _TINY)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Returns the shape with orders instead of angles."""
        batch, rings, _, channels = input_shape
        return (batch, rings, self.orders, channels)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "orders": self.orders}


def _bilinear(
    row: np.ndarray, column: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the four pixels around each place, as numbers in a flat pattern, and their shares."""
    top = np.clip(np.floor(row).astype(np.int32), 0, shape[0] - 2)
    left = np.clip(np.floor(column).astype(np.int32), 0, shape[1] - 2)
    down, right = row - top, column - left
    first = top * shape[1] + left
    pixels = np.stack([first, first + 1, first + shape[1], first + shape[1] + 1])
    shares = [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right]
    return pixels.reshape(4, -1), np.stack(shares).reshape(4, -1).astype(np.float32)
