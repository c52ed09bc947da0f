"""Augmentations that move a pattern's pixels: rotation, mirror, size, shift, elliptical distortion.

All five are one map of the plane, so a pattern is interpolated once, whatever is asked for.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from cbed_tf import crystal
from pipelines.augmentation.layer import AugmentLayer, Labels, check_strength, uniform

# Sines and cosines are rounded to this, 1e-6, so that a quarter turn is one bit by bit.
_TRIGONOMETRIC_STEPS = 2.0**20
# What is inversely proportional to the distances in a pattern.
_LENGTHS = ("abc_angstrom", "d_hkls_angstrom")
_MIRRORED_CLASS = np.int32([crystal.mirrored_space_group(n) - 1 for n in crystal.ALL_SPACE_GROUPS])


@keras.saving.register_keras_serializable("cbed_tf")
class RandomAffine(AugmentLayer):
    """Mirrors, rotates, magnifies, distorts and shifts patterns with one interpolation.

    The order is that of the microscope: the crystal may be the mirror image, it lies in its holder
    at any angle, the projector lens magnifies and distorts, and the pattern falls beside the
    detector's middle.
    For scaled images: between neighbouring pixels, fourth roots are closer to linear than raw
    intensities. What comes from outside the pattern is 0.

    - Rotation: about the beam, for each view by itself. How the crystal lies about the beam, and
      how far the lenses turn the image, says nothing about the crystal.
    - Mirror: for all views of a sample alike, as one view alone cannot be of the mirror image.
      It exchanges the enantiomorphic space groups (P 31 2 1 becomes P 32 2 1), so it maps the label
      `space_group`. **With images alone it cannot, and lies about these 22 groups**; use it there
      only where nothing depends on handedness. Cell, d-spacings, crystal system, point group and
      composition are those of the mirror image too.
    - Magnification: of all views of a sample alike. Diffraction by a cell of other size, but of the
      same symmetry: distances and, as semi-angles were chosen by d-spacings, disks grow as the cell
      shrinks, so the labels `abc_angstrom` and `d_hkls_angstrom` are divided by it. **With images
      alone it cannot do that.** Approximate: the rings of higher Laue zones grow by its root, and
      intensities stay those of the cell that was simulated.
    - Shift: of the beam's centre, for each view by itself; it drifts between two exposures.
    - Ellipticity: residual astigmatism of the projector lens, the same for all views of a sample,
      along any axis. The area stays, so d-spacings are right on average.

    Args:
      rotation: Greatest angle in degrees, either way; 180 is any angle.
      mirror: Probability.
      shift: Greatest shift along each axis, as a share of the pattern's smaller side.
      ellipticity: Greatest e of a stretch by 1 + e along an axis and 1 / (1 + e) across.
      magnification: Greatest m of a magnification between 1 / (1 + m) and 1 + m, alike for both.
      seed: The same seed repeats the same changes.
    """

    def __init__(
        self,
        rotation: float = 0.0,
        mirror: float = 0.0,
        shift: float = 0.0,
        ellipticity: float = 0.0,
        magnification: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        check_strength("rotation", rotation, 0, 180)
        check_strength("mirror", mirror, 0, 1)
        check_strength("shift", shift, 0, 0.5)
        check_strength("ellipticity", ellipticity, 0, 0.5)
        check_strength("magnification", magnification, 0, 1)
        super().__init__(seed, **kwargs)
        self.rotation = rotation
        self.mirror = mirror
        self.shift = shift
        self.ellipticity = ellipticity
        self.magnification = magnification

    def change(
        self, images: Any, labels: Labels, weights: Labels, seed: Any
    ) -> tuple[Any, Labels, Labels]:
        """Moves the pixels; changes what is no longer true of mirrored or magnified samples."""
        batch, views, height, width = ops.shape(images)
        mirrored = uniform(seed, 0, (batch,)) < self.mirror
        degrees = self.rotation * (2 * uniform(seed, 1, (batch, views)) - 1)
        stretch = 1 + self.ellipticity * uniform(seed, 2, (batch, 1))
        axis = 180 * uniform(seed, 3, (batch, 1))
        shift = self.shift * min(height, width) * (2 * uniform(seed, 4, (batch, views, 2)) - 1)
        size = (1 + self.magnification) ** (2 * uniform(seed, 5, (batch, 1)) - 1)
        back = affine_matrix(degrees, mirrored[:, None], stretch, axis) / size[..., None, None]
        labels = _magnify_labels(_mirror_labels(labels, mirrored), size)
        return resample(images, back, shift), labels, weights

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {
            **super().get_config(),
            "rotation": self.rotation,
            "mirror": self.mirror,
            "shift": self.shift,
            "ellipticity": self.ellipticity,
            "magnification": self.magnification,
        }


def affine_matrix(degrees: Any, mirrored: Any, stretch: Any, axis: Any) -> Any:
    """Returns matrices that lead from a place in the changed pattern back to the original.

    Places are (x to the right, y down) from the middle. The pattern is mirrored left to right, then
    rotated counterclockwise as one sees it, then stretched.

    Args:
      degrees: Of the rotation; the shapes of the others broadcast to its shape.
      mirrored: Whether it is mirrored.
      stretch: Factor along `axis`; the extent across is divided by it.
      axis: Direction of the stretch in degrees from x, clockwise as one sees it.

    Returns:
      float32 (*shape of degrees, 2, 2); the determinant is 1, or -1 of a mirrored pattern.
    """
    cosine, sine = _cosine_sine(degrees)
    sign = ops.where(mirrored, -1.0, 1.0)
    back = _matrix(sign * cosine, -sign * sine, sine, cosine)
    cosine, sine = _cosine_sine(2 * axis)
    mean, half = (1 / stretch + stretch) / 2, (1 / stretch - stretch) / 2
    shrink = _matrix(mean + half * cosine, half * sine, half * sine, mean - half * cosine)
    # Not matmul: GPUs may round its factors to 10 bits (TF32), a quarter of a pixel at 256.
    return ops.sum(back[..., :, :, None] * shrink[..., None, :, :], axis=-2)


def resample(images: Any, matrix: Any, shift: Any) -> Any:
    """Moves the pixels of patterns by bilinear interpolation.

    Coordinates that are whole numbers give the pixels themselves, bit by bit. TensorFlow's own
    ImageProjectiveTransformV3 is as fast on a CPU, but XLA has no kernel for it.

    Args:
      images: float32 (batch, views, height, width).
      matrix: From `affine_matrix`, (batch, views, 2, 2).
      shift: Pixels (x to the right, y down) that the middle is moved by, (batch, views, 2).

    Returns:
      float32 of the same shape; 0 where the original has no pixel.
    """
    shape = ops.shape(images)
    _, _, height, width = shape
    x_middle, y_middle = (width - 1) / 2, (height - 1) / 2
    x = ops.arange(width, dtype="float32") - x_middle - shift[..., 0, None, None]
    y = ops.arange(height, dtype="float32")[:, None] - y_middle - shift[..., 1, None, None]
    m = matrix[..., None, None]
    x, y = (
        m[..., 0, 0, :, :] * x + m[..., 0, 1, :, :] * y + x_middle,
        m[..., 1, 0, :, :] * x + m[..., 1, 1, :, :] * y + y_middle,
    )
    return ops.reshape(_interpolate(images, x, y), shape)


def _interpolate(images: Any, x: Any, y: Any) -> Any:
    """Returns images at places in pixels, with a margin of zeros around each pattern."""
    _, _, height, width = ops.shape(images)
    margin = ((0, 0), (0, 0), (1, 1), (1, 1))
    pixels = ops.reshape(ops.pad(images, margin), (-1,))
    left, top = ops.floor(x), ops.floor(y)
    right_share, bottom_share = x - left, y - top
    inside = (left >= -1) & (left < width) & (top >= -1) & (top < height)
    column = ops.cast(ops.clip(left, -1, width - 1), "int32") + 1
    row = ops.cast(ops.clip(top, -1, height - 1), "int32") + 1
    # int32 counts 8,000 patterns of 512 x 512; gathering from each by itself takes twice as long.
    place = _first_pixels(images) + row * (width + 2) + column
    above = _between(pixels, place, right_share)
    below = _between(pixels, place + (width + 2), right_share)
    return ops.where(inside, above + (below - above) * bottom_share, 0.0)


def _first_pixels(images: Any) -> Any:
    batch, views, height, width = ops.shape(images)
    pattern = ops.reshape(ops.arange(batch * views), (batch, views, 1, 1))
    return ops.cast(pattern, "int32") * ((height + 2) * (width + 2))


def _between(pixels: Any, place: Any, share: Any) -> Any:
    first = ops.take(pixels, place)
    return first + (ops.take(pixels, place + 1) - first) * share


def _cosine_sine(degrees: Any) -> tuple[Any, Any]:
    radians = ops.cast(degrees, "float32") * (np.pi / 180)
    return tuple(
        ops.round(f(radians) * _TRIGONOMETRIC_STEPS) / _TRIGONOMETRIC_STEPS
        for f in (ops.cos, ops.sin)
    )


def _matrix(a: Any, b: Any, c: Any, d: Any) -> Any:
    return ops.stack([ops.stack([a, b], axis=-1), ops.stack([c, d], axis=-1)], axis=-2)


def _mirror_labels(labels: Labels, mirrored: Any) -> Labels:
    if "space_group" not in labels:
        return labels
    label = labels["space_group"]
    if len(label.shape) != 1:
        raise ValueError("space_group is a mixture already: mirror before mixing")
    image = ops.take(ops.convert_to_tensor(_MIRRORED_CLASS), label)
    changed = ops.logical_and(mirrored, label >= 0)  # what is absent stays so
    return {**labels, "space_group": ops.where(changed, ops.cast(image, label.dtype), label)}


def _magnify_labels(labels: Labels, size: Any) -> Labels:
    shrunk = {
        key: labels[key] / ops.cast(size, labels[key].dtype) for key in _LENGTHS if key in labels
    }
    return {**labels, **shrunk}
