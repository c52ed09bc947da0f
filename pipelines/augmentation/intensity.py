"""Augmentations that change what a detector counts: Poisson noise, and pixels that see nothing."""

from typing import Any

import keras
from keras import ops

from pipelines.augmentation.layer import AugmentLayer, Labels, check_strength, uniform
from pipelines.scaling import positive

LARGEST_DOSE = 1e12
# Below this mean, counts are drawn term by term; 14 terms leave out 7e-6 of the mean at 4.
_TABLE_BELOW = 4.0
_TABLE_TERMS = 14


@keras.saving.register_keras_serializable("cbed_tf")
class PoissonNoise(AugmentLayer):
    """Counts electrons: each pattern as it would be seen with `dose` of them.

    Simulated patterns are probabilities, exact over twenty orders of magnitude. A detector counts:
    with 1e5 electrons in a pattern, whatever is 1e-6 of it is 0 or, rarely, one electron, and a
    count of n varies by its square root. The noise is that of intensities, so the layer **stands
    before `IntensityScaling`** and takes and returns raw intensities, float32 whatever the policy.
    The pattern's total is kept on average; an intensity that is no positive number becomes 0.

    Args:
      dose: Electrons in a pattern, on average; 0 for no noise. 6.2e6 come in a second with 1 pA.
      seed: The same seed repeats the same noise.
    """

    def __init__(self, dose: float, seed: int | None = None, **kwargs: Any):
        check_strength("dose", dose, 0, LARGEST_DOSE)
        kwargs.setdefault("dtype", "float32")
        super().__init__(seed, **kwargs)
        self.dose = dose

    def change(
        self, images: Any, labels: Labels, weights: Labels, seed: Any
    ) -> tuple[Any, Labels, Labels]:
        """Replaces intensities by counts, in the units of the intensities."""
        if not self.dose:
            return images, labels, weights
        images = positive(images)
        total = ops.sum(images, axis=(2, 3), keepdims=True)
        electrons_per_unit = self.dose / ops.where(total > 0, total, 1.0)
        counts = poisson(images * electrons_per_unit, uniform(seed, 0, ops.shape(images)))
        return counts / electrons_per_unit, labels, weights

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "dose": self.dose}


@keras.saving.register_keras_serializable("cbed_tf")
class RandomErasing(AugmentLayer):
    """Sets a rectangle of each view to 0: a beam stop, a dead module of the detector.

    A network that has met them does not rest its answer on one disk. Each view loses a rectangle
    of its own, of any area up to the greatest, half to twice as high as wide (relative to the
    pattern), anywhere within it. Takes raw and scaled images.

    Args:
      share: Greatest area of the rectangle, as a share of the pattern's, up to 0.5.
      seed: The same seed repeats the same rectangles.
    """

    def __init__(self, share: float, seed: int | None = None, **kwargs: Any):
        check_strength("share", share, 0, 0.5)
        super().__init__(seed, **kwargs)
        self.share = share

    def change(
        self, images: Any, labels: Labels, weights: Labels, seed: Any
    ) -> tuple[Any, Labels, Labels]:
        """Erases a rectangle of each view."""
        batch, views, height, width = ops.shape(images)
        shape = (batch, views, 1, 1)
        area = self.share * uniform(seed, 0, shape)
        ratio = 2 ** (2 * uniform(seed, 1, shape) - 1)
        rows = _within(height, ops.sqrt(area * ratio), uniform(seed, 2, shape))[:, None]
        columns = _within(width, ops.sqrt(area / ratio), uniform(seed, 3, shape))
        rows = ops.reshape(rows, (batch, views, height, 1))
        return ops.where(rows & columns, 0.0, images), labels, weights

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, for saving."""
        return {**super().get_config(), "share": self.share}


def poisson(mean: Any, chance: Any) -> Any:
    """Returns Poisson counts: the inverse of the distribution function, at uniform chances.

    Written for GPUs and XLA, for which TensorFlow's own sampler has no kernel, and three times as
    fast on a CPU. Small means are looked up term by term and exact; above 4, a normal variable is
    bent to the distribution's skewness and rounded (Cornish and Fisher, first term): its variance
    is right, as that of rounding and bending is taken off, and its mean is 0.06 % high at 4, 0.001
    % at 8.

    Args:
      mean: float32 of any shape, not negative.
      chance: float32 of the same shape, in [0, 1).
    """
    small = ops.minimum(mean, _TABLE_BELOW)
    term = reached = ops.exp(-small)
    count = ops.zeros_like(mean)
    for k in range(_TABLE_TERMS):
        count += ops.cast(chance >= reached, "float32")
        term *= small / (k + 1)
        reached += term
    large = ops.maximum(mean, _TABLE_BELOW)
    # 1e-7: the smallest chance is 0, at which a normal variable has no value.
    normal = 2**0.5 * ops.erfinv(2 * ops.maximum(chance, 1e-7) - 1)
    bent = large + ops.sqrt(large - 5 / 36) * normal + (ops.square(normal) - 1) / 6
    return ops.where(mean < _TABLE_BELOW, count, ops.maximum(ops.round(bent), 0.0))


def _within(extent: int, length: Any, start: Any) -> Any:
    """Returns which pixels of an axis lie in intervals of relative lengths, (..., extent)."""
    place = (ops.arange(extent, dtype="float32") + 0.5) / extent
    first = start * (1 - length)
    return (place >= first) & (place < first + length)
